use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// What whoever shows a token must prove besides (RFC 7800): possession of the key of one client certificate
/// (RFC 8705 §3.1), as the TLS handshake does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// SHA-256 of the certificate's DER, in base64url.
    #[serde(rename = "x5t#S256")]
    pub x5t_s256: String,
}

impl Confirmation {
    /// By the certificate `der`.
    pub fn certificate(der: &[u8]) -> Self {
        Self { x5t_s256: URL_SAFE_NO_PAD.encode(digest(&SHA256, der)) }
    }

    /// Whether a connection confirms it whose client showed `certificate`, if any.
    pub fn holds(&self, certificate: Option<&[u8]>) -> bool {
        certificate.is_some_and(|der| *self == Self::certificate(der))
    }
}
