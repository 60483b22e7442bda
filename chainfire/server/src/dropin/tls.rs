//! What the flags say about TLS, of both ports.

use std::path::{Path, PathBuf};

use chainfire_raft::{PeerTls, PeerTrust};
use holdfast_rpc::{ClientAuth, TlsFiles, TlsOffer, TlsVersion};

use super::{
    Flags,
    self_signed::{SelfSigned, YEARS},
    settings::{SettingsError, invalid},
};

/// How the ports are protected; none: in plaintext.
pub(super) struct Ports {
    pub(super) clients: Option<TlsFiles>,
    pub(super) peers: Option<PeerTls>,
    /// Certificates that have to be made.
    pub(super) self_signed: Vec<SelfSigned>,
    /// What is not done as the flags say.
    pub(super) warning: Option<String>,
}

/// Reads the flags; `secure_peers`: whether there are peers, and their URLs are https.
pub(super) fn ports(flags: &Flags, data_dir: &Path, secure_peers: bool) -> Result<Ports, SettingsError> {
    let (offer, warning) = offer(flags)?;
    let years = flags.self_signed_cert_validity;
    if (flags.auto_tls || flags.peer_auto_tls) && !YEARS.contains(&years) {
        return invalid(format!("--self-signed-cert-validity must be {} to {}", YEARS.start(), YEARS.end()));
    }
    let mut self_signed = Vec::new();
    let mut make = |purpose: &str, urls: &[_]| {
        let wanted = SelfSigned::new(data_dir, purpose, urls, years);
        let files = (wanted.certificate(), wanted.key());
        self_signed.push(wanted);
        files
    };

    let urls = [&flags.listen_client_urls, &flags.listen_client_http_urls, &flags.listen_metrics_urls];
    let urls: Vec<_> = urls.into_iter().flatten().filter(|url| url.secure).cloned().collect();
    let clients = match files(&flags.cert_file, &flags.key_file) {
        _ if urls.is_empty() => None,
        Some((cert, key)) => Some(TlsFiles::new(cert, key, client_auth(flags)?)),
        None if flags.auto_tls => {
            let (cert, key) = make("client", &urls);
            Some(TlsFiles::new(cert, key, client_auth(flags)?))
        }
        None if !flags.listen_client_urls.iter().any(|url| url.secure) => {
            return invalid("client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url");
        }
        None => return invalid("an https client URL needs --cert-file and --key-file, or --auto-tls"),
    };
    let clients =
        clients.map(|files| TlsFiles { revoked: flags.client_crl_file.clone(), offer: offer.clone(), ..files });

    let peers = match (files(&flags.peer_cert_file, &flags.peer_key_file), flags.peer_trusted_ca_file.clone()) {
        _ if !secure_peers => None,
        (Some((cert, key)), Some(ca)) => {
            let calling = files(&flags.peer_client_cert_file, &flags.peer_client_key_file);
            Some(PeerTls { calling, ..PeerTls::new(cert, key, PeerTrust::Hosts(ca)) })
        }
        (None, _) if flags.peer_auto_tls => {
            let (cert, key) = make("peer", &flags.listen_peer_urls);
            Some(PeerTls::new(cert, key, PeerTrust::Anyone))
        }
        _ => {
            return invalid(
                "https peer URLs need --peer-cert-file, --peer-key-file and --peer-trusted-ca-file, or --peer-auto-tls",
            );
        }
    };
    let peers = peers.map(|tls| PeerTls { revoked: flags.peer_crl_file.clone(), offer, ..tls });
    Ok(Ports { clients, peers, self_signed, warning })
}

fn files(certificate: &Option<PathBuf>, key: &Option<PathBuf>) -> Option<(PathBuf, PathBuf)> {
    certificate.clone().zip(key.clone())
}

fn client_auth(flags: &Flags) -> Result<ClientAuth, SettingsError> {
    match (flags.client_cert_auth, flags.trusted_ca_file.clone()) {
        // As in etcd, a CA alone is enough to ask for certificates; the flag is about users that they name.
        (_, Some(roots)) => Ok(ClientAuth::Required(roots)),
        (true, None) => invalid("--client-cert-auth needs --trusted-ca-file"),
        (false, None) => Ok(ClientAuth::None),
    }
}

