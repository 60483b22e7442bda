//! Tokens that a forger makes. A lab server keeps its secrets in its folder, so that a test can sign as it would.

use std::path::Path;

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::Ed25519KeyPair;
use serde_json::{Value, json};

/// Whoever holds the lab server's signing key, or another one.
pub(crate) struct Forger(Ed25519KeyPair);

impl Forger {
    /// With the server's own key.
    pub(crate) fn insider(data: &Path) -> Result<Self> {
        let secrets = std::fs::read(data.join("dev-secrets"))?;
        Self::new(secrets.get(32..64).context("no seed")?)
    }

    pub(crate) fn stranger() -> Result<Self> {
        Self::new(&[7; 32])
    }

    fn new(seed: &[u8]) -> Result<Self> {
        Ed25519KeyPair::from_seed_unchecked(seed).map(Self).ok().context("not a seed")
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
