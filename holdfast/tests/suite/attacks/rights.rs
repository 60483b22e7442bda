//! Rights that somebody gives to himself. Mallory is an operator in the group `crew`, mira a reader; `wheel` is the admins'.

use holdfast_proto::iam::{
    AddMemberRequest, AddRootRequest, AddSigningKeyRequest, Binding, CreateCredentialRequest, CreateJoinTokenRequest,
    CreatePrincipalRequest, DisableBootstrapTokenRequest, GetCredentialSecretRequest, GrantRequest, IssueTokenRequest,
    KeyGrant, PutPolicyRequest, RevokeGrantRequest, RevokeTokenRequest, SetPrincipalRequest,
    revoke_token_request::What,
};
use prost::Message;
use tonic::Code;

use super::{Attack, Row, grpc, row, scene::Scene};
use crate::http::Request;

fn as_mallory(scene: &Scene, what: &'static str, method: &'static str, message: &impl Message, row: Row) -> Attack {
    let request = Request::grpc(method, &message.encode_to_vec()).bearer(&scene.mallory);
    grpc(what, request, Code::PermissionDenied, row)
}

fn as_mira(scene: &Scene, what: &'static str, method: &'static str, message: &impl Message, row: Row) -> Attack {
    let request = Request::grpc(method, &message.encode_to_vec()).bearer(&scene.mira);
    grpc(what, request, Code::PermissionDenied, row)
}

fn mallory(action: &str, resource: &str) -> Row {
    row("user/mallory", action, resource, "nothing permits it")
}

fn mira(action: &str, resource: &str) -> Row {
    row("user/mira", action, resource, "nothing permits it")
}

fn grant(subject: &str, role: &str, keys: Vec<KeyGrant>) -> GrantRequest {
    let binding = Binding { subject: subject.into(), role: role.into(), keys, ..Binding::default() };
    GrantRequest { binding: Some(binding), ..Default::default() }
}

#[rustfmt::skip]
pub(super) fn table(scene: &Scene) -> Vec<Attack> {
    let admin = mallory("iam.Admin", "iam/*");
    let everything = KeyGrant { start: "\0".into(), end: "".into(), read: true, write: true, forbid: false };
    let policy = "permit (principal == User::\"mallory\", action, resource);";
    let member = |group: &str, member: &str| AddMemberRequest { group: group.into(), member: member.into() };
    let root = || "user/root".to_owned();
    let derived = Request::grpc("/iam.v1.Tokens/Issue", b"").bearer(&scene.derived);
    vec![
        as_mallory(scene, "a role for oneself", "/iam.v1.Admin/Grant", &grant("user/mallory", "admin", vec![]), mallory("iam.Admin", "user/mallory")),
        as_mallory(scene, "a role for one's group", "/iam.v1.Admin/Grant", &grant("group/crew", "admin", vec![]), mallory("iam.Admin", "group/crew")),
        as_mallory(scene, "keys for oneself", "/iam.v1.Admin/Grant", &grant("user/mallory", "", vec![everything]), mallory("iam.Admin", "user/mallory")),
        as_mallory(scene, "joining the admins", "/iam.v1.Admin/AddMember", &member("wheel", "user/mallory"), admin.clone()),
        as_mallory(scene, "one's group joins the admins", "/iam.v1.Admin/AddMember", &member("wheel", "group/crew"), admin.clone()),
        as_mallory(scene, "taking the admins' role away", "/iam.v1.Admin/RevokeGrant", &RevokeGrantRequest { subject: "group/wheel".into(), name: "admin".into(), ..Default::default() }, mallory("iam.Admin", "group/wheel")),
        as_mallory(scene, "a new principal", "/iam.v1.Admin/CreatePrincipal", &CreatePrincipalRequest { id: "user/root2".into(), ..Default::default() }, admin.clone()),
        as_mallory(scene, "disabling an admin", "/iam.v1.Admin/SetPrincipal", &SetPrincipalRequest { id: root(), disabled: true, ..Default::default() }, mallory("iam.Admin", "user/root")),
        as_mallory(scene, "a policy that permits itself", "/iam.v1.Policies/Put", &PutPolicyRequest { id: "mine".into(), text: policy.into(), ..Default::default() }, admin.clone()),
        as_mallory(scene, "a signing key of one's own", "/iam.v1.Admin/AddSigningKey", &AddSigningKeyRequest::default(), admin.clone()),
        as_mallory(scene, "an authority of one's own", "/iam.v1.Trust/AddRoot", &AddRootRequest::default(), admin.clone()),
        as_mallory(scene, "no bootstrap token any more", "/iam.v1.Admin/DisableBootstrapToken", &DisableBootstrapTokenRequest { reason: "mine".into() }, admin),
        as_mallory(scene, "a token of an admin", "/iam.v1.Tokens/Issue", &IssueTokenRequest { principal: root(), ttl_s: 0 }, mallory("iam.IssueToken", "user/root")),
        as_mallory(scene, "an access key of an admin", "/iam.v1.Credentials/Create", &CreateCredentialRequest { principal: root(), note: String::new() }, mallory("iam.Admin", "user/root")),
        as_mallory(scene, "an admin's secret", "/iam.v1.Credentials/GetCredentialSecret", &GetCredentialSecretRequest { access_key_id: scene.root.0.clone() }, mallory("iam.Admin", "user/root")),
        as_mallory(scene, "ending an admin's tokens", "/iam.v1.Tokens/Revoke", &RevokeTokenRequest { what: Some(What::Principal(root())), wait_s: 0 }, mallory("iam.Admin", "user/root")),
        as_mira(scene, "a machine of one's own", "/iam.v1.Enrollment/CreateJoinToken", &CreateJoinTokenRequest { node: "mine".into(), ttl_s: 0 }, mira("iam.Enroll", "node/mine")),
        grpc("a token that outlives its own", derived, Code::PermissionDenied, mira("iam.IssueToken", "user/mira")),
    ]
}
