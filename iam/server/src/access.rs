use iam_client::{Access, Rule};

use crate::recovery::RESTORE;

const ADMIN: Access = Access::Permission { action: "iam.Admin", resource: "iam/*" };
const READ: Access = Access::Permission { action: "iam.Read", resource: "iam/*" };
const RECOVER: Access = Access::Permission { action: RESTORE.0, resource: RESTORE.1 };
const STATUS: Access = Access::Permission { action: "cluster.Read", resource: "cluster/iam" };

/// IAM's gRPC methods. Where a call is about one principal, or about those of one organisation, the handler decides about
/// these.
pub const ACCESS_GRPC: &[Rule] = &[
    Rule::new("/iam.v1.Admin/*", ADMIN),
    Rule::new("/iam.v1.Admin/CreatePrincipal", Access::Authenticated),
    Rule::new("/iam.v1.Admin/SetPrincipal", Access::Authenticated),
    Rule::new("/iam.v1.Admin/ListPrincipals", Access::Authenticated),
    Rule::new("/iam.v1.Admin/Grant", Access::Authenticated),
    Rule::new("/iam.v1.Admin/RevokeGrant", Access::Authenticated),
    Rule::new("/iam.v1.Admin/ListBindings", Access::Authenticated),
    Rule::new("/iam.v1.Admin/ListMembers", READ),
    Rule::new("/iam.v1.Admin/ListSigningKeys", READ),
    Rule::new("/iam.v1.Admin/Status", STATUS),
    Rule::new("/iam.v1.Tokens/*", Access::Authenticated),
    Rule::new("/iam.v1.Credentials/*", Access::Authenticated),
    Rule::new("/iam.v1.Authz/*", Access::Authenticated),
    Rule::new("/iam.v1.Policies/*", READ),
    Rule::new("/iam.v1.Policies/Put", ADMIN),
    Rule::new("/iam.v1.Policies/Delete", ADMIN),
    Rule::new("/iam.v1.Recovery/*", RECOVER),
    Rule::new("/iam.v1.Rotation/*", ADMIN),
    Rule::new("/iam.v1.Rotation/Plan", READ),
    Rule::new("/iam.v1.Rotation/Status", READ),
    Rule::new("/iam.v1.Verifiers/List", READ),
    Rule::new("/iam.v1.Verifiers/Acknowledge", Access::Authenticated),
    Rule::new("/iam.v1.Trust/*", ADMIN),
    Rule::new("/iam.v1.Trust/List", READ),
    Rule::new("/iam.v1.Trust/ListDenied", READ),
    Rule::new("/iam.v1.Trust/ListMappings", READ),
    Rule::new("/iam.v1.Trust/Check", READ),
    Rule::new("/iam.v1.Enrollment/CreateJoinToken", Access::Authenticated),
    // The join token in the request is the credential.
    Rule::new("/iam.v1.Enrollment/Enroll", Access::Public),
    Rule::new("/iam.v1.Enrollment/Renew", Access::Authenticated),
    Rule::new("/iam.v1.Enrollment/ListEnrollments", READ),
];

/// IAM's HTTP paths. The endpoints of OAuth2 authenticate their clients themselves, as it says.
pub const ACCESS_HTTP: &[Rule] = &[
    Rule::new("/jwks.json", Access::Public),
    Rule::new("/.well-known/openid-configuration", Access::Public),
    Rule::new("/oauth2/introspect", Access::Public),
    Rule::new("/oauth2/revoke", Access::Public),
    Rule::new("/spiffe/bundle", Access::Public),
    Rule::new("/oauth2/token", Access::Public),
];
