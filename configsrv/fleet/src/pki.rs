//! Certificates as this crate needs them: whose they are, and who vouches for that.

use time::OffsetDateTime;
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, oid_registry::OID_SIG_ED25519, pem::parse_x509_pem,
    prelude::FromDer as _,
};

use crate::{artifact::PublicKey, digest::Digest, spiffe::SpiffeId};

/// A parsed certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    /// The one URI name, as text: a [`SpiffeId`] for principals, the bare trust domain for an authority.
    pub uri: Option<String>,
    /// Absent if the key is not Ed25519.
    pub public_key: Option<PublicKey>,
    pub is_ca: bool,
    pub not_before: OffsetDateTime,
    pub not_after: OffsetDateTime,
    /// Hex digits.
    pub serial: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("not a PEM certificate")]
    NotPem,
    #[error("not a certificate: {0}")]
    NotX509(String),
    #[error("its names cannot be read: {0}")]
    Names(String),
}

impl Certificate {
    /// Reads the first certificate of a PEM file.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CertificateError> {
        let (_, block) = parse_x509_pem(pem).map_err(|_| CertificateError::NotPem)?;
        if block.label != "CERTIFICATE" {
            return Err(CertificateError::NotPem);
        }
        Self::from_der(&block.contents)
    }

    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let (_, parsed) =
            X509Certificate::from_der(der).map_err(|error| CertificateError::NotX509(error.to_string()))?;
        let spki = parsed.public_key();
        let public_key = (spki.algorithm.algorithm == OID_SIG_ED25519)
            .then(|| PublicKey::from_bytes(&spki.subject_public_key.data).ok())
            .flatten();
        let names = parsed.subject_alternative_name().map_err(|error| CertificateError::Names(error.to_string()))?;
        let mut uris = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        });
        let uri = uris.next();
        // SPIFFE allows exactly one URI; with two, which one counts would depend on the reader.
        if uris.next().is_some() {
            return Err(CertificateError::Names("more than one URI".into()));
        }
        Ok(Self {
            uri,
            public_key,
            is_ca: parsed.is_ca(),
            not_before: parsed.validity().not_before.to_datetime(),
            not_after: parsed.validity().not_after.to_datetime(),
            serial: hex::encode(parsed.raw_serial()),
            der: der.to_vec(),
        })
    }

    pub fn der(&self) -> &[u8] {
        &self.der
    }

    pub fn spiffe_id(&self) -> Option<SpiffeId> {
        self.uri.as_deref().and_then(|uri| uri.parse().ok())
    }

    /// SHA-256 of the DER form.
    pub fn fingerprint(&self) -> Digest {
        Digest::of(&self.der)
    }

    /// Whether `authority`'s key signed this certificate. Dates are not looked at.
    pub fn is_signed_by(&self, authority: &Self) -> bool {
        let parse = |certificate: &Self| -> Option<bool> {
            let (_, child) = X509Certificate::from_der(&certificate.der).ok()?;
            let (_, parent) = X509Certificate::from_der(&authority.der).ok()?;
            let signed = child.verify_signature(Some(parent.public_key())).is_ok();
            Some(parent.is_ca() && child.issuer() == parent.subject() && signed)
        };
        parse(self).unwrap_or(false)
    }
}
