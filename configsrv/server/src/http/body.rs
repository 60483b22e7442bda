use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::Error;

/// The whole body, if it is not longer than `limit`. Content types are not looked at: clients of these interfaces
/// send any or none.
pub(crate) async fn read(body: Body, what: &'static str, limit: usize) -> Result<Bytes, Error> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::TooLarge { what, limit }),
        Err(error) => Err(Error::BadBody(error.to_string())),
    }
}
