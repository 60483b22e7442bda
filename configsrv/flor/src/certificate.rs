//! Certificates and requests for them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use iam_ca::certificates_pem;
use rcgen::{CertificateParams, KeyPair};

use crate::Error;

/// A certificate request without names: the server decides who this is.
pub(crate) fn request(key: &KeyPair) -> Result<Vec<u8>, Error> {
    let failed = |error: rcgen::Error| Error::Unexpected(error.to_string());
    let request = CertificateParams::default().serialize_request(key).map_err(failed)?;
    Ok(request.der().to_vec())
}

/// The same as PEM.
pub(crate) fn request_pem(key: &KeyPair) -> Result<String, Error> {
    let failed = |error: rcgen::Error| Error::Unexpected(error.to_string());
    CertificateParams::default().serialize_request(key).and_then(|request| request.pem()).map_err(failed)
}

pub(crate) fn pem(der: &[u8]) -> String {
    certificates_pem([der])
}

/// Of a PKCS #8 key.
pub(crate) fn key_pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}
