use axum::response::IntoResponse as _;
use axum::{Json, extract::State, response::Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use iam_ca::Anchor;
use iam_core::signing::PublicKey;
use serde_json::{Value, json};

use super::discovery::cached;
use crate::{Error, Iam};

/// Whom this trust domain trusts, as other trust domains and SPIFFE's libraries fetch it (SPIFFE Trust Domain and Bundle,
/// §4): the authorities of certificates, and the keys of tokens.
pub(super) async fn bundle(State(iam): State<Iam>) -> Result<Response, holdfast_rpc::Error> {
    iam.0.check_doors().map_err(Error::from)?;
    // Read before the contents: those may only be newer.
    let sequence = iam.authorities()?.revision.max(iam.key_ring()?.revision);
    let jwks = iam.jwks()?;
    let mut keys = iam.0.roots()?.iter().map(|der| authority(der)).collect::<Result<Vec<_>, _>>()?;
    for key in jwks.keys {
        keys.push(used_for("jwt-svid", serde_json::to_value(key).map_err(corrupt)?));
    }
    let refresh_s = iam.0.settings.lifetimes.jwks_cache.as_secs();
    let document = json!({ "keys": keys, "spiffe_sequence": sequence, "spiffe_refresh_hint": refresh_s });
    let mut response = Json(document).into_response();
    cached(&mut response, refresh_s);
    Ok(response)
}

fn authority(der: &[u8]) -> Result<Value, Error> {
    let anchor = Anchor::parse(der).map_err(corrupt)?;
    let jwk = PublicKey::new(anchor.algorithm.into(), &anchor.key).jwk(anchor.id)?;
    let mut key = used_for("x509-svid", serde_json::to_value(jwk).map_err(corrupt)?);
    if let Some(fields) = key.as_object_mut() {
        fields.retain(|name, _| name != "kid" && name != "alg");
        fields.insert("x5c".to_owned(), json!([STANDARD.encode(der)]));
    }
    Ok(key)
}

fn used_for(what: &str, mut key: Value) -> Value {
    key["use"] = json!(what);
    key
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn corrupt(error: impl ToString) -> Error {
    Error::Corrupt(error.to_string())
}