/// What handshakes offer, and a warning if that is less than was asked for.
fn offer(flags: &Flags) -> Result<(TlsOffer, Option<String>), SettingsError> {
    let version = |text: &str| match text {
        "TLS1.2" => Some(TlsVersion::V1_2),
        "TLS1.3" => Some(TlsVersion::V1_3),
        _ => None,
    };
    let lowest = version(&flags.tls_min_version).unwrap_or(TlsVersion::V1_2);
    let highest = version(&flags.tls_max_version).unwrap_or(TlsVersion::V1_3);
    if lowest > highest {
        return invalid("--tls-min-version is above --tls-max-version");
    }
    let mut offer = TlsOffer::default();
    if lowest == highest {
        offer = offer.only(lowest);
    }
    if flags.cipher_suites.is_empty() {
        return Ok((offer, None));
    }
    if lowest == TlsVersion::V1_3 {
        return invalid("--cipher-suites are those of TLS 1.2, and --tls-min-version is TLS1.3");
    }
    let (offer, unknown) = offer.with_suites(&flags.cipher_suites);
    if let Some(name) = unknown.iter().find(|name| !name.starts_with("TLS_")) {
        return invalid(format!(
            "--cipher-suites: {name:?} is not a name such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
        ));
    }
    if offer.is_empty() {
        return invalid("--cipher-suites leaves nothing to offer");
    }
    let missing = || format!("--cipher-suites: {} are not offered, for their weaknesses", unknown.join(", "));
    Ok((offer, (!unknown.is_empty()).then(missing)))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn read(args: &[&str]) -> Result<Ports, SettingsError> {
        let flags = Flags::parse_from_etcd(args.iter().map(OsString::from)).unwrap().0;
        let secure = flags.listen_peer_urls.iter().any(|url| url.secure);
        ports(&flags, Path::new("data"), secure)
    }

    fn refusal(args: &[&str]) -> String {
        read(args).err().unwrap().to_string()
    }

    #[test]
    fn plaintext_needs_no_certificates() {
        let ports = read(&["--auto-tls", "--peer-auto-tls"]).unwrap();
        assert!(ports.clients.is_none() && ports.peers.is_none() && ports.self_signed.is_empty());
    }

    #[test]
    fn certificates_are_named_or_made() {
        let secure = ["--listen-client-urls=https://localhost:2379", "--listen-peer-urls=https://localhost:2380"];
        assert!(refusal(&secure).contains("--auto-tls"));
        let ports = read(&[&secure[..], &["--auto-tls", "--peer-auto-tls"]].concat()).unwrap();
        assert_eq!(ports.self_signed.len(), 2);
        assert_eq!(ports.clients.unwrap().cert, Path::new("data/fixtures/client/cert.pem"));
        assert_eq!(ports.peers.unwrap().trust, PeerTrust::Anyone);
        let named = ["--cert-file=c", "--key-file=k", "--auto-tls"];
        let peer = ["--peer-cert-file=c", "--peer-key-file=k", "--peer-trusted-ca-file=ca", "--peer-auto-tls"];
        let ports = read(&[&secure[..], &named, &peer].concat()).unwrap();
        assert!(ports.self_signed.is_empty());
        assert_eq!(ports.clients.unwrap().cert, Path::new("c"));
        assert_eq!(ports.peers.unwrap().trust, PeerTrust::Hosts("ca".into()));
    }

    #[test]
    fn what_is_offered_can_be_narrowed() {
        let offered = |args: &[&str]| {
            let secure = ["--listen-client-urls=https://localhost:2379", "--auto-tls"];
            read(&[&secure[..], args].concat()).map(|ports| ports.clients.unwrap().offer)
        };
        assert_eq!(offered(&["--tls-min-version=TLS1.2"]).unwrap(), TlsOffer::default());
        assert_eq!(offered(&["--tls-min-version=TLS1.3"]).unwrap(), TlsOffer::default().only(TlsVersion::V1_3));
        assert_eq!(offered(&["--tls-max-version=TLS1.2"]).unwrap(), TlsOffer::default().only(TlsVersion::V1_2));
        let suites = "--cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_RSA_WITH_AES_128_CBC_SHA";
        assert_ne!(offered(&[suites]).unwrap(), TlsOffer::default());
        assert!(offered(&[suites, "--tls-min-version=TLS1.3"]).is_err());
        assert!(offered(&["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"]).is_err());
        assert!(offered(&["--cipher-suites=AES"]).is_err());
        assert!(offered(&["--cipher-suites=TLS_RSA_WITH_AES_128_CBC_SHA", "--tls-max-version=TLS1.2"]).is_err());
    }
}
