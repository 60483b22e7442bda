//! A node as the servers see it: a key, and a certificate that they gave it.

use std::fs;

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use holdfast_proto::{
    configsrv::{WatchRequest, config_service_client::ConfigServiceClient},
    iam::{EnrollRequest, EnrollResponse, enrollment_client::EnrollmentClient},
};
use holdfast_testkit::Endpoints;
use rcgen::{CertificateParams, KeyPair};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::plane::Plane;

/// A node with a certificate.
pub(crate) struct Node {
    pub(crate) key: KeyPair,
    pub(crate) answer: EnrollResponse,
}

impl Node {
    pub(crate) async fn enroll(plane: &Plane, at: usize, name: &str) -> Result<Self> {
        let token = plane.admin(at, &format!("join-token create {name}"))?;
        let join_token = token["join_token"].as_str().context("a join token")?.to_owned();
        let key = KeyPair::generate()?;
        let csr_der = CertificateParams::default().serialize_request(&key)?.der().to_vec().into();
        let channel = channel(plane, &plane.endpoints(at)?, None)?;
        let answer = EnrollmentClient::new(channel).enroll(EnrollRequest { join_token, csr_der }).await?.into_inner();
        Ok(Self { key, answer })
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

/// A connection to a server, as this node or as nobody.
pub(crate) fn channel(plane: &Plane, at: &Endpoints, node: Option<&Node>) -> Result<Channel> {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(fs::read(&plane.ca)?));
    if let Some(node) = node {
        tls = tls.identity(Identity::from_pem(node.pem(), node.key.serialize_pem()));
    }
    Ok(Endpoint::new(format!("https://{}", at.api))?.tls_config(tls)?.connect_lazy())
}
