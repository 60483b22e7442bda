use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use holdfast_proto::iam::{CreateJoinTokenRequest, EnrollRequest, enrollment_client::EnrollmentClient};
use rcgen::{CertificateParams, KeyPair};

use crate::Wire;

/// A node with a certificate of the servers' authority.
pub struct Certified {
    pub node: String,
    /// Leaf first, DER.
    pub chain: Vec<Vec<u8>>,
    pub key: KeyPair,
}

impl Certified {
    /// Joins as a node would.
    ///
    /// # Errors
    /// When the servers refuse.
    pub async fn enroll(admin: &Wire, node: &str) -> Result<Self> {
        let create = CreateJoinTokenRequest { node: node.to_owned(), ttl_s: 0 };
        let mut enrollment = EnrollmentClient::new(admin.clone());
        let join_token = enrollment.create_join_token(create).await?.into_inner().join_token;
        let key = KeyPair::generate()?;
        let csr_der = CertificateParams::default().serialize_request(&key)?.der().to_vec().into();
        let answer = enrollment.enroll(EnrollRequest { join_token, csr_der }).await?.into_inner();
        let chain: Vec<_> = answer.certificate_chain.iter().map(|der| der.to_vec()).collect();
        chain.first().context("the servers answered without a certificate")?;
        Ok(Self { node: node.to_owned(), chain, key })
    }

    /// The chain, PEM.
    pub fn chain_pem(&self) -> String {
        let block = |der| format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der));
        self.chain.iter().map(block).collect()
    }
}
