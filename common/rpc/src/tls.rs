//! Server TLS from files, re-read when they change.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring::Ticketer},
    server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject};

use crate::{Complaints, TlsOffer, handshake_advice, presented::PresentedCertificates};

/// Whether clients show certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    None,
    /// Shown by who has one, and only possession of the key is checked here; IAM judges the certificate.
    Presented,
    /// Verified against these roots when shown; callers may use tokens instead.
    Optional(PathBuf),
    Required(PathBuf),
}

impl ClientAuth {
    /// Whether a handshake decides nothing about a client, so that a session resumed by ticket decides nothing either.
    fn is_judged_later(&self) -> bool {
        match self {
            Self::None | Self::Presented => true,
            Self::Optional(_) | Self::Required(_) => false,
        }
    }
}

/// Where the server's identity lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM chain, leaf first.
    pub cert: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
    pub client_auth: ClientAuth,
    /// Clients' certificates that do not count any more: a list in DER or PEM, for certificates that are verified.
    pub revoked: Option<PathBuf>,
    pub offer: TlsOffer,
}

impl TlsFiles {
    /// With everything that is safe on offer and nobody's certificate revoked.
    pub fn new(cert: PathBuf, key: PathBuf, client_auth: ClientAuth) -> Self {
        Self { cert, key, client_auth, revoked: None, offer: TlsOffer::default() }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is not valid PEM: {reason}")]
    Pem { path: PathBuf, reason: String },
    #[error("certificate {cert} and key {key} cannot be used: {reason}")]
    Unusable { cert: PathBuf, key: PathBuf, reason: String },
}

/// The current TLS configuration of a listener.
#[derive(Clone)]
pub struct ServerTls {
    files: Arc<TlsFiles>,
    alpn: Arc<[Vec<u8>]>,
    current: Arc<ArcSwap<ServerConfig>>,
    /// Whose port it is, and what was said about it.
    complaints: Option<(&'static str, Complaints)>,
    plaintext: bool,
}

/// How often files are looked at. A renewal is written well before the old certificate ends, so this may be slow.
const RELOAD_EVERY: Duration = Duration::from_secs(10);

impl ServerTls {
    /// Loads the files once; `alpn` are the protocols offered, most wanted first.
    pub fn load(files: TlsFiles, alpn: &[&[u8]]) -> Result<Self, TlsError> {
        let alpn: Arc<[Vec<u8>]> = alpn.iter().map(|name| name.to_vec()).collect();
        let config = read(&files, &alpn)?;
        let current = Arc::new(ArcSwap::from_pointee(config));
        Ok(Self { files: Arc::new(files), alpn, current, complaints: None, plaintext: false })
    }

    /// Callers that do not begin with a handshake are served in plaintext.
    #[must_use]
    pub fn or_plaintext(self) -> Self {
        Self { plaintext: true, ..self }
    }

    pub(crate) fn allows_plaintext(&self) -> bool {
        self.plaintext
    }

    /// Handshakes that fail are warnings from now on; `endpoint` is whose they are, *client* or *peer*.
    #[must_use]
    pub fn complaining(self, endpoint: &'static str, complaints: Complaints) -> Self {
        Self { complaints: Some((endpoint, complaints)), ..self }
    }

    /// A handshake has failed. A connection that only ended says nothing about certificates.
    pub(crate) fn refused(&self, source: SocketAddr, error: &io::Error) {
        if let Some((endpoint, complaints)) = &self.complaints
            && error.kind() == io::ErrorKind::InvalidData
            && complaints.is_news(source.ip(), &error.to_string())
        {
            let advice = handshake_advice(&error.to_string());
            tracing::warn!(%source, %error, advice, "rejected connection on {endpoint} endpoint");
        }
    }

