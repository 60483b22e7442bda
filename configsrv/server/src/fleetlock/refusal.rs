use axum::{
    Json,
    response::{IntoResponse, Response},
};
use chainfire_client::StoreError;
use chainfire_core::system::{LockHolder, LockRefusal};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::request::Claim;
use crate::{Error, service::now_ms, settings::ClientAuth};

/// Why a lock request fails. The kinds are a closed set, because every node counts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    MethodNotAllowed,
    NotFound,
    MissingHeader,
    DecodeError(String),
    InvalidGroup,
    InvalidId,
    BodyTooLarge(usize),
    Unauthorized,
    Forbidden(String),
    UnknownGroup(String),
    SemaphoreFull {
        group: String,
        slots: u32,
        holders: Vec<LockHolder>,
    },
    /// The client has its one slot of the group, under this id.
    OwnSlotTaken {
        group: String,
        id: String,
    },
    GroupFrozen {
        group: String,
        reason: String,
    },
    RateLimited(u32),
    NoLeader,
    OutcomeUnknown,
    /// Nothing can be changed at present, and why; it is no fault of the server.
    NotNow(String),
    InternalError,
}

impl Refusal {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::MethodNotAllowed => "method_not_allowed",
            Self::NotFound => "not_found",
            Self::MissingHeader => "missing_header",
            Self::DecodeError(_) => "decode_error",
            Self::InvalidGroup => "invalid_group",
            Self::InvalidId => "invalid_id",
            Self::BodyTooLarge(_) => "body_too_large",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden(_) => "forbidden",
            Self::UnknownGroup(_) => "unknown_group",
            Self::SemaphoreFull { .. } | Self::OwnSlotTaken { .. } => "failed_lock_semaphore_full",
            Self::GroupFrozen { .. } => "group_frozen",
            Self::RateLimited(_) => "rate_limited",
            // A client does the same about all of them: it asks again.
            Self::NoLeader | Self::OutcomeUnknown | Self::NotNow(_) => "no_leader",
            Self::InternalError => "internal_error",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MissingHeader
            | Self::DecodeError(_)
            | Self::InvalidGroup
            | Self::InvalidId
            | Self::UnknownGroup(_) => StatusCode::BAD_REQUEST,
            Self::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::SemaphoreFull { .. } | Self::OwnSlotTaken { .. } | Self::GroupFrozen { .. } => StatusCode::LOCKED,
            Self::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::NoLeader | Self::OutcomeUnknown | Self::NotNow(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// For the admin of the node that asked.
    fn value(&self) -> String {
        match self {
            Self::MethodNotAllowed => "only POST is answered here".into(),
            Self::NotFound => "the paths of this protocol are /v1/pre-reboot and /v1/steady-state".into(),
            Self::MissingHeader => "the header fleet-lock-protocol: true is missing".into(),
            Self::DecodeError(why) => format!("the body is not a lock request: {why}"),
            Self::InvalidGroup => "group must be 1 to 253 of letters, digits, dots and hyphens".into(),
            Self::InvalidId => "id must be 1 to 253 bytes without control characters".into(),
            Self::BodyTooLarge(limit) => format!("the body is longer than {limit} bytes"),
            Self::Unauthorized => "this server demands that clients of the lock authenticate".into(),
            Self::Forbidden(why) => why.clone(),
            Self::UnknownGroup(why) => why.clone(),
            Self::SemaphoreFull { group, slots: 0, .. } => format!("group {group} has no slots: it is closed"),
            Self::SemaphoreFull { group, slots, holders } => {
                format!("all {slots} slots of group {group} are taken by {}", list(holders))
            }
            Self::OwnSlotTaken { group, id } => {
                format!("this client holds a slot of group {group} already, as {id}; it or an admin can release it")
            }
            Self::GroupFrozen { group, reason } => format!("group {group} is frozen: {reason}"),
            Self::RateLimited(seconds) => format!("too many attempts; try again in {seconds} s"),
            Self::NoLeader => "the control plane has no quorum; nothing was granted or released".into(),
            Self::OutcomeUnknown => "the outcome is unknown; ask again, repeats are harmless".into(),
            Self::NotNow(why) => {
                format!("the control plane takes no changes now: {why}; nothing was granted or released")
            }
            Self::InternalError => "the server failed; its log says why".into(),
        }
    }

    pub(super) fn of(Claim { group, id }: &Claim, refusal: LockRefusal) -> Self {
        match refusal {
            LockRefusal::SemaphoreFull { slots, holders } => {
                Self::SemaphoreFull { group: group.clone(), slots, holders }
            }
            LockRefusal::Frozen { reason } => Self::GroupFrozen { group: group.clone(), reason },
            LockRefusal::TooManyGroups { limit } => Self::UnknownGroup(format!(
                "group {group} is not configured here, and there are {limit} of that kind already"
            )),
            LockRefusal::UnlistedFull { bytes } => Self::UnknownGroup(format!(
                "group {group} is not configured here, and groups of that kind fill their {bytes} bytes"
            )),
            LockRefusal::Foreign { holder } => {
                let owner = holder.owner.unwrap_or_default();
                Self::Forbidden(format!("{owner} took the slot of {id}; it or an admin can release it"))
            }
            LockRefusal::HoldsAnother { holder } => Self::OwnSlotTaken { group: group.clone(), id: holder.id },
        }
    }
}

/// Who holds and since when; a few of them are enough to find the culprit.
fn list(holders: &[LockHolder]) -> String {
    const SHOWN: usize = 3;
    let now = now_ms();
    let shown: Vec<String> = holders
        .iter()
        .take(SHOWN)
        .map(|holder| {
            let minutes = now.saturating_sub(holder.granted_at_ms) / 60_000;
            format!("{} since {} ({minutes} min)", holder.id, rfc3339(holder.granted_at_ms))
        })
        .collect();
    match holders.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn rfc3339(unix_ms: u64) -> String {
    let seconds = i64::try_from(unix_ms / 1000).unwrap_or_default();
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| "an unknown time".to_owned())
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Error::from(error).into()
    }
}

