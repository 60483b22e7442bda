use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer as _,
    time::ASN1Time,
};

use super::request::algorithm;
use crate::{PrincipalId, TrustDomain, secret, signing::PublicKey};

/// Leaf, intermediates; the root is ours.
const MAX_CHAIN: usize = 4;

/// Who a certificate chain belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub principal: PrincipalId,
    /// Hex.
    pub serial: String,
    /// SHA-256 of the leaf's SubjectPublicKeyInfo, hex.
    pub key_sha256: String,
    pub key: PublicKey,
    pub expires_ms: u64,
    /// When the first certificate between the leaf and the root, these two included, ends.
    pub until_ms: u64,
}

/// The precise reason for the audit log; callers never see it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    #[error("no certificate, or more than {MAX_CHAIN}")]
    Length,
    #[error("a certificate does not parse")]
    Malformed,
    #[error("a certificate is expired or not valid yet")]
    Time,
    #[error("no trusted authority issued it")]
    Untrusted,
    #[error("a certificate with a critical extension that is not understood")]
    Critical,
    #[error("the leaf is not for client authentication")]
    Usage,
    #[error("the leaf's key is neither P-256 nor Ed25519")]
    Key,
    #[error("the leaf does not name exactly one SPIFFE id of this trust domain")]
    Name,
}

/// Checks a chain against `roots` (all DER) and says whom its leaf names. Revocation is the caller's.
pub fn verify_chain(
    chain: &[&[u8]],
    roots: &[&[u8]],
    trust_domain: &TrustDomain,
    now_ms: u64,
) -> Result<Peer, ChainFault> {
    if chain.len() > MAX_CHAIN {
        return Err(ChainFault::Length);
    }
    let chain = chain.iter().map(|der| parse(der)).collect::<Result<Vec<_>, _>>()?;
    let roots = roots.iter().map(|der| parse(der)).collect::<Result<Vec<_>, _>>()?;
    let now =
        ASN1Time::from_timestamp(i64::try_from(now_ms / 1000).unwrap_or(i64::MAX)).map_err(|_| ChainFault::Time)?;
    let (leaf, intermediates) = chain.split_first().ok_or(ChainFault::Length)?;
    for certificate in &chain {
        in_force(certificate, now)?;
    }
    let root = trusted(leaf, intermediates, &roots, now)?;
    let usage = leaf.extended_key_usage().map_err(|_| ChainFault::Malformed)?;
    if leaf.is_ca() || !usage.is_some_and(|usage| usage.value.client_auth) {
        return Err(ChainFault::Usage);
    }
    let algorithm = algorithm(leaf.public_key()).ok_or(ChainFault::Key)?;
    Ok(Peer {
        principal: name(leaf, trust_domain)?,
        serial: hex::encode(leaf.raw_serial()),
        key_sha256: secret::sha256_hex(leaf.public_key().raw),
        key: PublicKey::new(algorithm, &leaf.public_key().subject_public_key.data),
        expires_ms: end_ms(leaf),
        until_ms: chain.iter().chain([root]).map(end_ms).min().unwrap_or(0),
    })
}

fn end_ms(certificate: &X509Certificate<'_>) -> u64 {
    u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0).saturating_mul(1000)
}

fn parse<'a>(der: &'a [u8]) -> Result<X509Certificate<'a>, ChainFault> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(ChainFault::Malformed),
    }
}

fn in_force(certificate: &X509Certificate<'_>, now: ASN1Time) -> Result<(), ChainFault> {
    if !certificate.validity().is_valid_at(now) {
        return Err(ChainFault::Time);
    }
    let understood = |parsed: &ParsedExtension<'_>| {
        matches!(
            parsed,
            ParsedExtension::BasicConstraints(_)
                | ParsedExtension::KeyUsage(_)
                | ParsedExtension::ExtendedKeyUsage(_)
                | ParsedExtension::SubjectAlternativeName(_)
        )
    };
    let mut critical = certificate.extensions().iter().filter(|extension| extension.critical);
    if critical.any(|extension| !understood(extension.parsed_extension())) {
        return Err(ChainFault::Critical);
    }
    Ok(())
}

/// Follows the issuers from the leaf until a root has signed, and returns that root.
fn trusted<'r, 'a>(
    leaf: &X509Certificate<'_>,
    intermediates: &[X509Certificate<'_>],
    roots: &'r [X509Certificate<'a>],
    now: ASN1Time,
) -> Result<&'r X509Certificate<'a>, ChainFault> {
    let mut current = leaf;
    let mut rest = intermediates.iter();
    loop {
        let issued_by_root = |root: &&X509Certificate<'_>| root.validity().is_valid_at(now) && issued(current, root);
        if let Some(root) = roots.iter().find(issued_by_root) {
            return Ok(root);
        }
        let issuer = rest.next().ok_or(ChainFault::Untrusted)?;
        if !issued(current, issuer) {
            return Err(ChainFault::Untrusted);
        }
        current = issuer;
    }
}

fn issued(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    let may_sign = issuer.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()));
    issuer.is_ca()
        && may_sign
        && certificate.issuer().as_raw() == issuer.subject().as_raw()
        && certificate.verify_signature(Some(issuer.public_key())).is_ok()
}

fn name(leaf: &X509Certificate<'_>, trust_domain: &TrustDomain) -> Result<PrincipalId, ChainFault> {
    let names = leaf.subject_alternative_name().map_err(|_| ChainFault::Malformed)?.ok_or(ChainFault::Name)?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => trust_domain.principal(uri).ok_or(ChainFault::Name),
        _ => Err(ChainFault::Name),
    }
}