    /// The configuration for the next handshake.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Watches the files and swaps the configuration for new handshakes; bad files are reported and the old
    /// configuration stays. Ends with `stop`.
    pub async fn reload(self, stop: holdfast_service::Stop) {
        let mut seen = stamp(&self.files);
        loop {
            tokio::select! {
                () = stop.requested() => return,
                () = tokio::time::sleep(RELOAD_EVERY) => {}
            }
            let now = stamp(&self.files);
            if now == seen {
                continue;
            }
            seen = now;
            match read(&self.files, &self.alpn) {
                Ok(config) => {
                    self.current.store(Arc::new(config));
                    tracing::info!(cert = %self.files.cert.display(), "TLS certificate reloaded");
                }
                Err(error) => tracing::error!(%error, "TLS certificate not reloaded; the old one stays in use"),
            }
        }
    }
}

/// Modification times of all files; a missing file is a value too, so that its return is noticed.
fn stamp(files: &TlsFiles) -> Vec<Option<SystemTime>> {
    let roots = match &files.client_auth {
        ClientAuth::None | ClientAuth::Presented => None,
        ClientAuth::Optional(path) | ClientAuth::Required(path) => Some(path),
    };
    [Some(&files.cert), Some(&files.key), roots, files.revoked.as_ref()]
        .into_iter()
        .flatten()
        .map(|path| fs::metadata(path).and_then(|meta| meta.modified()).ok())
        .collect()
}

fn read(files: &TlsFiles, alpn: &[Vec<u8>]) -> Result<ServerConfig, TlsError> {
    let unusable = |reason: String| TlsError::Unusable { cert: files.cert.clone(), key: files.key.clone(), reason };
    let chain = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes(&files.key)?)
        .map_err(|error| TlsError::Pem { path: files.key.clone(), reason: error.to_string() })?;
    let mut config = files
        .offer
        .builder()
        .map_err(|error| unusable(error.to_string()))?
        .with_client_cert_verifier(verifier(files, files.offer.provider())?)
        .with_single_cert(chain, key)
        .map_err(|error| unusable(error.to_string()))?;
    config.alpn_protocols = alpn.to_vec();
    if files.client_auth.is_judged_later() {
        // A fleet comes again and again, and whoever does need not prove anew who it is.
        config.ticketer = Ticketer::new().map_err(|error| unusable(error.to_string()))?;
    }
    Ok(config)
}

fn verifier(files: &TlsFiles, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let (path, optional) = match &files.client_auth {
        ClientAuth::None => return Ok(Arc::new(NoClientAuth)),
        ClientAuth::Presented => return Ok(Arc::new(PresentedCertificates::new())),
        ClientAuth::Optional(path) => (path, true),
        ClientAuth::Required(path) => (path, false),
    };
    let invalid = |reason: String| TlsError::Pem { path: path.clone(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| invalid(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if optional { builder.allow_unauthenticated() } else { builder };
    let builder = match &files.revoked {
        // Certificates of another authority than the list's are not on it.
        Some(list) => {
            builder.with_crls([revocations(list)?]).only_check_end_entity_revocation().allow_unknown_revocation_status()
        }
        None => builder,
    };
    builder.build().map_err(|error| invalid(error.to_string()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = |reason: String| TlsError::Pem { path: path.to_owned(), reason };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes(path)?).collect();
    let found = found.map_err(|error| pem(error.to_string()))?;
    if found.is_empty() { Err(pem("there is no certificate in it".to_owned())) } else { Ok(found) }
}

fn revocations(path: &Path) -> Result<CertificateRevocationListDer<'static>, TlsError> {
    let bytes = bytes(path)?;
    Ok(CertificateRevocationListDer::from_pem_slice(&bytes).unwrap_or_else(|_| bytes.into()))
}

fn bytes(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use rustls::{ClientConfig, HandshakeKind, crypto::ring, server::NoServerSessionStorage};
    use rustls_pki_types::ServerName;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    /// How the second of two handshakes went, with a server that remembers no session, and whether the client's
    /// certificate was known then.
    async fn second(client_auth: impl FnOnce(PathBuf) -> ClientAuth) -> anyhow::Result<(Option<HandshakeKind>, bool)> {
        let folder = tempfile::tempdir()?;
        let (cert, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        let pair = KeyPair::generate()?;
        let certificate = CertificateParams::new(["localhost".to_owned()])?.self_signed(&pair)?;
        fs::write(&cert, certificate.pem())?;
        fs::write(&key, pair.serialize_pem())?;
        let files = TlsFiles::new(cert.clone(), key, client_auth(cert));
        let mut server = (*ServerTls::load(files, &[])?.config()).clone();
        server.session_storage = Arc::new(NoServerSessionStorage {});
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone())?;
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(pair.serialize_der().into()),
            )?;
        let (client, server) = (TlsConnector::from(Arc::new(client)), TlsAcceptor::from(Arc::new(server)));
        let mut last = (None, false);
        for _ in 0..2 {
            let (near, far) = duplex(65_536);
            let connecting = client.connect(ServerName::try_from("localhost")?, near);
            let (near, far) = tokio::join!(connecting, server.accept(far));
            let (mut near, mut far) = (near?, far?);
            last = (near.get_ref().1.handshake_kind(), far.get_ref().1.peer_certificates().is_some());
            // Tickets come with the first bytes.
            far.write_all(b".").await?;
            near.read_exact(&mut [0]).await?;
        }
        Ok(last)
    }

    #[tokio::test]
    async fn sessions_are_resumed_where_handshakes_judge_nobody() -> anyhow::Result<()> {
        assert_eq!(second(|_| ClientAuth::Presented).await?, (Some(HandshakeKind::Resumed), true));
        assert_eq!(second(ClientAuth::Required).await?, (Some(HandshakeKind::Full), true));
        Ok(())
    }
}
