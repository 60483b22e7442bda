use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use iam_ca::KeyAlgorithm;
use jsonwebtoken::{DecodingKey, EncodingKey};
use ring::{
    digest,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// What precedes the 32 bytes of an Ed25519 seed in a PKCS#8 document (RFC 8410).
const ED25519_PKCS8: &[u8; 16] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

/// The two signature algorithms of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    #[serde(rename = "EdDSA")]
    EdDsa,
    #[serde(rename = "ES256")]
    Es256,
}

/// By which algorithm a certified key signs tokens and assertions.
impl From<KeyAlgorithm> for Algorithm {
    fn from(key: KeyAlgorithm) -> Self {
        match key {
            KeyAlgorithm::Ed25519 => Self::EdDsa,
            KeyAlgorithm::P256 => Self::Es256,
        }
    }
}

/// A key pair that signs tokens. Its private half leaves only sealed.
pub struct SigningKey {
    pkcs8: Zeroizing<Vec<u8>>,
    public: PublicKey,
}

/// The public half: 32 bytes for Ed25519, an uncompressed point for P-256.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    pub algorithm: Algorithm,
    /// Base64url.
    pub key: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("it is not a PEM with a PRIVATE KEY (PKCS#8); `openssl genpkey -algorithm ed25519` makes one")]
    NotPem,
    #[error("it is neither an Ed25519 nor a P-256 key in PKCS#8")]
    Unsupported,
    #[error("the public key is malformed")]
    Public,
}

/// A public key as verifiers fetch it (RFC 7517).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    pub kty: String,
    pub crv: String,
    pub x: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    pub kid: String,
    pub alg: String,
    #[serde(rename = "use")]
    pub usage: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwkSet {
    pub keys: Vec<Jwk>,
}

impl Algorithm {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::EdDsa, Self::Es256].into_iter().find(|algorithm| algorithm.as_str() == text)
    }

    pub(super) fn jwt(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
        }
    }
}

impl SigningKey {
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| KeyError::NotPem)?;
        Self::from_pkcs8(Zeroizing::new(der.secret_pkcs8_der().to_vec()))
    }

    /// Tries both algorithms. Ed25519 documents without the public half (OpenSSL's) are accepted.
    pub fn from_pkcs8(pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8) {
            let public = PublicKey::new(Algorithm::EdDsa, pair.public_key().as_ref());
            return Ok(Self { pkcs8, public });
        }
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &SystemRandom::new())
            .map_err(|_| KeyError::Unsupported)?;
        let public = PublicKey::new(Algorithm::Es256, pair.public_key().as_ref());
        Ok(Self { pkcs8, public })
    }

    /// An Ed25519 key from 32 random bytes.
    pub fn from_seed(seed: &Zeroizing<[u8; 32]>) -> Result<Self, KeyError> {
        let mut pkcs8 = Zeroizing::new(Vec::with_capacity(ED25519_PKCS8.len() + seed.len()));
        pkcs8.extend_from_slice(ED25519_PKCS8);
        pkcs8.extend_from_slice(seed.as_slice());
        Self::from_pkcs8(pkcs8)
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The document to seal.
    pub fn pkcs8(&self) -> &Zeroizing<Vec<u8>> {
        &self.pkcs8
    }

    pub(super) fn encoding_key(&self) -> EncodingKey {
        match self.public.algorithm {
            Algorithm::EdDsa => EncodingKey::from_ed_der(&self.pkcs8),
            Algorithm::Es256 => EncodingKey::from_ec_der(&self.pkcs8),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl PublicKey {
    pub fn new(algorithm: Algorithm, bytes: &[u8]) -> Self {
        Self { algorithm, key: URL_SAFE_NO_PAD.encode(bytes) }
    }

    /// The key's name: its thumbprint (RFC 7638), so that a key has one name wherever it comes from.
    pub fn kid(&self) -> Result<String, KeyError> {
        let jwk = self.jwk(String::new())?;
        // The members in lexical order and nothing else; their values need no escaping.
        let canonical = match &jwk.y {
            Some(y) => format!(r#"{{"crv":"{}","kty":"{}","x":"{}","y":"{y}"}}"#, jwk.crv, jwk.kty, jwk.x),
            None => format!(r#"{{"crv":"{}","kty":"{}","x":"{}"}}"#, jwk.crv, jwk.kty, jwk.x),
        };
        Ok(URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, canonical.as_bytes())))
    }

    pub fn jwk(&self, kid: String) -> Result<Jwk, KeyError> {
        let bytes = self.bytes()?;
        let (kty, crv, x, y) = match self.algorithm {
            Algorithm::EdDsa if bytes.len() == 32 => ("OKP", "Ed25519", URL_SAFE_NO_PAD.encode(&bytes), None),
            Algorithm::Es256 => {
                let point = bytes.strip_prefix(&[4]).filter(|point| point.len() == 64).ok_or(KeyError::Public)?;
                let (x, y) = point.split_at(32);
                ("EC", "P-256", URL_SAFE_NO_PAD.encode(x), Some(URL_SAFE_NO_PAD.encode(y)))
            }
            Algorithm::EdDsa => return Err(KeyError::Public),
        };
        let alg = self.algorithm.as_str().to_owned();
        Ok(Jwk { kty: kty.to_owned(), crv: crv.to_owned(), x, y, kid, alg, usage: "sig".to_owned() })
    }

    pub(super) fn decoding_key(&self) -> Result<DecodingKey, KeyError> {
        let bytes = self.bytes()?;
        Ok(match self.algorithm {
            Algorithm::EdDsa => DecodingKey::from_ed_der(&bytes),
            Algorithm::Es256 => DecodingKey::from_ec_der(&bytes),
        })
    }

    fn bytes(&self) -> Result<Vec<u8>, KeyError> {
        URL_SAFE_NO_PAD.decode(&self.key).map_err(|_| KeyError::Public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037, appendix A.
    #[test]
    fn thumbprints_follow_the_rfc() {
        let public =
            PublicKey { algorithm: Algorithm::EdDsa, key: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned() };
        assert_eq!(public.kid().unwrap(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let seed = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let key = SigningKey::from_seed(&Zeroizing::new(seed.try_into().unwrap())).unwrap();
        assert_eq!(*key.public(), public);
        assert!(!format!("{key:?}").contains("9d61b1"));
    }

    #[test]
    fn both_kinds_of_pem_are_read() {
        let ed = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
        assert_eq!(SigningKey::from_pem(ed.as_bytes()).unwrap().public().algorithm, Algorithm::EdDsa);
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let key = SigningKey::from_pkcs8(Zeroizing::new(document.as_ref().to_vec())).unwrap();
        let jwk = key.public().jwk(key.public().kid().unwrap()).unwrap();
        assert_eq!((jwk.kty.as_str(), jwk.crv.as_str(), jwk.alg.as_str()), ("EC", "P-256", "ES256"));
        assert!(jwk.y.is_some());
    }

    #[test]
    fn other_keys_are_refused() {
        assert_eq!(SigningKey::from_pem(b"hello").unwrap_err(), KeyError::NotPem);
        let truncated = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n";
        assert_eq!(SigningKey::from_pem(truncated.as_bytes()).unwrap_err(), KeyError::Unsupported);
        let public = PublicKey::new(Algorithm::EdDsa, &[1; 31]);
        assert_eq!(public.kid(), Err(KeyError::Public));
        assert_eq!(PublicKey { algorithm: Algorithm::Es256, key: "?".into() }.kid(), Err(KeyError::Public));
    }
}
