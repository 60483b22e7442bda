//! The online certificate authority: it is made at genesis, its key is sealed, and it certifies nodes.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use iam_core::{PrincipalId, TrustDomain, secret};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::Error;

/// Five years; it is replaced by overlap long before.
const AUTHORITY_LIFE: Duration = Duration::from_secs(5 * 365 * 24 * 3600);
/// Clocks of nodes may be behind.
const BACKDATE_MS: u64 = 300_000;

/// A new authority.
pub(crate) struct NewAuthority {
    /// SHA-256 of its SubjectPublicKeyInfo, hex.
    pub(crate) id: String,
    /// Base64 DER.
    pub(crate) certificate: String,
    pub(crate) pkcs8: Zeroizing<Vec<u8>>,
}

/// A node's new certificate.
pub(crate) struct Issued {
    pub(crate) der: Vec<u8>,
    /// Hex.
    pub(crate) serial: String,
    pub(crate) expires_ms: u64,
}

pub(crate) fn generate(domain: &TrustDomain, now_ms: u64, serial: [u8; 16]) -> Result<NewAuthority, Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Holdfast");
    params.distinguished_name.push(DnType::CommonName, format!("{} identity", domain.as_str()));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(positive(serial));
    params.not_before = at(now_ms.saturating_sub(BACKDATE_MS))?;
    params.not_after = at(now_ms)? + AUTHORITY_LIFE;
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok(NewAuthority {
        id: secret::sha256_hex(&key.subject_public_key_info()),
        certificate: STANDARD.encode(certificate.der()),
        pkcs8: Zeroizing::new(key.serialize_der()),
    })
}

/// Certifies `public_key` (SubjectPublicKeyInfo, DER) for `principal`. Nothing of the request but its key is used.
pub(crate) fn certify(
    authority: &[u8],
    pkcs8: &[u8],
    public_key: &[u8],
    principal: &PrincipalId,
    spiffe_id: &str,
    validity: (u64, Duration),
    serial: [u8; 16],
) -> Result<Issued, Error> {
    let (now_ms, life) = validity;
    let key = KeyPair::try_from(&PrivatePkcs8KeyDer::from(pkcs8)).map_err(failed)?;
    let issuer = Issuer::from_ca_cert_der(&CertificateDer::from(authority), key).map_err(failed)?;
    let public_key = SubjectPublicKeyInfo::from_der(public_key).map_err(failed)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, principal.name());
    params.subject_alt_names = vec![SanType::URI(spiffe_id.try_into().map_err(failed)?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.is_ca = IsCa::ExplicitNoCa;
    let serial = positive(serial);
    params.serial_number = Some(serial.clone());
    params.not_before = at(now_ms.saturating_sub(BACKDATE_MS))?;
    params.not_after = at(now_ms)? + life;
    let certificate = params.signed_by(&public_key, &issuer).map_err(failed)?;
    Ok(Issued {
        der: certificate.der().to_vec(),
        serial: hex::encode(serial.as_ref()),
        expires_ms: now_ms.saturating_add(crate::settings::millis(life)),
    })
}

/// A fresh P-256 key in PKCS#8, for signing tokens with ES256.
pub(crate) fn generate_p256() -> Result<Zeroizing<Vec<u8>>, Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    Ok(Zeroizing::new(key.serialize_der()))
}

/// Serial numbers are positive and have no leading zero byte.
fn positive(mut serial: [u8; 16]) -> SerialNumber {
    serial[0] = (serial[0] & 0x7f) | 0x40;
    SerialNumber::from_slice(&serial)
}

fn at(ms: u64) -> Result<OffsetDateTime, Error> {
    let seconds = i64::try_from(ms / 1000).map_err(failed)?;
    OffsetDateTime::from_unix_timestamp(seconds).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Certificate(error.to_string())
}
