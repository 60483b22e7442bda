use std::{fs, path::Path, sync::Arc};

use rustls::{RootCertStore, crypto::ring, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject as _};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::{Error, PeerTls, PeerTrust};

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

/// Checks this server's certificate the way the others will: their refusal would reach its operator late or never.
/// Returns whom it trusts, which is [`PeerTrust::Slots`] if its own certificate names its slot.
pub(crate) fn check_own(tls: &PeerTls, name: &str) -> Result<PeerTrust, Error> {
    let wrong = |reason: String| Error::Tls(format!("{}: {reason}", tls.certificate.display()));
    let chain = certificates(&tls.certificate)?;
    let (leaf, intermediates) = chain.split_first().ok_or_else(|| wrong("there is no certificate in it".into()))?;
    let Some(ca) = tls.trust.authority() else { return Ok(PeerTrust::Anyone) };
    let trust = match (&tls.trust, slot_name(leaf)) {
        (PeerTrust::Hosts(_), Err(_)) => tls.trust.clone(),
        (_, named) => {
            let named = named.map_err(wrong)?;
            if named != name {
                return Err(wrong(format!("the certificate is {named}'s, and this server is {name}")));
            }
            PeerTrust::Slots(ca.to_owned())
        }
    };
    let mut roots = RootCertStore::empty();
    for root in certificates(ca)? {
        roots.add(root).map_err(|error| Error::Tls(format!("{}: {error}", ca.display())))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()));
    let verifier = verifier.build().map_err(|error| Error::Tls(format!("{}: {error}", ca.display())))?;
    let verified = verifier.verify_client_cert(leaf, intermediates, UnixTime::now());
    let judged = |error: rustls::Error| wrong(format!("not accepted by {}: {error}", ca.display()));
    verified.map(|_| trust).map_err(judged)
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let wrong = |reason: String| Error::Tls(format!("{}: {reason}", path.display()));
    let pem = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, Issuer, KeyPair};
    use time::{Duration, OffsetDateTime};

    use super::*;
    use crate::peer_ca;

    #[test]
    fn an_expired_certificate_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let ca = peer_ca::init(folder.path()).unwrap();
        let issued = peer_ca::issue(folder.path(), "a", &[], &folder.path().join("a")).unwrap();
        let trust = PeerTrust::Slots(ca.clone());
        let mut tls = PeerTls::new(issued.certificate, issued.key, trust);
        check_own(&tls, "a").unwrap();

        let signing = KeyPair::from_pem(&fs::read_to_string(folder.path().join("peer-ca.key")).unwrap()).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&fs::read_to_string(ca).unwrap(), signing).unwrap();
        let mut params = CertificateParams::new(vec![peer_dns_name("a")]).unwrap();
        params.not_after = OffsetDateTime::now_utc() - Duration::days(1);
        let old = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        tls.certificate = folder.path().join("old.crt");
        fs::write(&tls.certificate, old.pem()).unwrap();
        let text = check_own(&tls, "a").err().unwrap().to_string();
        assert!(text.contains("old.crt") && text.contains("xpired"), "{text}");
    }

    #[test]
    fn slots_count_where_certificates_name_them() {
        let folder = tempfile::tempdir().unwrap();
        let ca = peer_ca::init(folder.path()).unwrap();
        let issued = peer_ca::issue(folder.path(), "a", &[], &folder.path().join("a")).unwrap();
        let trust = PeerTrust::Hosts(ca.clone());
        let tls = PeerTls::new(issued.certificate, issued.key, trust.clone());
        assert_eq!(check_own(&tls, "a").unwrap(), PeerTrust::Slots(ca.clone()));
        assert!(check_own(&tls, "b").is_err());

        let signing = KeyPair::from_pem(&fs::read_to_string(folder.path().join("peer-ca.key")).unwrap()).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&fs::read_to_string(ca).unwrap(), signing).unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let host = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        fs::write(&tls.certificate, host.pem()).unwrap();
        assert_eq!(check_own(&tls, "a").unwrap(), trust);
    }
}
