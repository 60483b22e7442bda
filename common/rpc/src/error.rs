use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header::RETRY_AFTER};
use serde_json::json;
use tonic::Code;

/// When whoever finds the service unavailable is to ask again.
const UNAVAILABLE_S: u32 = 2;

/// What went wrong, from the caller's point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Invalid,
    NotFound,
    Gone,
    Conflict,
    /// The state does not allow it now; the message says what is missing.
    Precondition,
    NotLeader,
    Unavailable,
    Unauthenticated,
    Denied,
    Exhausted,
    TooLarge,
    Corrupt,
    Unimplemented,
    Internal,
}

/// An error with a public and an internal text. The internal one goes to the log where the error is answered, never
/// to the caller.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub kind: Kind,
    /// A stable word for machines, e.g. `unknown_node`.
    pub word: &'static str,
    /// For people: what was wrong and what to do.
    pub message: String,
    internal: Option<String>,
    retry_after_s: Option<u32>,
}

impl Error {
    pub fn new(kind: Kind, word: &'static str, message: impl Into<String>) -> Self {
        Self { kind, word, message: message.into(), internal: None, retry_after_s: None }
    }

    /// Adds what only the log may see.
    #[must_use]
    pub fn internal(mut self, detail: impl Into<String>) -> Self {
        self.internal = Some(detail.into());
        self
    }

    /// Says when it is worth asking again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Logs what the caller does not see; called once, where the error leaves the process.
    fn log(&self) {
        match (&self.internal, self.kind) {
            (Some(detail), Kind::Internal | Kind::Corrupt) => {
                tracing::error!(word = self.word, detail, "request failed");
            }
            (Some(detail), _) => tracing::debug!(word = self.word, detail, "request refused"),
            (None, _) => {}
        }
    }
}

impl Kind {
    pub fn grpc(self) -> Code {
        match self {
            Self::Invalid => Code::InvalidArgument,
            Self::NotFound | Self::Gone => Code::NotFound,
            Self::Conflict => Code::Aborted,
            Self::Precondition | Self::NotLeader => Code::FailedPrecondition,
            Self::Unavailable => Code::Unavailable,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::Denied => Code::PermissionDenied,
            Self::Exhausted | Self::TooLarge => Code::ResourceExhausted,
            Self::Corrupt => Code::DataLoss,
            Self::Unimplemented => Code::Unimplemented,
            Self::Internal => Code::Internal,
        }
    }

    pub fn http(self) -> StatusCode {
        match self {
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Gone => StatusCode::GONE,
            Self::Conflict => StatusCode::CONFLICT,
            Self::Precondition => StatusCode::PRECONDITION_FAILED,
            Self::NotLeader | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::Exhausted => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Self::Corrupt | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        error.log();
        Self::new(error.kind.grpc(), error.message)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.log();
        let status = self.kind.http();
        let mut response = (status, Json(json!({ "error": self.word, "message": self.message }))).into_response();
        let unavailable = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(UNAVAILABLE_S);
        if let Some(seconds) = self.retry_after_s.or(unavailable) {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
