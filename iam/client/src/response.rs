//! A refusal in the words of the protocol that the caller speaks.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use http_body_util::Full;
use serde::Serialize;
use tonic::{Code, Status};

use crate::Refusal;

/// The protocols that a path can speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// gRPC with Holdfast's own texts.
    Grpc,
    /// gRPC with etcd's codes and texts, which its clients match on.
    Etcd,
    /// JSON `{"error", "message"}`.
    Http,
    /// JSON `{"kind", "value"}`, as FleetLock clients parse it.
    FleetLock,
}

impl Style {
    pub fn of(path: &str, headers: &HeaderMap) -> Self {
        let content = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        if content.is_some_and(|content| content.starts_with(b"application/grpc")) {
            let etcd = ["/etcdserverpb.", "/v3lockpb.", "/v3electionpb."];
            return if etcd.iter().any(|prefix| path.starts_with(prefix)) { Self::Etcd } else { Self::Grpc };
        }
        if path.starts_with("/v1/") { Self::FleetLock } else { Self::Http }
    }

    pub(crate) fn response(self, refusal: &Refusal) -> Response<Full<Bytes>> {
        match self {
            Self::Grpc => refusal.status().into_http(),
            Self::Etcd => refusal.etcd_status().into_http(),
            Self::Http => refusal.http(&Plain { error: refusal.word(), message: refusal.to_string() }),
            Self::FleetLock => {
                let mut response = refusal.http(&FleetLock { kind: refusal.lock_kind(), value: refusal.to_string() });
                // Which credentials are taken there only the lock's own door knows, and a client that is asked for
                // others sends a secret for nothing.
                response.headers_mut().remove(WWW_AUTHENTICATE);
                response
            }
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Plain {
    pub(crate) error: &'static str,
    pub(crate) message: String,
}

#[derive(Serialize)]
pub(crate) struct FleetLock {
    pub(crate) kind: &'static str,
    pub(crate) value: String,
}

/// An answer that nobody may keep.
pub(crate) fn json<T: Serialize>(status: StatusCode, body: &T) -> Response<Full<Bytes>> {
    // Two strings always serialize.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Refusal {
    /// For Holdfast's own gRPC services.
    pub fn status(&self) -> Status {
        let code = match self {
            Self::Anonymous | Self::Unauthenticated => Code::Unauthenticated,
            Self::Denied { .. } => Code::PermissionDenied,
            Self::SlowDown { .. } => Code::ResourceExhausted,
            Self::Unavailable(_) => Code::Unavailable,
        };
        Status::new(code, self.to_string())
    }

    /// For etcd's services, with the codes and texts that its clients match on.
    pub fn etcd_status(&self) -> Status {
        match self {
            Self::Anonymous => Status::invalid_argument("etcdserver: user name is empty"),
            Self::Unauthenticated => Status::unauthenticated("etcdserver: invalid auth token"),
            Self::Denied { .. } => Status::permission_denied("etcdserver: permission denied"),
            Self::SlowDown { .. } => Status::resource_exhausted("etcdserver: too many requests"),
            Self::Unavailable(_) => Status::unavailable(format!("etcdserver: {self}")),
        }
    }

    /// The word among FleetLock's kinds, a closed set that every node counts.
    fn lock_kind(&self) -> &'static str {
        match self {
            Self::Anonymous | Self::Unauthenticated => "unauthorized",
            Self::Denied { .. } => "forbidden",
            Self::SlowDown { .. } => "rate_limited",
            Self::Unavailable(_) => "no_leader",
        }
    }

    pub fn http_status(&self) -> StatusCode {
        match self {
            Self::Anonymous | Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Denied { .. } => StatusCode::FORBIDDEN,
            Self::SlowDown { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn http<T: Serialize>(&self, body: &T) -> Response<Full<Bytes>> {
        let mut response = json(self.http_status(), body);
        let headers = response.headers_mut();
        match self {
            Self::Anonymous | Self::Unauthenticated => {
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"holdfast\""));
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"holdfast\""));
            }
            Self::SlowDown { retry_after_s } => {
                headers.insert(RETRY_AFTER, HeaderValue::from(*retry_after_s));
            }
            Self::Denied { .. } | Self::Unavailable(_) => {}
        }
        response
    }
}
