//! `iam.v1` over gRPC. Wire types stop here.

mod admin;
mod authz;
mod convert;
mod credentials;
mod enrollment;
mod keys;
mod mappings;
mod policies;
mod recovery;
mod rotation;
mod tokens;
mod trust;
mod verifiers;

use holdfast_proto::iam::{
    admin_server::AdminServer, authz_server::AuthzServer, credentials_server::CredentialsServer,
    enrollment_server::EnrollmentServer, policies_server::PoliciesServer, recovery_server::RecoveryServer,
    rotation_server::RotationServer, tokens_server::TokensServer, trust_server::TrustServer,
    verifiers_server::VerifiersServer,
};
use tonic::service::Routes;

use crate::Iam;

/// A request is never larger: the largest field is a PEM or a certificate request.
const MAX_REQUEST: usize = 256 * 1024;

impl Iam {
    /// Adds the services of `iam.v1`. Their rules are [`crate::ACCESS_GRPC`].
    pub fn add_to(&self, routes: Routes) -> Routes {
        routes
            .add_service(AdminServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST))
            .add_service(TokensServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST))
            .add_service(CredentialsServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST))
            .add_service(AuthzServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST))
            .add_service(PoliciesServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST))
            .add_service(TrustServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST))
            .add_service(EnrollmentServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST))
            .add_service(RecoveryServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST))
            .add_service(RotationServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST))
            .add_service(VerifiersServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST))
    }
}
