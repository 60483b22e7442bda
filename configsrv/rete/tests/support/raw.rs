//! QUIC as somebody speaks it who keeps to no rule but TLS's.

use std::{net::SocketAddr, sync::Arc};

use quinn::{
    Endpoint,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
};

/// Believes every server.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

type Leaf = (Vec<u8>, Vec<u8>);

fn parts((leaf, key): &Leaf) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    (vec![leaf.clone().into()], PrivatePkcs8KeyDer::from(key.clone()).into())
}

/// Dials with or without a certificate, by any protocol.
pub(crate) fn client(leaf: Option<&Leaf>, protocol: &[u8]) -> (Endpoint, quinn::ClientConfig) {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous));
    let mut tls = match leaf.map(parts) {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![protocol.to_vec()];
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    (Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap(), config)
}

/// What comes of dialling: the error that ends it, if it does not carry a tunnel.
pub(crate) async fn tunnel(leaf: Option<&Leaf>, to: SocketAddr, name: &str) -> Result<(), String> {
    let (endpoint, config) = client(leaf, b"rete/1");
    let quic = endpoint.connect_with(config, to, name).unwrap().await.map_err(|error| error.to_string())?;
    let asked = async {
        let (mut send, mut receive) = quic.open_bi().await.ok()?;
        send.write_all(&[1]).await.ok()?;
        let mut answer = [9];
        receive.read_exact(&mut answer).await.ok()?;
        Some(answer)
    };
    match asked.await {
        Some(answer) => {
            assert_eq!(answer, [0]);
            Ok(())
        }
        None => Err(quic.closed().await.to_string()),
    }
}

/// Shows one certificate, whoever is asked for, and asks for none; counts who completes a handshake.
pub(crate) fn impostor(leaf: &Leaf) -> (SocketAddr, Arc<std::sync::atomic::AtomicUsize>) {
    let (chain, key) = parts(leaf);
    let mut tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    tls.alpn_protocols = vec![b"rete/1".to_vec()];
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    let endpoint = Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = endpoint.local_addr().unwrap();
    let deceived = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&deceived);
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            if incoming.await.is_ok() {
                count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        }
    });
    (address, deceived)
}
