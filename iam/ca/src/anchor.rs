use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use crate::{AuthorityError, KeyAlgorithm, certificate_id, chain::end_ms};

/// What a self-signed authority says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// See [`certificate_id`].
    pub id: String,
    pub subject: String,
    pub algorithm: KeyAlgorithm,
    /// 32 bytes for Ed25519, an uncompressed point for P-256.
    pub key: Vec<u8>,
    pub expires_ms: u64,
}

impl Anchor {
    /// From a certificate (DER), if it is an authority's, signed by itself, with a key of a kind that is certified here.
    pub fn parse(der: &[u8]) -> Result<Self, AuthorityError> {
        let no = |why: &str| AuthorityError::Unusable(why.to_owned());
        let certificate = authority(der)?;
        let key = certificate.public_key();
        let algorithm = KeyAlgorithm::of(key).ok_or_else(|| no("its key is neither P-256 nor Ed25519"))?;
        let own = certificate.issuer().as_raw() == certificate.subject().as_raw();
        if !own || certificate.verify_signature(None).is_err() {
            return Err(no("it is not signed by itself; trust the root above it"));
        }
        Ok(Self {
            id: certificate_id(key.raw),
            subject: certificate.subject().to_string(),
            algorithm,
            key: key.subject_public_key.data.to_vec(),
            expires_ms: end_ms(&certificate),
        })
    }
}

/// The certificate (DER) of somebody who may sign others.
pub(crate) fn authority(der: &[u8]) -> Result<X509Certificate<'_>, AuthorityError> {
    let no = |why: &str| AuthorityError::Unusable(why.to_owned());
    let Ok(([], certificate)) = X509Certificate::from_der(der) else { return Err(no("it is no certificate")) };
    let usage = certificate.key_usage().map_err(AuthorityError::unusable)?;
    match certificate.is_ca() && usage.is_none_or(|usage| usage.value.key_cert_sign()) {
        true => Ok(certificate),
        false => Err(no("the certificate is not an authority's")),
    }
}
