use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tonic::{Code, Status};

use crate::Profile;

/// How the gateways of etcd's releases word what went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Up to 3.5.
    First,
    /// From 3.6 on.
    Second,
}

/// An error's body; members in the order of the release.
#[derive(Serialize)]
#[serde(untagged)]
enum Wrong<'a> {
    First {
        error: &'a str,
        message: &'a str,
        code: i32,
    },
    /// Its third member, `details`, would be empty and is left out like every unset field.
    Second {
        code: i32,
        message: &'a str,
    },
}

/// An error that takes the place of an answer in a stream.
#[derive(Serialize)]
struct InStream<T> {
    error: T,
}

#[derive(Serialize)]
struct FirstInStream<'a> {
    grpc_code: i32,
    http_code: u16,
    message: &'a str,
    http_status: &'a str,
}

impl Dialect {
    pub(super) fn of(profile: Profile) -> Self {
        match profile {
            Profile::V3_4 => Self::First,
            Profile::V3_6 => Self::Second,
        }
    }

    /// The answer of a call that failed.
    pub(super) fn error(self, status: &Status) -> Response {
        json(self.http(status.code()), self.body(status))
    }

    pub(super) fn body(self, status: &Status) -> Vec<u8> {
        bytes(&self.wrong(status))
    }

    /// The answer of a stream that failed before its first message.
    pub(super) fn broken(self, status: &Status) -> Response {
        json(self.http(status.code()), self.error_in_stream(status))
    }

    /// The last line of a stream that failed.
    pub(super) fn error_in_stream(self, status: &Status) -> Vec<u8> {
        let http = self.http(status.code());
        match self {
            Self::First => bytes(&InStream {
                error: FirstInStream {
                    grpc_code: status.code().into(),
                    http_code: http.as_u16(),
                    message: status.message(),
                    http_status: http.canonical_reason().unwrap_or_default(),
                },
            }),
            Self::Second => bytes(&InStream { error: self.wrong(status) }),
        }
    }

    /// There is nothing at this path.
    pub(super) fn not_found(self) -> Response {
        match self {
            Self::First => (StatusCode::NOT_FOUND, "Not Found\n").into_response(),
            Self::Second => json(StatusCode::NOT_FOUND, self.body(&Status::not_found("Not Found"))),
        }
    }

    /// Only POST calls something.
    pub(super) fn wrong_verb(self) -> Response {
        match self {
            Self::First => (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n").into_response(),
            Self::Second => self.error(&Status::unimplemented("Method Not Allowed")),
        }
    }

    fn wrong(self, status: &Status) -> Wrong<'_> {
        let (code, message) = (status.code().into(), status.message());
        match self {
            Self::First => Wrong::First { error: message, message, code },
            Self::Second => Wrong::Second { code, message },
        }
    }

    fn http(self, code: Code) -> StatusCode {
        match code {
            Code::Ok => StatusCode::OK,
            Code::Cancelled if self == Self::First => StatusCode::REQUEST_TIMEOUT,
            Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
            Code::FailedPrecondition if self == Self::First => StatusCode::PRECONDITION_FAILED,
            Code::FailedPrecondition => StatusCode::BAD_REQUEST,
            Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    // Strings and numbers always serialize.
    serde_json::to_vec(value).unwrap_or_default()
}

fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = (status, body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_release_words_errors_in_its_way() {
        let status = Status::failed_precondition("etcdserver: not leader");
        assert_eq!(
            Dialect::First.body(&status),
            br#"{"error":"etcdserver: not leader","message":"etcdserver: not leader","code":9}"#
        );
        assert_eq!(Dialect::First.error(&status).status(), 412);
        assert_eq!(Dialect::Second.body(&status), br#"{"code":9,"message":"etcdserver: not leader"}"#);
        assert_eq!(Dialect::Second.error(&status).status(), 400);
        assert_eq!(
            Dialect::First.error_in_stream(&status),
            br#"{"error":{"grpc_code":9,"http_code":412,"message":"etcdserver: not leader","http_status":"Precondition Failed"}}"#
        );
    }
}
