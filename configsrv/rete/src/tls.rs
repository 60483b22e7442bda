//! TLS 1.3 between principals. Names of hosts do not count: a certificate is judged by [`judge`], and the initiator
//! demands exactly the target that it dialled. Sessions are never resumed, since a resumed one shows no certificate.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use configsrv_fleet::{ClusterName, SpiffeId, hosts};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    client::{
        ResolvesClientCert, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
    version::TLS13,
};

use crate::identity::{Identities, Peer, PeerFault, judge};

/// The one protocol, so that a newer one can be told apart.
const PROTOCOL: &[u8] = b"rete/1";

/// For everybody who dials in: shows the service that the client names, demands a certificate. Identities are read at each
/// handshake, so that renewed ones count for the next.
pub(crate) fn server(identities: &Arc<ArcSwap<Identities>>) -> Result<ServerConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let client = Arc::new(Initiators { identities: Arc::clone(identities), provider: Arc::clone(&provider) });
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(client)
        .with_cert_resolver(Arc::new(Services(Arc::clone(identities))));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// For one dial: as `own`, to exactly `target`.
pub(crate) fn client(
    identities: &Identities,
    own: Arc<CertifiedKey>,
    target: &SpiffeId,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let server = Arc::new(Target {
        id: target.clone(),
        authority: identities.authority.clone(),
        cluster: identities.cluster.clone(),
        provider: Arc::clone(&provider),
    });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(server)
        .with_client_cert_resolver(Arc::new(Own(own)));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Chooses the certificate of the service that is named.
struct Services(Arc<ArcSwap<Identities>>);

impl fmt::Debug for Services {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Services")
    }
}

impl ResolvesServerCert for Services {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let identities = self.0.load();
        identities.key(&hosts::service(hello.server_name()?, &identities.cluster)?)
    }
}

/// The identity of the principal that dials.
struct Own(Arc<CertifiedKey>);

impl fmt::Debug for Own {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Own")
    }
}

impl ResolvesClientCert for Own {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Judges whoever dials in.
struct Initiators {
    identities: Arc<ArcSwap<Identities>>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Initiators {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Initiators")
    }
}

impl ClientCertVerifier for Initiators {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let identities = self.identities.load();
        verified(leaf, &identities.authority, &identities.cluster, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(older())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Demands one target.
struct Target {
    id: SpiffeId,
    authority: CertificateDer<'static>,
    cluster: ClusterName,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Target({})", self.id)
    }
}

impl ServerCertVerifier for Target {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let peer = verified(leaf, &self.authority, &self.cluster, now)?;
        if peer.id == self.id {
            Ok(ServerCertVerified::assertion())
        } else {
            tracing::warn!(dialled = %self.id, found = %peer.id, "another service answers where this one was dialled");
            Err(Error::InvalidCertificate(CertificateError::NotValidForName))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(older())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn older() -> Error {
    Error::General("only TLS 1.3 is spoken here".to_owned())
}

fn verified(leaf: &[u8], authority: &[u8], cluster: &ClusterName, now: UnixTime) -> Result<Peer, Error> {
    let judged = judge(leaf, authority, cluster, now.as_secs().saturating_mul(1000));
    judged.map_err(|fault| {
        tracing::debug!(%fault, "a certificate is refused");
        Error::InvalidCertificate(match fault {
            PeerFault::Chain(iam_ca::ChainFault::Time) => CertificateError::Expired,
            PeerFault::Chain(iam_ca::ChainFault::Malformed) => CertificateError::BadEncoding,
            PeerFault::Chain(iam_ca::ChainFault::Untrusted) => CertificateError::UnknownIssuer,
            PeerFault::Chain(_) | PeerFault::Usage | PeerFault::Names(_) | PeerFault::Nobody(_) => {
                CertificateError::InvalidPurpose
            }
        })
    })
}
