use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, UnixTime};

/// Asks clients for a certificate and checks that they hold its key, and nothing else. Whom the certificate names and
/// whether anybody trusts it is decided for each request by whoever reads the connection: those authorities change
/// without a restart, and are not known before the plane has begun.
#[derive(Debug)]
pub(crate) struct PresentedCertificates {
    algorithms: WebPkiSupportedAlgorithms,
}

impl PresentedCertificates {
    pub(crate) fn new() -> Self {
        Self { algorithms: ring::default_provider().signature_verification_algorithms }
    }
}

impl ClientCertVerifier for PresentedCertificates {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match x509_parser::parse_x509_certificate(end_entity) {
            Ok(([], _)) => Ok(ClientCertVerified::assertion()),
            _ => Err(CertificateError::BadEncoding.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{CertificateParams, KeyPair};
    use rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        client::ResolvesClientCert,
        sign::{CertifiedKey, SingleCertAndKey},
    };
    use rustls_pki_types::{PrivateKeyDer, ServerName};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    /// A certificate that nobody vouches for, and its key.
    fn certified(name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.into(), key.into())
    }

    /// The client certificate that a server sees; an error if there is no connection.
    async fn seen(
        client: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    ) -> Result<Option<Vec<u8>>, String> {
        let provider = Arc::new(ring::default_provider());
        let (certificate, key) = certified("localhost");
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(Arc::new(PresentedCertificates::new()))
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let client = match client {
            Some((certificate, key)) => {
                let key = provider.key_provider.load_private_key(key).unwrap();
                let certified = CertifiedKey::new(vec![certificate], key);
                let resolver: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(certified));
                builder.with_client_cert_resolver(resolver)
            }
            None => builder.with_no_client_auth(),
        };
        let (near, far) = tokio::io::duplex(65_536);
        let name = ServerName::try_from("localhost").unwrap();
        let connecting = TlsConnector::from(Arc::new(client)).connect(name, near);
        let (_, accepted) = tokio::join!(connecting, TlsAcceptor::from(Arc::new(server)).accept(far));
        let accepted = accepted.map_err(|error| error.to_string())?;
        let chain = accepted.get_ref().1.peer_certificates();
        Ok(chain.and_then(|chain| chain.first()).map(|certificate| certificate.to_vec()))
    }

    #[tokio::test]
    async fn any_certificate_passes_if_its_key_is_held() {
        assert_eq!(seen(None).await, Ok(None));
        let (certificate, key) = certified("node");
        assert_eq!(seen(Some((certificate.clone(), key))).await, Ok(Some(certificate.to_vec())));
        let (_, other) = certified("thief");
        assert!(seen(Some((certificate, other))).await.is_err(), "somebody else's certificate");
    }
}