/// As the layer in front would have refused, in the kinds of this protocol.
impl From<iam_client::Refusal> for Refusal {
    fn from(refusal: iam_client::Refusal) -> Self {
        match refusal {
            iam_client::Refusal::Anonymous | iam_client::Refusal::Unauthenticated => Self::Unauthorized,
            denied @ iam_client::Refusal::Denied { .. } => Self::Forbidden(denied.to_string()),
            iam_client::Refusal::SlowDown { retry_after_s } => Self::RateLimited(retry_after_s),
            unavailable @ iam_client::Refusal::Unavailable(_) => Self::NotNow(unavailable.to_string()),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::NoQuorum(_) => Self::NoLeader,
            Error::OutcomeUnknown(_) => Self::OutcomeUnknown,
            Error::TooLarge { limit, .. } => Self::BodyTooLarge(limit),
            Error::BadBody(why) => Self::DecodeError(why),
            Error::Caller(refusal) => refusal.into(),
            Error::Refused(why) => Self::NotNow(why),
            other => {
                tracing::error!(error = ?other, "a lock request failed");
                Self::InternalError
            }
        }
    }
}

impl Refusal {
    /// The answer of a server that demands `demanded` of its clients.
    pub(super) fn response(self, demanded: ClientAuth) -> Response {
        let mut body = json!({ "kind": self.kind(), "value": self.value() });
        if let (Self::SemaphoreFull { holders, slots, .. }, Some(fields)) = (&self, body.as_object_mut()) {
            // Clients ignore further members; tools do not.
            fields.insert("slots".into(), json!(slots));
            fields.insert("holders".into(), json!(holders));
        }
        let mut response = (self.status(), Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        match self {
            Self::MethodNotAllowed => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            Self::Unauthorized => {
                if let Some(challenge) = challenge(demanded) {
                    headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
                }
            }
            _ => {}
        }
        response
    }
}

/// Names only what would be accepted, so that nobody sends a secret for nothing. No scheme asks for a certificate.
fn challenge(demanded: ClientAuth) -> Option<&'static str> {
    match demanded {
        ClientAuth::Basic => Some("Basic realm=\"holdfast\""),
        ClientAuth::Token => Some("Bearer realm=\"holdfast\""),
        ClientAuth::Mtls | ClientAuth::None => None,
    }
}
