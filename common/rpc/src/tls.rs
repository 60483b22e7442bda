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
    crypto::ring,
    server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::{Complaints, presented::PresentedCertificates};

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

/// Where the server's identity lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM chain, leaf first.
    pub cert: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
    pub client_auth: ClientAuth,
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
    complaints: Option<Complaints>,
}

/// How often files are looked at. A renewal is written well before the old certificate ends, so this may be slow.
const RELOAD_EVERY: Duration = Duration::from_secs(10);

impl ServerTls {
    /// Loads the files once; `alpn` are the protocols offered, most wanted first.
    pub fn load(files: TlsFiles, alpn: &[&[u8]]) -> Result<Self, TlsError> {
        let alpn: Arc<[Vec<u8>]> = alpn.iter().map(|name| name.to_vec()).collect();
        let config = read(&files, &alpn)?;
        Ok(Self { files: Arc::new(files), alpn, current: Arc::new(ArcSwap::from_pointee(config)), complaints: None })
    }

    /// Handshakes that fail are warnings from now on, for a port that only a few known callers use.
    #[must_use]
    pub fn complaining(self, complaints: Complaints) -> Self {
        Self { complaints: Some(complaints), ..self }
    }

    /// A handshake has failed. A connection that only ended says nothing about certificates.
    pub(crate) fn refused(&self, source: SocketAddr, error: &io::Error) {
        let Some(complaints) = self.complaints.as_ref().filter(|_| error.kind() == io::ErrorKind::InvalidData) else {
            return;
        };
        if complaints.is_news(source.ip(), &error.to_string()) {
            tracing::warn!(%source, %error, "a TLS handshake is refused");
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
    [Some(&files.cert), Some(&files.key), roots]
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
    let provider = Arc::new(ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?
        .with_client_cert_verifier(verifier(&files.client_auth, provider)?)
        .with_single_cert(chain, key)
        .map_err(|error| unusable(error.to_string()))?;
    config.alpn_protocols = alpn.to_vec();
    Ok(config)
}

fn verifier(
    auth: &ClientAuth,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let (path, optional) = match auth {
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
    builder.build().map_err(|error| invalid(error.to_string()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = |reason: String| TlsError::Pem { path: path.to_owned(), reason };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes(path)?).collect();
    let found = found.map_err(|error| pem(error.to_string()))?;
    if found.is_empty() { Err(pem("there is no certificate in it".to_owned())) } else { Ok(found) }
}

fn bytes(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}
