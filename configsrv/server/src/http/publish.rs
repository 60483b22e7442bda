use axum::{Extension, Json, body::Body, extract::State};
use iam_client::Identity;

use super::{Failure, body, caller};
use crate::{ConfigService, publish::Published};

/// `POST /publish`, also known as `/tree`.
pub(super) async fn publish(
    State(service): State<ConfigService>,
    identity: Option<Extension<Identity>>,
    sent: Body,
) -> Result<Json<Published>, Failure> {
    let identity = caller(identity)?;
    // Before the body: nobody else makes the server read 32 MiB.
    service.authorize(&identity, "config.Publish", "versions/*")?;
    let sent = body::read(sent, "the tree", service.settings().limits.body_bytes).await?;
    Ok(Json(service.publish(&identity, sent).await?))
}
