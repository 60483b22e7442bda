//! A node as the servers see it: a key, a certificate that they gave it, and connections that show it or do not.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    sync::Arc,
};

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use holdfast_proto::{
    configsrv::{WatchRequest, config_service_client::ConfigServiceClient},
    iam::{EnrollRequest, EnrollResponse, enrollment_client::EnrollmentClient},
};
use holdfast_testkit::Endpoints;
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpSocket;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::{http::PATIENCE, plane::Plane};

pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A node with a certificate.
pub(crate) struct Node {
    pub(crate) key: KeyPair,
    /// What it came in with.
    pub(crate) join_token: String,
    pub(crate) answer: EnrollResponse,
}

impl Node {
    pub(crate) async fn enroll(plane: &Plane, at: usize, name: &str) -> Result<Self> {
        let token = plane.admin(at, &format!("join-token create {name}"))?;
        let join_token = token["join_token"].as_str().context("a join token")?.to_owned();
        let key = KeyPair::generate()?;
        let request = EnrollRequest { join_token: join_token.clone(), csr_der: request(&key)?.into() };
        let channel = channel(plane, &plane.endpoints(at)?, None)?;
        let answer = EnrollmentClient::new(channel).enroll(request).await?.into_inner();
        Ok(Self { key, join_token, answer })
    }

    /// One that did not come in by a join token: somebody else's authority made its certificate.
    pub(crate) fn of(key: KeyPair, certificate: Vec<u8>) -> Self {
        let certificate_chain = vec![certificate.into()];
        Self { key, join_token: String::new(), answer: EnrollResponse { certificate_chain, ..Default::default() } }
    }

    pub(crate) fn pem(&self) -> String {
        let chain = self.answer.certificate_chain.iter().map(|der| STANDARD.encode(der));
        chain.map(|der| format!("-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n")).collect()
    }

    /// Whether server `at` knows it by its certificate.
    pub(crate) async fn is_known(&self, plane: &Plane, at: usize) -> Result<bool> {
        let channel = channel(plane, &plane.endpoints(at)?, Some(self))?;
        match ConfigServiceClient::new(channel).watch(WatchRequest {}).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == tonic::Code::Unauthenticated => Ok(false),
            Err(status) => bail!("{status}"),
        }
    }
}

/// A request for a certificate, DER.
pub(crate) fn request(key: &KeyPair) -> Result<Vec<u8>> {
    Ok(CertificateParams::default().serialize_request(key)?.der().to_vec())
}

/// A channel to a server, as this node or as nobody.
pub(crate) fn channel(plane: &Plane, at: &Endpoints, node: Option<&Node>) -> Result<Channel> {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(fs::read(&plane.ca)?));
    if let Some(node) = node {
        tls = tls.identity(Identity::from_pem(node.pem(), node.key.serialize_pem()));
    }
    Ok(Endpoint::new(format!("https://{}", at.api))?.tls_config(tls)?.connect_lazy())
}

/// A connection to `door` from an address of this machine, of which it has sixteen million.
pub(crate) async fn connect(plane: &Plane, door: &str, node: Option<&Node>, from: Ipv4Addr) -> Result<Tls> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(&fs::read(&plane.ca)?) {
        roots.add(root?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let config = match node {
        Some(node) => {
            let chain = node.answer.certificate_chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(node.key.serialize_der()));
            config.with_client_auth_cert(chain, key)?
        }
        None => config.with_no_client_auth(),
    };
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let tcp = socket.connect(door.parse()?).await.with_context(|| format!("cannot connect to {door}"))?.into_std()?;
    tcp.set_nonblocking(false)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    tcp.set_write_timeout(Some(PATIENCE))?;
    Ok(StreamOwned::new(ClientConnection::new(Arc::new(config), ServerName::try_from("127.0.0.1")?)?, tcp))
}
