use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

const SUFFIX: &str = ".peer.holdfast";

/// The DNS name in the certificate of the server called `name`. It is never resolved: it names a slot.
pub(crate) fn peer_dns_name(name: &str) -> String {
    format!("{name}{SUFFIX}")
}

/// The server that a verified certificate belongs to: it must name exactly one.
pub(crate) fn slot_name(der: &[u8]) -> Result<String, String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    let names = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let mut slots = names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => name.strip_suffix(SUFFIX),
        _ => None,
    });
    match (slots.next(), slots.next()) {
        (Some(name), None) => Ok(name.to_owned()),
        (None, _) => Err(format!("the certificate names no server (a DNS name that ends in {SUFFIX})")),
        (Some(_), Some(_)) => Err("the certificate names more than one server".into()),
    }
}
