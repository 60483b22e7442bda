use std::time::Duration;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    rand::{SecureRandom as _, SystemRandom},
    signature::Ed25519KeyPair,
};
use serde::Deserialize;
use serde_json::json;

use super::tls::NodeIdentity;
use crate::Error;

/// How long a proof of the node's key is good for.
const ASSERTION_LIFE_S: u64 = 60;
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A token is renewed this long before its end.
const RENEW_BEFORE_S: u64 = 30;
/// No token is shown for longer, whatever its server says.
const LONGEST_S: u64 = 24 * 3600;

/// What a token endpoint says.
#[derive(Deserialize)]
pub(super) struct Grant {
    pub access_token: String,
    #[serde(default)]
    pub expires_in: u64,
}

/// What discovery says.
#[derive(Deserialize)]
pub(super) struct Discovery {
    pub issuer: String,
}

impl Grant {
    /// How long it is shown.
    pub(super) fn good_for(&self) -> Duration {
        Duration::from_secs(self.expires_in.saturating_sub(RENEW_BEFORE_S).min(LONGEST_S))
    }
}

/// The form that trades a proof of the node's key for a bearer token (RFC 7523), for listeners without TLS.
pub(super) fn form(identity: &NodeIdentity, subject: &str, issuer: &str, now_s: u64) -> Result<String, Error> {
    let assertion = assertion(identity, subject, issuer, now_s)?;
    // None of these needs percent-encoding but the colons, which a form may carry as they are.
    Ok(format!("grant_type=client_credentials&client_assertion_type={ASSERTION_TYPE}&client_assertion={assertion}"))
}

fn assertion(identity: &NodeIdentity, subject: &str, issuer: &str, now_s: u64) -> Result<String, Error> {
    let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(identity.key())
        .map_err(|error| Error::Unexpected(format!("this node's key: {error}")))?;
    let chain: Vec<String> = identity.chain.iter().map(|certificate| STANDARD.encode(certificate)).collect();
    let header = json!({ "alg": "EdDSA", "typ": "JWT", "x5c": chain });
    let claims = json!({
        "iss": subject,
        "sub": subject,
        "aud": issuer,
        "iat": now_s,
        "exp": now_s.saturating_add(ASSERTION_LIFE_S),
        "jti": nonce()?,
    });
    let signed =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
    Ok(format!("{signed}.{signature}"))
}

/// 128 random bits in hex.
pub(super) fn nonce() -> Result<String, Error> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Unexpected("the system has no randomness".into()))?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_shown_until_shortly_before_their_end() {
        for (expires_in, expected) in [(0, 0), (30, 0), (300, 270), (u64::MAX, LONGEST_S)] {
            let grant = Grant { access_token: String::new(), expires_in };
            assert_eq!(grant.good_for(), Duration::from_secs(expected), "{expires_in}");
        }
    }
}
