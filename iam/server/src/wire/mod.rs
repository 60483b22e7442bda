//! `iam.v1` over gRPC. Wire types stop here.

mod admin;
mod authz;
mod convert;
mod credentials;
mod enrollment;
mod keys;
mod mappings;
mod once;
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

use self::once::Once;
use crate::Iam;

/// A request is never larger: the largest field is a PEM or a certificate request.
const MAX_REQUEST: usize = 256 * 1024;

impl Iam {
    /// Adds the services of `iam.v1`. Their rules are [`crate::ACCESS_GRPC`].
    pub fn add_to(&self, routes: Routes) -> Routes {
        routes
            .add_service(Once::new(self, AdminServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST)))
            .add_service(Once::new(self, TokensServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST)))
            .add_service(Once::new(self, CredentialsServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST)))
            .add_service(Once::new(self, AuthzServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST)))
            .add_service(Once::new(self, PoliciesServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST)))
            .add_service(Once::new(self, TrustServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST)))
            .add_service(Once::new(self, EnrollmentServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST)))
            // What it does page by page may be sent again as it is.
            .add_service(RecoveryServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST))
            .add_service(Once::new(self, RotationServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST)))
            .add_service(Once::new(self, VerifiersServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST)))
    }
}
