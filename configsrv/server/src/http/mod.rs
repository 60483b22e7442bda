//! The HTTP interface. Handlers take the caller from the request's extensions, where the layer in front put it.

mod artifact;
mod body;
mod health;
mod nodes;
mod publish;
mod query;
mod revocations;
mod versions;

use axum::{
    Extension, Router,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::Uri;
use iam_client::{Identity, Refusal};

pub(crate) use body::read as read_body;
pub(crate) use query::Query;

use crate::{ConfigService, Error, fleetlock};

/// Everything of this service that is served over HTTP, the lock's paths included.
pub fn router(service: ConfigService) -> Router {
    Router::new()
        .route("/publish", post(publish::publish))
        .route("/tree", post(publish::publish))
        .route("/artifact/{node}", get(artifact::artifact))
        .route("/nodes", get(nodes::list))
        .route("/nodes/{node}", get(nodes::show))
        .route("/nodes/{node}/status", post(nodes::report))
        .route("/nodes/{node}/revocations", post(revocations::reached))
        .route("/versions", get(versions::list))
        .route("/versions/{version}", get(versions::show))
        .route("/versions/{from}/diff/{to}", get(versions::diff))
        .route("/revocations", get(revocations::show).post(revocations::revoke))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .merge(fleetlock::routes())
        .with_state(service)
}

/// The caller; without one nothing is answered.
pub(crate) fn caller(identity: Option<Extension<Identity>>) -> Result<Identity, Error> {
    identity.map(|Extension(identity)| identity).ok_or(Error::Caller(Refusal::Anonymous))
}

/// The raw query of a request.
pub(crate) fn query_of(uri: &Uri) -> &str {
    uri.query().unwrap_or_default()
}

/// An error as an answer, with its machine word.
pub(crate) struct Failure(Error);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        holdfast_rpc::Error::from(self.0).into_response()
    }
}
