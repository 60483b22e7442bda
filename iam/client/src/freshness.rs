//! Every answer says how new the state was that it comes from, and a caller may demand that it be as new as what it has
//! seen elsewhere.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use tokio::{sync::watch, time::timeout};
use tonic::{Code, Status};

use crate::response::{FleetLock, Plain, Style, json};

/// Of answers: the index that this server had applied.
const INDEX: HeaderName = HeaderName::from_static("x-holdfast-index");
/// Of requests: the index that the server must have applied before it looks at the request.
const MIN_INDEX: HeaderName = HeaderName::from_static("x-holdfast-min-index");
/// How long a request waits for that. A server that is not behind for good has caught up by then.
const PATIENCE: Duration = Duration::from_secs(2);

/// How new the state of this server is.
pub(crate) struct Freshness(watch::Receiver<u64>);

/// Why a request is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unmet {
    #[error("x-holdfast-min-index must be one number, an index as x-holdfast-index of an answer has it")]
    Malformed,
    #[error("this server has applied index {applied}, and not {demanded} yet; ask another one, or again")]
    Behind { demanded: u64, applied: u64 },
}

/// The index that a request demands; none if it demands nothing.
pub(crate) fn demanded(headers: &HeaderMap) -> Result<Option<u64>, Unmet> {
    let mut values = headers.get_all(MIN_INDEX).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match (digits.and_then(|digits| digits.parse().ok()), values.next()) {
        (Some(index), None) => Ok(Some(index)),
        (None, _) | (_, Some(_)) => Err(Unmet::Malformed),
    }
}

impl Freshness {
    pub(crate) fn new(applied: watch::Receiver<u64>) -> Self {
        Self(applied)
    }

    /// Waits a moment for the state to be as new as `demanded`.
    pub(crate) async fn reach(&self, demanded: Result<Option<u64>, Unmet>) -> Result<(), Unmet> {
        let Some(demanded) = demanded? else { return Ok(()) };
        let mut applied = self.0.clone();
        let reached = timeout(PATIENCE, applied.wait_for(|applied| *applied >= demanded)).await;
        // A store that has ended applies nothing more.
        if matches!(reached, Ok(Ok(_))) { Ok(()) } else { Err(Unmet::Behind { demanded, applied: *self.0.borrow() }) }
    }

    /// Says in an answer how new its state is. What the call has changed here is in it.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        headers.insert(INDEX, HeaderValue::from(*self.0.borrow()));
    }
}

impl Unmet {
    pub(crate) fn response(self, style: Style) -> Response<Full<Bytes>> {
        let message = self.to_string();
        match style {
            Style::Grpc => Status::new(self.code(), message).into_http(),
            Style::Etcd => Status::new(self.code(), format!("etcdserver: {message}")).into_http(),
            Style::Http => json(self.http_status(), &Plain { error: self.word(), message }),
            Style::FleetLock => json(self.http_status(), &FleetLock { kind: self.lock_kind(), value: message }),
        }
    }

    fn code(self) -> Code {
        match self {
            Self::Malformed => Code::InvalidArgument,
            Self::Behind { .. } => Code::Unavailable,
        }
    }

    fn http_status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Behind { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Malformed => "invalid_request",
            Self::Behind { .. } => "behind",
        }
    }

    /// The word among FleetLock's kinds.
    fn lock_kind(self) -> &'static str {
        match self {
            Self::Malformed => "decode_error",
            Self::Behind { .. } => "no_leader",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&'static str]) -> Result<Option<u64>, Unmet> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(MIN_INDEX, HeaderValue::from_static(value));
        }
        demanded(&headers)
    }

    #[test]
    fn an_index_is_one_number() {
        assert_eq!((of(&[]), of(&["0"]), of(&["18446744073709551615"])), (Ok(None), Ok(Some(0)), Ok(Some(u64::MAX))));
        for nonsense in
            [&[""][..], &["+1"], &["-1"], &["1.0"], &[" 1"], &["0x1"], &["18446744073709551616"], &["1", "1"]]
        {
            assert_eq!(of(nonsense), Err(Unmet::Malformed), "{nonsense:?}");
        }
    }
}
