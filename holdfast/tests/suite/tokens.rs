//! Tokens that a forger makes. A lab server keeps its secrets in its folder, so that a test can sign as it would.

use std::path::Path;

use anyhow::{Context as _, Result};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};

/// Whoever holds the lab server's signing key, or another one.
pub(crate) struct Forger(Ed25519KeyPair);

impl Forger {
    /// With the server's own key.
    pub(crate) fn insider(data: &Path) -> Result<Self> {
        let secrets = std::fs::read(data.join("dev-secrets"))?;
        Self::new(secrets.get(32..64).context("no seed")?)
    }

    /// With the key of servers that were given it in a PKCS#8 PEM.
    pub(crate) fn of(pem: &str) -> Result<Self> {
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = STANDARD.decode(body)?;
        // An Ed25519 key ends with its seed (RFC 8410).
        Self::new(der.last_chunk::<32>().context("no seed")?)
    }

    pub(crate) fn stranger() -> Result<Self> {
        Self::new(&[7; 32])
    }

    fn new(seed: &[u8]) -> Result<Self> {
        Ed25519KeyPair::from_seed_unchecked(seed).map(Self).ok().context("not a seed")
    }

    /// With the public key, which everybody knows, as the secret of an HMAC.
    pub(crate) fn confuse(&self, header: &Value, claims: &Value) -> String {
        let text = format!("{}.{}", encoded(&with(header, "alg", "HS256")), encoded(claims));
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.public_key().as_ref());
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, text.as_bytes()));
        format!("{text}.{signature}")
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let text = format!("{}.{}", encoded(header), encoded(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.0.sign(text.as_bytes()));
        format!("{text}.{signature}")
    }
}

/// Header and claims.
pub(crate) fn opened(token: &str) -> Result<(Value, Value)> {
    let mut parts = token.split('.');
    let mut next = || -> Result<Value> {
        let part = parts.next().context("not a JWT")?;
        Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?)
    };
    Ok((next()?, next()?))
}

/// A token that says of itself that nobody signed it.
pub(crate) fn unsigned(claims: &Value) -> String {
    format!("{}.{}.", encoded(&json!({ "alg": "none", "typ": "JWT" })), encoded(claims))
}

/// With one member set to another value.
pub(crate) fn with(object: &Value, name: &str, value: impl Into<Value>) -> Value {
    let mut changed = object.clone();
    changed[name] = value.into();
    changed
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}
