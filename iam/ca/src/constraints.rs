//! Name constraints (RFC 5280 §4.2.1.10) on URIs and DNS names. A constraint on anything else is not understood, so
//! whoever has one is not trusted.

use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, GeneralSubtree},
};

use crate::{AuthorityError, ChainFault};

pub(crate) const OID: &[u64] = &[2, 5, 29, 30];

const SEQUENCE: u8 = 0x30;
const PERMITTED: u8 = 0xa0;
const URI: u8 = 0x86;

/// What an extension contains that permits only URIs of `host`.
pub(crate) fn permit_uris_of(host: &str) -> Result<Vec<u8>, AuthorityError> {
    let subtree = der(SEQUENCE, &der(URI, host.as_bytes())?)?;
    der(SEQUENCE, &der(PERMITTED, &subtree)?)
}

fn der(tag: u8, content: &[u8]) -> Result<Vec<u8>, AuthorityError> {
    let length = u16::try_from(content.len()).map_err(AuthorityError::making)?;
    let [high, low] = length.to_be_bytes();
    let mut bytes = match (high, low) {
        (0, 0..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    bytes.extend_from_slice(content);
    Ok(bytes)
}

/// Whether `issuer` may vouch for the names of `certificate`.
pub(crate) fn check(issuer: &X509Certificate<'_>, certificate: &X509Certificate<'_>) -> Result<(), ChainFault> {
    let Some(constraints) = issuer.name_constraints().map_err(|_| ChainFault::Malformed)? else { return Ok(()) };
    let (permitted, excluded) =
        (list(constraints.value.permitted_subtrees.as_deref())?, list(constraints.value.excluded_subtrees.as_deref())?);
    let names = certificate.subject_alternative_name().map_err(|_| ChainFault::Malformed)?;
    for general in names.iter().flat_map(|names| &names.value.general_names) {
        // Forms that no constraint is about are not constrained.
        let Some(name) = Name::of(general) else { continue };
        let same_form = || permitted.iter().filter(|constraint| constraint.is_uri() == name.is_uri());
        let allowed = same_form().next().is_none() || same_form().any(|constraint| name.is_in(constraint));
        if !allowed || excluded.iter().any(|constraint| name.is_in(constraint)) {
            return Err(ChainFault::Constraint);
        }
    }
    Ok(())
}

/// The hosts of URIs that `issuer` may vouch for; without any, it is not constrained to some.
pub(crate) fn permitted_uris(issuer: &X509Certificate<'_>) -> Result<Vec<String>, ChainFault> {
    let constraints = issuer.name_constraints().map_err(|_| ChainFault::Malformed)?;
    let permitted = constraints.and_then(|constraints| constraints.value.permitted_subtrees.as_deref());
    let host = |name: Name<'_>| match name {
        Name::Uri(host) => Some(host.to_owned()),
        Name::Dns(_) => None,
    };
    Ok(list(permitted)?.into_iter().filter_map(host).collect())
}

/// A name, or a constraint on names of its form.
enum Name<'a> {
    Uri(&'a str),
    Dns(&'a str),
}

fn list<'a>(subtrees: Option<&[GeneralSubtree<'a>]>) -> Result<Vec<Name<'a>>, ChainFault> {
    let subtrees = subtrees.unwrap_or_default().iter();
    subtrees.map(|subtree| Name::of(&subtree.base).ok_or(ChainFault::Critical)).collect()
}

impl<'a> Name<'a> {
    fn of(general: &GeneralName<'a>) -> Option<Self> {
        match general {
            GeneralName::URI(uri) => Some(Self::Uri(uri)),
            GeneralName::DNSName(name) => Some(Self::Dns(name)),
            _ => None,
        }
    }

    fn is_uri(&self) -> bool {
        matches!(self, Self::Uri(_))
    }

    fn is_in(&self, constraint: &Name<'_>) -> bool {
        match (self, constraint) {
            // One host, or with a leading dot what is below it.
            (Self::Uri(uri), Name::Uri(domain)) => host(uri).is_some_and(|host| match domain.strip_prefix('.') {
                Some(parent) => is_below(host, parent),
                None => host.eq_ignore_ascii_case(domain),
            }),
            // The host and what is below it.
            (Self::Dns(name), Name::Dns(domain)) => {
                domain.is_empty() || name.eq_ignore_ascii_case(domain) || is_below(name, domain.trim_start_matches('.'))
            }
            (Self::Uri(_), Name::Dns(_)) | (Self::Dns(_), Name::Uri(_)) => false,
        }
    }
}

/// The host of a URI with an authority; a user or a port is nobody's here.
fn host(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    (!host.is_empty() && !host.contains(['@', ':'])).then_some(host)
}

fn is_below(name: &str, parent: &str) -> bool {
    let start = name.len().checked_sub(parent.len() + 1);
    start
        .and_then(|start| name.get(start..))
        .is_some_and(|end| end.strip_prefix('.').is_some_and(|end| end.eq_ignore_ascii_case(parent)))
}

#[cfg(test)]
mod tests {
    use x509_parser::{extensions::NameConstraints, prelude::FromDer as _};

    use super::*;

    #[test]
    fn hosts_of_uris() {
        assert_eq!(host("spiffe://harbour.example/node/pier2"), Some("harbour.example"));
        for uri in
            ["spiffe:harbour.example", "spiffe:///node", "spiffe://a@harbour.example/", "spiffe://harbour.example:1/"]
        {
            assert_eq!(host(uri), None, "{uri}");
        }
    }

    #[test]
    fn names_and_constraints() {
        let uri = Name::Uri("spiffe://a.Harbour.example/node/pier2");
        for (constraint, within) in [
            ("a.harbour.example", true),
            (".harbour.example", true),
            ("harbour.example", false),
            (".example", true),
            (".arbour.example", false),
        ] {
            assert_eq!(uri.is_in(&Name::Uri(constraint)), within, "{constraint}");
        }
        let dns = Name::Dns("pier2.harbour.example");
        for (constraint, within) in
            [("harbour.example", true), ("pier2.harbour.example", true), ("arbour.example", false), ("", true)]
        {
            assert_eq!(dns.is_in(&Name::Dns(constraint)), within, "{constraint}");
        }
        assert!(!uri.is_in(&Name::Dns("")));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for length in [1, 100, 130, 250, 300] {
            let host = "a".repeat(length);
            let bytes = permit_uris_of(&host).unwrap();
            let (rest, read) = NameConstraints::from_der(&bytes).unwrap();
            let permitted = list(read.permitted_subtrees.as_deref()).unwrap();
            assert!(matches!(permitted.as_slice(), [Name::Uri(uri)] if *uri == host), "{length}");
            assert!(rest.is_empty() && read.excluded_subtrees.is_none());
        }
    }
}
