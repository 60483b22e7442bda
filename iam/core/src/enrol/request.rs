use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer as _};

use crate::{secret, signing::Algorithm};

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
        algorithm(info).ok_or(RequestError::Key)?;
        request.verify_signature().map_err(|_| RequestError::Possession)?;
        Ok(Self { public_key: info.raw.to_vec(), key_sha256: secret::sha256_hex(info.raw) })
    }
}

/// The algorithm of a certified key; none if it is not one of ours.
pub(super) fn algorithm(info: &x509_parser::x509::SubjectPublicKeyInfo<'_>) -> Option<Algorithm> {
    let curve = info.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok()).map(|oid| oid.to_id_string());
    Algorithm::of_certificate(&info.algorithm.algorithm.to_id_string(), curve.as_deref())
}
