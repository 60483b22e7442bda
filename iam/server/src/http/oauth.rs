//! What the endpoints of OAuth2 have in common: forms, how clients prove themselves, and errors.

use std::collections::HashMap;

use axum::{
    Json,
    extract::rejection::BytesRejection,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chainfire_core::AuthenticatedBy;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use iam_client::Refusal;
use iam_core::PrincipalId;
use serde_json::{Value, json};

use crate::{Error, Iam, authority::AUTHENTICATE, recorder::Call};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Why there is no answer; the words are those of RFC 6749.
pub(super) enum OauthError {
    InvalidRequest(&'static str),
    /// A role that nobody here hands on to the client.
    InvalidScope,
    InvalidClient,
    UnsupportedGrant,
    TooLarge,
    Other(Error),
}

/// How the client proves itself.
enum Client {
    Secret { id: String, secret: String },
    Assertion(String),
}

/// Parameters, each given once.
pub(super) type Form = HashMap<String, String>;

/// The principal behind the client, and how it proved that. Whether it could is counted.
pub(super) async fn authenticated(
    iam: &Iam,
    call: &Call,
    headers: &HeaderMap,
    form: &Form,
) -> Result<(PrincipalId, AuthenticatedBy), OauthError> {
    let known = proved(iam, call, headers, form).await;
    match &known {
        Ok(_) => iam.0.metrics.authenticated.inc(),
        Err(OauthError::InvalidClient) if is_proof(headers, form) => iam.0.metrics.failed.inc(),
        Err(_) => 0,
    };
    known
}

async fn proved(
    iam: &Iam,
    call: &Call,
    headers: &HeaderMap,
    form: &Form,
) -> Result<(PrincipalId, AuthenticatedBy), OauthError> {
    let client = client(headers, form).inspect_err(|_| {
        iam.0.record_denial(call, AUTHENTICATE, "iam/clients", "no proof, one that cannot be read, or more than one");
    })?;
    Ok(match client {
        Client::Assertion(assertion) => {
            let principal = iam.assertion_principal(&assertion, call).await?;
            (principal.ok_or(OauthError::InvalidClient)?, AuthenticatedBy::Certificate)
        }
        Client::Secret { id, secret } => (iam.secret_principal(&id, &secret, call).await?, AuthenticatedBy::Credential),
    })
}

/// The roles that the client asks for; none if it asks for none.
pub(super) fn scope(form: &Form) -> Vec<String> {
    form.get("scope").map(|scope| scope.split_ascii_whitespace().map(str::to_owned).collect()).unwrap_or_default()
}

/// An answer that nobody may keep.
pub(super) fn unkept(answer: &Value) -> Response {
    let mut response = Json(answer).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn form(headers: &HeaderMap, body: &[u8]) -> Result<Form, OauthError> {
    let content = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if content.split(';').next().map(str::trim) != Some("application/x-www-form-urlencoded") {
        return Err(OauthError::InvalidRequest("the body must be application/x-www-form-urlencoded"));
    }
    let mut form = HashMap::new();
    for (name, value) in form_urlencoded::parse(body) {
        if form.insert(name.into_owned(), value.into_owned()).is_some() {
            return Err(OauthError::InvalidRequest("a parameter is given twice"));
        }
    }
    Ok(form)
}

/// Whether the client proves itself, well or not.
pub(super) fn is_proof(headers: &HeaderMap, form: &Form) -> bool {
    let posted = ["client_secret", "client_assertion"].iter().any(|name| form.contains_key(*name));
    posted || headers.contains_key(AUTHORIZATION)
}

/// Which access key the client says it has the secret of.
pub(super) fn claimed_access_key(headers: &HeaderMap, form: &Form) -> Option<String> {
    match client(headers, form) {
        Ok(Client::Secret { id, .. }) => Some(id),
        Ok(Client::Assertion(_)) | Err(_) => None,
    }
}

/// Exactly one way of proof.
fn client(headers: &HeaderMap, form: &Form) -> Result<Client, OauthError> {
    let text = |name: &str| form.get(name).cloned();
    let basic = headers.get(AUTHORIZATION).map(|value| basic(value).ok_or(OauthError::InvalidClient)).transpose()?;
    let posted = text("client_secret");
    let assertion = text("client_assertion");
    match (basic, posted, assertion) {
        (Some((id, secret)), None, None) => Ok(Client::Secret { id, secret }),
        (None, Some(secret), None) => {
            let id = text("client_id").ok_or(OauthError::InvalidRequest("client_id is missing"))?;
            Ok(Client::Secret { id, secret })
        }
        (None, None, Some(assertion)) => match form.get("client_assertion_type").map(String::as_str) {
            Some(ASSERTION_TYPE) => Ok(Client::Assertion(assertion)),
            _ => Err(OauthError::InvalidRequest("client_assertion_type is not the one for JWT")),
        },
        (None, None, None) => Err(OauthError::InvalidClient),
        _ => Err(OauthError::InvalidRequest("the client proves itself in more than one way")),
    }
}

/// Both halves are form-encoded inside of Basic, as RFC 6749 says.
fn basic(value: &HeaderValue) -> Option<(String, String)> {
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decoded = |text: &str| form_urlencoded::parse(text.as_bytes()).next().map(|(name, _)| name.into_owned());
    Some((decoded(id)?, decoded(secret)?))
}

fn slow_down(why: &str, retry_after_s: u32) -> Response {
    let body = json!({ "error": "slow_down", "error_description": why });
    let mut response = (StatusCode::TOO_MANY_REQUESTS, Json(body)).into_response();
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after_s));
    response
}

impl From<Error> for OauthError {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(Refusal::Unauthenticated | Refusal::Anonymous) => Self::InvalidClient,
            Error::RoleNotHeld(_) => Self::InvalidScope,
            error => Self::Other(error),
        }
    }
}

impl From<BytesRejection> for OauthError {
    fn from(rejection: BytesRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge,
            _ => Self::InvalidRequest("the body cannot be read"),
        }
    }
}

impl IntoResponse for OauthError {
    fn into_response(self) -> Response {
        let (status, word, text) = match self {
            Self::InvalidRequest(text) => (StatusCode::BAD_REQUEST, "invalid_request", text),
            Self::UnsupportedGrant => (
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                "only client_credentials and token-exchange are supported",
            ),
            Self::InvalidScope => (StatusCode::BAD_REQUEST, "invalid_scope", "a role in scope is unknown or not held"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", "the body is too large"),
            Self::InvalidClient => (StatusCode::UNAUTHORIZED, "invalid_client", "authentication failed"),
            Self::Other(Error::Refused(Refusal::SlowDown { retry_after_s })) => {
                return slow_down("too many failed attempts", retry_after_s);
            }
            Self::Other(Error::Invalid(text)) => return refused(StatusCode::BAD_REQUEST, "invalid_request", &text),
            Self::Other(Error::TooOften { retry_after_s }) => return slow_down("asked too often", retry_after_s),
            Self::Other(error) => return holdfast_rpc::Error::from(error).into_response(),
        };
        refused(status, word, text)
    }
}

fn refused(status: StatusCode, word: &str, text: &str) -> Response {
    let mut response = (status, Json(json!({ "error": word, "error_description": text }))).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"holdfast\""));
    }
    response
}
