use std::{fs, io, path::Path, sync::Arc};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Error, Identity};

use super::{dialer::causes, peer_dns_name};
use crate::{Member, PeerTls, PeerTrust};

/// The way to a server, as its certificates were when it was asked for.
pub(super) enum Road {
    /// In plaintext, or to a server that proves who it is.
    Straight(Endpoint),
    /// Encrypted to whoever answers.
    Blind(Endpoint, TlsConnector),
}

impl Road {
    /// The way to `member`; `shape` sets what is not of TLS.
    pub(super) fn to(
        member: &Member,
        tls: Option<&PeerTls>,
        shape: impl Fn(Endpoint) -> Endpoint,
    ) -> Result<Self, String> {
        let endpoint = |scheme: &str| {
            let made = Endpoint::from_shared(format!("{scheme}://{}", member.address));
            made.map(&shape).map_err(|error| format!("the address of {}: {error}", member.name))
        };
        let Some(tls) = tls else { return Ok(Self::Straight(endpoint("http")?)) };
        let (ca, name) = match &tls.trust {
            PeerTrust::Slots(ca) => (ca, peer_dns_name(&member.name)),
            PeerTrust::Hosts(ca) => (ca, host(&member.address).to_owned()),
            PeerTrust::Anyone => {
                let connector = TlsConnector::from(Arc::new(blind().map_err(|error| error.to_string())?));
                // The connector speaks TLS; to tonic the scheme would ask for its own.
                return Ok(Self::Blind(endpoint("http")?, connector));
            }
        };
        let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
        let (certificate, key) = tls.calling.as_ref().map_or((&tls.certificate, &tls.key), |(cert, key)| (cert, key));
        let config = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read(ca)?))
            .identity(Identity::from_pem(read(certificate)?, read(key)?))
            .domain_name(name);
        Ok(Self::Straight(endpoint("https")?.tls_config(config).map_err(|error| causes(&error))?))
    }

    /// A channel that connects when it is used.
    pub(super) fn lazy(self) -> Channel {
        match self {
            Self::Straight(endpoint) => endpoint.connect_lazy(),
            Self::Blind(endpoint, connector) => {
                endpoint.connect_with_connector_lazy(tower::service_fn(move |uri| connect(connector.clone(), uri)))
            }
        }
    }

    /// A channel whose connection stands.
    pub(super) async fn connect(self) -> Result<Channel, Error> {
        match self {
            Self::Straight(endpoint) => endpoint.connect().await,
            Self::Blind(endpoint, connector) => {
                let service = tower::service_fn(move |uri| connect(connector.clone(), uri));
                endpoint.connect_with_connector(service).await
            }
        }
    }
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host)
}

async fn connect(connector: TlsConnector, uri: Uri) -> io::Result<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>> {
    let address = uri.authority().map_or("", |authority| authority.as_str());
    let name = ServerName::try_from(host(address).to_owned()).map_err(io::Error::other)?;
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(connector.connect(name, stream).await?))
}

fn blind() -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Takes every certificate whose key the other side holds.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_what_a_certificate_names() {
        assert_eq!(host("cp1.example.org:2380"), "cp1.example.org");
        assert_eq!(host("10.0.0.1:2380"), "10.0.0.1");
        assert_eq!(host("[::1]:2380"), "::1");
    }
}
