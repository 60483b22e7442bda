//! Nodes with certificates.

use std::sync::Arc;

use holdfast_proto::iam::{CreateJoinTokenRequest, EnrollRequest};
use iam_client::{Authority as _, Identity, Presented, Refusal};
use rcgen::{CertificateParams, KeyPair};

use super::{ADMIN_TOKEN, Plane, with};

pub(crate) struct Node {
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) bundle: Vec<Vec<u8>>,
}

impl Node {
    pub(crate) async fn enroll(plane: &Plane, name: &str) -> Self {
        let request = CreateJoinTokenRequest { node: name.into(), ttl_s: 600 };
        let join_token = plane.enrollment().create_join_token(with(ADMIN_TOKEN, request)).await.unwrap().into_inner();
        let key = KeyPair::generate().unwrap();
        let csr_der = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec().into();
        let request = EnrollRequest { join_token: join_token.join_token, csr_der };
        let answer = plane.enrollment().enroll(request).await.unwrap().into_inner();
        let list = |certificates: Vec<bytes::Bytes>| certificates.iter().map(|der| der.to_vec()).collect();
        Self { chain: list(answer.certificate_chain), bundle: list(answer.ca_bundle) }
    }

    /// Who it is to the plane.
    pub(crate) async fn identity(&self, plane: &Plane) -> Result<Identity, Refusal> {
        let certificates = self.chain.iter().map(|der| Arc::from(der.as_slice())).collect();
        plane.iam.authenticate(Presented { certificates, ..Presented::default() }).await
    }
}
