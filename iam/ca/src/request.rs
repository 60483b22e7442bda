use x509_parser::{certification_request::X509CertificationRequest, pem::parse_x509_pem, prelude::FromDer as _};

use crate::{KeyAlgorithm, certificate_id};

/// No request with one key in it is longer.
const MAX_REQUEST: usize = 16 * 1024;

/// A PKCS#10 request whose signature proves possession of the key. Names in it mean nothing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    /// SubjectPublicKeyInfo, DER.
    pub public_key: Vec<u8>,
    /// SHA-256 of [`Self::public_key`], hex.
    pub key_sha256: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("the certificate request does not parse")]
    Malformed,
    #[error("the certificate request's key is neither P-256 nor Ed25519")]
    Key,
    #[error("the certificate request is not signed by its own key")]
    Possession,
}

impl CertificateRequest {
    pub fn parse(der: &[u8]) -> Result<Self, RequestError> {
        if der.len() > MAX_REQUEST {
            return Err(RequestError::Malformed);
        }
        let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| RequestError::Malformed)?;
        if !rest.is_empty() {
            return Err(RequestError::Malformed);
        }
        let info = &request.certification_request_info.subject_pki;
        KeyAlgorithm::of(info).ok_or(RequestError::Key)?;
        request.verify_signature().map_err(|_| RequestError::Possession)?;
        Ok(Self { public_key: info.raw.to_vec(), key_sha256: certificate_id(info.raw) })
    }

    pub fn from_pem(pem: &str) -> Result<Self, RequestError> {
        let (_, block) = parse_x509_pem(pem.as_bytes()).map_err(|_| RequestError::Malformed)?;
        if !block.label.ends_with("CERTIFICATE REQUEST") {
            return Err(RequestError::Malformed);
        }
        Self::parse(&block.contents)
    }
}
