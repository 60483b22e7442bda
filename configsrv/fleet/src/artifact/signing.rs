use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::spiffe::SpiffeId;

use super::ArtifactError;

/// A signature over the RFC 8785 form of what it is in, without this field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    pub alg: Algorithm,
    pub key_id: SpiffeId,
    /// Standard base64 of 64 bytes.
    pub value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    Ed25519,
}

impl Algorithm {
    /// How it is spelled.
    pub(super) const ED25519: &str = "ed25519";
}

/// An Ed25519 public key; standard base64 of its 32 bytes in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 public key: expected the base64 of 32 bytes")]
pub struct PublicKeyError;

/// A signer's private key. It never shows itself.
pub struct SigningKey {
    id: SpiffeId,
    pair: Ed25519KeyPair,
}

impl PublicKey {
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PublicKeyError> {
        bytes.try_into().map(Self).map_err(|_| PublicKeyError)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        let Algorithm::Ed25519 = signature.alg;
        STANDARD
            .decode(&signature.value)
            .is_ok_and(|value| UnparsedPublicKey::new(&ED25519, &self.0).verify(message, &value).is_ok())
    }
}

impl SigningKey {
    /// Reads a PKCS #8 PEM, as this project's tools and `openssl genpkey -algorithm ed25519` write it.
    pub fn from_pem(id: SpiffeId, pem: &str) -> Result<Self, ArtifactError> {
        let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes())
            .map_err(|_| ArtifactError::Key("the file is not PEM".into()))?;
        if block.label != "PRIVATE KEY" {
            return Err(ArtifactError::Key(format!("expected PEM \"PRIVATE KEY\", found \"{}\"", block.label)));
        }
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&block.contents)
            .map_err(|error| ArtifactError::Key(format!("not an Ed25519 key: {error}")))?;
        Ok(Self { id, pair })
    }

    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    pub fn public_key(&self) -> Result<PublicKey, ArtifactError> {
        PublicKey::from_bytes(self.pair.public_key().as_ref()).map_err(|error| ArtifactError::Key(error.to_string()))
    }

    /// The signature over `message`.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature {
            alg: Algorithm::Ed25519,
            key_id: self.id.clone(),
            value: STANDARD.encode(self.pair.sign(message).as_ref()),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl TryFrom<String> for PublicKey {
    type Error = PublicKeyError;

    fn try_from(text: String) -> Result<Self, PublicKeyError> {
        Self::from_bytes(&STANDARD.decode(text).map_err(|_| PublicKeyError)?)
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        STANDARD.encode(key.0)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&STANDARD.encode(self.0))
    }
}
