use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer as _,
    time::ASN1Time,
};

use crate::{KeyAlgorithm, certificate_id, constraints};

/// Between a leaf and its root.
pub const MAX_INTERMEDIATES: usize = 2;
/// Leaf, intermediates, and the root, which some clients send along.
const MAX_CHAIN: usize = MAX_INTERMEDIATES + 2;

/// What a chain that leads to a trusted root says of its leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    pub uris: Vec<String>,
    pub dns_names: Vec<String>,
    pub common_name: Option<String>,
    /// Hex.
    pub serial: String,
    /// SHA-256 of the SubjectPublicKeyInfo, hex.
    pub key_sha256: String,
    /// None for a key of a kind that is not certified here.
    pub algorithm: Option<KeyAlgorithm>,
    /// 32 bytes for Ed25519, an uncompressed point for P-256.
    pub key: Vec<u8>,
    pub expires_ms: u64,
    /// When the first certificate from the leaf to the root, these two included, ends.
    pub until_ms: u64,
    /// Which of the roots vouches for it.
    pub root: usize,
    /// Serial numbers of the authorities between the leaf and the root, hex.
    pub intermediates: Vec<String>,
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
    #[error("an authority stands higher above the leaf than it may")]
    Depth,
    #[error("an authority may not vouch for this name")]
    Constraint,
    #[error("a certificate with a critical extension that is not understood")]
    Critical,
    #[error("the leaf is not for client authentication")]
    Usage,
}

/// Checks that a chain (DER, leaf first) leads to one of `roots` and that its leaf is a client's, as of `now_ms`.
/// Revocation is the caller's.
pub fn verify(chain: &[&[u8]], roots: &[&[u8]], now_ms: u64) -> Result<Certified, ChainFault> {
    let now =
        ASN1Time::from_timestamp(i64::try_from(now_ms / 1000).unwrap_or(i64::MAX)).map_err(|_| ChainFault::Time)?;
    let chain = parse_chain(chain)?;
    for certificate in &chain {
        if !certificate.validity().is_valid_at(now) {
            return Err(ChainFault::Time);
        }
        understood(certificate)?;
    }
    let roots = roots.iter().map(|der| parse(der)).collect::<Result<Vec<_>, _>>()?;
    let in_force = |root: &X509Certificate<'_>| root.validity().is_valid_at(now);
    let (at, above) = root_of(&chain, &roots, in_force)?;
    let (leaf, intermediates) = chain.split_first().ok_or(ChainFault::Length)?;
    let is_client = |certificate: &X509Certificate<'_>| match certificate.extended_key_usage() {
        Ok(usage) => Ok(usage.map(|usage| usage.value.client_auth)),
        Err(_) => Err(ChainFault::Malformed),
    };
    if leaf.is_ca() || is_client(leaf)? != Some(true) {
        return Err(ChainFault::Usage);
    }
    for intermediate in intermediates {
        if is_client(intermediate)? == Some(false) {
            return Err(ChainFault::Usage);
        }
    }
    let until_ms = chain.iter().chain(roots.get(at)).map(end_ms).min().unwrap_or(0);
    let path = intermediates.get(..above).unwrap_or_default();
    let path = path.iter().map(|certificate| hex::encode(certificate.raw_serial())).collect();
    certified(leaf, until_ms, at, path)
}

/// Which of `roots` (DER) a chain (DER, leaf first) leads to, whatever the time and whatever the leaf is for.
pub fn leads_to(chain: &[&[u8]], roots: &[&[u8]]) -> Result<usize, ChainFault> {
    let chain = parse_chain(chain)?;
    chain.iter().try_for_each(understood)?;
    let roots = roots.iter().map(|der| parse(der)).collect::<Result<Vec<_>, _>>()?;
    root_of(&chain, &roots, |_| true).map(|(at, _)| at)
}

fn parse_chain<'a>(chain: &[&'a [u8]]) -> Result<Vec<X509Certificate<'a>>, ChainFault> {
    if chain.is_empty() || chain.len() > MAX_CHAIN {
        return Err(ChainFault::Length);
    }
    chain.iter().map(|der| parse(der)).collect()
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, ChainFault> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(ChainFault::Malformed),
    }
}

