use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tonic::Status;

use crate::Profile;

/// Answers for methods that the emulated release does not have, as a server without them does.
pub(super) async fn offer(profile: Profile, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if profile.has(path) {
        return next.run(request).await;
    }
    let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
    let text = format!("unknown method {method} for service {service}");
    Status::unimplemented(text).into_http::<axum::body::Body>().into_response()
}