fn understood(certificate: &X509Certificate<'_>) -> Result<(), ChainFault> {
    let understood = |parsed: &ParsedExtension<'_>| {
        matches!(
            parsed,
            ParsedExtension::BasicConstraints(_)
                | ParsedExtension::KeyUsage(_)
                | ParsedExtension::ExtendedKeyUsage(_)
                | ParsedExtension::NameConstraints(_)
                | ParsedExtension::SubjectAlternativeName(_)
        )
    };
    let mut critical = certificate.extensions().iter().filter(|extension| extension.critical);
    if critical.any(|extension| !understood(extension.parsed_extension())) {
        return Err(ChainFault::Critical);
    }
    Ok(())
}

/// Follows the issuers from the leaf until a root has signed: which root, and how many intermediates are below it.
fn root_of(
    chain: &[X509Certificate<'_>],
    roots: &[X509Certificate<'_>],
    in_force: impl Fn(&X509Certificate<'_>) -> bool,
) -> Result<(usize, usize), ChainFault> {
    for (above, current) in chain.iter().enumerate() {
        let root = roots.iter().position(|root| in_force(root) && issued(current, root));
        if let Some((at, root)) = root.and_then(|at| Some((at, roots.get(at)?))) {
            let path = chain.get(..=above).ok_or(ChainFault::Length)?;
            return may_vouch(root, path).map(|()| (at, above));
        }
        let issuer = chain.get(above + 1).ok_or(ChainFault::Untrusted)?;
        if above == MAX_INTERMEDIATES || !issued(current, issuer) {
            return Err(ChainFault::Untrusted);
        }
        may_vouch(issuer, chain.get(..=above).ok_or(ChainFault::Length)?)?;
    }
    Err(ChainFault::Untrusted)
}

/// Whether `issuer` may stand above `path`, whose first is the leaf.
fn may_vouch(issuer: &X509Certificate<'_>, path: &[X509Certificate<'_>]) -> Result<(), ChainFault> {
    let constraints = issuer.basic_constraints().map_err(|_| ChainFault::Malformed)?;
    let below = constraints.and_then(|constraints| constraints.value.path_len_constraint);
    if below.is_some_and(|below| path.len() > usize::try_from(below).unwrap_or(usize::MAX).saturating_add(1)) {
        return Err(ChainFault::Depth);
    }
    path.iter().try_for_each(|certificate| constraints::check(issuer, certificate))
}

fn issued(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    let may_sign = issuer.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()));
    issuer.is_ca()
        && may_sign
        && certificate.issuer().as_raw() == issuer.subject().as_raw()
        && certificate.verify_signature(Some(issuer.public_key())).is_ok()
}

fn certified(
    leaf: &X509Certificate<'_>,
    until_ms: u64,
    root: usize,
    intermediates: Vec<String>,
) -> Result<Certified, ChainFault> {
    let names = leaf.subject_alternative_name().map_err(|_| ChainFault::Malformed)?;
    let (mut uris, mut dns_names) = (Vec::new(), Vec::new());
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        match name {
            GeneralName::URI(uri) => uris.push((*uri).to_owned()),
            GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
            _ => {}
        }
    }
    let mut common_names = leaf.subject().iter_common_name();
    let common_name = match (common_names.next(), common_names.next()) {
        (Some(name), None) => name.as_str().ok().map(str::to_owned),
        _ => None,
    };
    Ok(Certified {
        uris,
        dns_names,
        common_name,
        serial: hex::encode(leaf.raw_serial()),
        key_sha256: certificate_id(leaf.public_key().raw),
        algorithm: KeyAlgorithm::of(leaf.public_key()),
        intermediates,
        key: leaf.public_key().subject_public_key.data.to_vec(),
        expires_ms: end_ms(leaf),
        until_ms,
        root,
    })
}

/// When a certificate ends, in Unix milliseconds.
pub(crate) fn end_ms(certificate: &X509Certificate<'_>) -> u64 {
    u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0).saturating_mul(1000)
}
