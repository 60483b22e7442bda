//! Principals, groups, bindings, credentials: what people administer.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::collections::BTreeSet;

use holdfast_keyspace::KeyRange;
use holdfast_proto::iam::{
    AddMemberRequest, AuthorizeRequest, Binding, CreateCredentialRequest, CreatePrincipalRequest,
    GetCredentialSecretRequest, GrantRequest, KeyGrant, ListBindingsRequest, ListCredentialsRequest,
    ListMembersRequest, ListPrincipalsRequest, Page, RevokeCredentialRequest, RevokeGrantRequest, SetPrincipalRequest,
};
use iam_client::{Authority, KeyAccess, KeyAuthority, PasswordLogin, Presented, Refusal};
use support::{ADMIN_TOKEN, Environment, Plane, with};
use tonic::Code;

async fn allowed(plane: &Plane, token: &str, action: &str, resource: &str) -> bool {
    let request = AuthorizeRequest { principal: String::new(), action: action.into(), resource: resource.into() };
    plane.authz().authorize(with(token, request)).await.unwrap().into_inner().allowed
}

fn grant(subject: &str, role: &str) -> GrantRequest {
    let binding = Binding { subject: subject.into(), role: role.into(), ..Binding::default() };
    GrantRequest { binding: Some(binding), ..GrantRequest::default() }
}

#[tokio::test]
async fn roles_reach_members_through_groups_and_go_at_once() {
    let plane = Plane::start().await;
    let mira = plane.principal("user/mira", "").await;
    assert!(!allowed(&plane, &mira, "config.Publish", "versions/*").await, "default deny");
    let member =
        |group: &str, member: &str| with(ADMIN_TOKEN, AddMemberRequest { group: group.into(), member: member.into() });
    plane.admin().add_member(member("crew", "user/mira")).await.unwrap();
    plane.admin().add_member(member("harbour", "group/crew")).await.unwrap();
    let cycle = plane.admin().add_member(member("crew", "group/harbour")).await.unwrap_err();
    assert_eq!(cycle.code(), Code::FailedPrecondition, "{cycle}");
    plane.admin().grant(with(ADMIN_TOKEN, grant("group/harbour", "operator"))).await.unwrap();
    assert!(allowed(&plane, &mira, "config.Publish", "versions/*").await);
    let revoke = RevokeGrantRequest { subject: "group/harbour".into(), name: "operator".into(), ..Default::default() };
    plane.admin().revoke_grant(with(ADMIN_TOKEN, revoke.clone())).await.unwrap();
    assert!(!allowed(&plane, &mira, "config.Publish", "versions/*").await);
    assert_eq!(plane.admin().revoke_grant(with(ADMIN_TOKEN, revoke)).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn the_layer_keeps_administration_to_admins() {
    let plane = Plane::start().await;
    let reader = plane.principal("user/mira", "reader").await;
    let auditor = plane.principal("user/noor", "auditor").await;
    let request = CreatePrincipalRequest { id: "user/eve".into(), ..Default::default() };
    for token in [&reader, &auditor] {
        let denied = plane.admin().create_principal(with(token, request.clone())).await.unwrap_err();
        assert_eq!((denied.code(), denied.message()), (Code::PermissionDenied, "not permitted: iam.Admin on iam/*"));
    }
    let anonymous = plane.admin().create_principal(request).await.unwrap_err();
    assert_eq!(anonymous.code(), Code::Unauthenticated);
    assert!(plane.admin().list_bindings(with(&auditor, ListBindingsRequest::default())).await.is_ok());
    assert!(plane.admin().list_bindings(with(&reader, ListBindingsRequest::default())).await.is_err());
    let about = AuthorizeRequest { principal: "user/noor".into(), action: "kv.Read".into(), resource: "keys/*".into() };
    assert!(plane.authz().authorize(with(&reader, about.clone())).await.is_err());
    let answer = plane.authz().authorize(with(ADMIN_TOKEN, about)).await.unwrap().into_inner();
    assert!(answer.allowed && answer.policy == "builtin-auditor" && answer.revision > 0);
}

#[tokio::test]
async fn bad_input_is_named() {
    let plane = Plane::start().await;
    for id in ["", "mira", "root/mira", "user/mi ra", "user/../x"] {
        let request = CreatePrincipalRequest { id: id.into(), ..Default::default() };
        let refused = plane.admin().create_principal(with(ADMIN_TOKEN, request)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{id}");
    }
    plane.principal("user/mira", "").await;
    let again = CreatePrincipalRequest { id: "user/mira".into(), ..Default::default() };
    assert_eq!(plane.admin().create_principal(with(ADMIN_TOKEN, again)).await.unwrap_err().code(), Code::Aborted);
    for request in
        [grant("user/mira", "emperor"), grant("user/mira", ""), GrantRequest { binding: None, ..Default::default() }]
    {
        assert_eq!(plane.admin().grant(with(ADMIN_TOKEN, request)).await.unwrap_err().code(), Code::InvalidArgument);
    }
    let ghost = plane.admin().grant(with(ADMIN_TOKEN, grant("user/ghost", "reader"))).await.unwrap_err();
    assert_eq!(ghost.code(), Code::NotFound);
}

#[tokio::test]
async fn listings_are_paged() {
    let plane = Plane::start().await;
    for number in 0..7 {
        plane.principal(&format!("service/s{number}"), "").await;
    }
    plane.principal("user/mira", "").await;
    let (mut token, mut seen) = (String::new(), BTreeSet::new());
    loop {
        let page = Some(Page { size: 3, token });
        let request = ListPrincipalsRequest { page, kind: "service".into() };
        let answer = plane.admin().list_principals(with(ADMIN_TOKEN, request)).await.unwrap().into_inner();
        assert!(answer.principals.len() <= 3);
        seen.extend(answer.principals.into_iter().map(|principal| principal.id));
        token = answer.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen.len(), 7);
    for token in ["zz", "6162"] {
        let request = ListPrincipalsRequest { page: Some(Page { size: 3, token: token.into() }), kind: String::new() };
        let refused = plane.admin().list_principals(with(ADMIN_TOKEN, request)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn keys_are_granted_as_ranges() {
    let plane = Plane::start().await;
    let token = plane.principal("service/ci", "").await;
    let keys = vec![key_grant("/ci/", "/ci0", "rw"), key_grant("/ci0", "/cj", "r")];
    let binding = Binding { subject: "service/ci".into(), keys, ..Binding::default() };
    plane
        .admin()
        .grant(with(ADMIN_TOKEN, GrantRequest { binding: Some(binding), ..Default::default() }))
        .await
        .unwrap();
    let identity = plane.bearer(&token).await.unwrap();
    let check = |access, range: &KeyRange| plane.iam.authorize_keys(&identity, access, range);
    assert!(check(KeyAccess::Write, &KeyRange::prefix(*b"/ci/")).is_ok());
    assert!(check(KeyAccess::Read, &KeyRange::between(*b"/ci/", *b"/cj")).is_ok(), "neighbours count together");
    assert!(check(KeyAccess::Write, &KeyRange::between(*b"/ci/", *b"/cj")).is_err());
    assert!(matches!(check(KeyAccess::Read, &KeyRange::from(*b"/ci/")), Err(Refusal::Denied { .. })));
    let admin = plane.bearer(ADMIN_TOKEN).await.unwrap();
    assert!(plane.iam.authorize_keys(&admin, KeyAccess::Write, &KeyRange::from(Vec::new())).is_ok());

    // What is forbidden anywhere beats what is granted anywhere.
    let member = AddMemberRequest { group: "robots".into(), member: "service/ci".into() };
    plane.admin().add_member(with(ADMIN_TOKEN, member)).await.unwrap();
    let keys = vec![key_grant("/ci/secret/", "/ci/secret0", "!rw")];
    let binding = Binding { subject: "group/robots".into(), keys, ..Binding::default() };
    plane
        .admin()
        .grant(with(ADMIN_TOKEN, GrantRequest { binding: Some(binding), ..Default::default() }))
        .await
        .unwrap();
    assert!(check(KeyAccess::Read, &KeyRange::between(*b"/ci/secret/a", *b"/ci/secret/b")).is_err());
    assert!(check(KeyAccess::Read, &KeyRange::prefix(*b"/ci/")).is_err(), "one forbidden key inside is enough");
    assert!(check(KeyAccess::Write, &KeyRange::between(*b"/ci/secret0", *b"/ci0")).is_ok());
    let listed = ListBindingsRequest { subject: "group/robots".into(), ..ListBindingsRequest::default() };
    let listed = plane.admin().list_bindings(with(ADMIN_TOKEN, listed)).await.unwrap().into_inner().bindings;
    assert!(listed[0].keys[0].forbid);
}

/// `rw!` are the rights, and whether they are taken away.
fn key_grant(start: &str, end: &str, rights: &str) -> KeyGrant {
    let has = |letter| rights.contains(letter);
    let bytes = |text: &str| text.as_bytes().to_vec().into();
    KeyGrant { start: bytes(start), end: bytes(end), read: has('r'), write: has('w'), forbid: has('!') }
}

#[tokio::test]
async fn groups_have_bounds_and_are_listed() {
    let plane = Plane::start().await;
    let mira = plane.principal("user/mira", "").await;
    let member =
        |group: &str, member: &str| with(ADMIN_TOKEN, AddMemberRequest { group: group.into(), member: member.into() });
    plane.admin().add_member(member("g1", "user/mira")).await.unwrap();
    for depth in 1..8 {
        plane.admin().add_member(member(&format!("g{}", depth + 1), &format!("group/g{depth}"))).await.unwrap();
    }
    plane.admin().grant(with(ADMIN_TOKEN, grant("group/g8", "operator"))).await.unwrap();
    assert!(allowed(&plane, &mira, "config.Publish", "versions/*").await, "through eight groups");
    let deep = plane.admin().add_member(member("g9", "group/g8")).await.unwrap_err();
    assert!(deep.code() == Code::FailedPrecondition && deep.message().contains("at most 8 deep"), "{deep}");

    let listed = async |member: &str, group: &str| {
        let request = ListMembersRequest { page: None, member: member.into(), group: group.into() };
        let found = plane.admin().list_members(with(ADMIN_TOKEN, request)).await.unwrap().into_inner().members;
        found.into_iter().map(|one| format!("{}<{}", one.group, one.member)).collect::<Vec<_>>()
    };
    assert_eq!(listed("", "g1").await, ["g1<user/mira"]);
    assert_eq!(listed("group/g3", "").await, ["g4<group/g3"]);
    assert_eq!(listed("", "").await.len(), 8);

    for number in 0..255 {
        let keys = vec![key_grant("a", "b", "r")];
        let binding = Binding { subject: "user/mira".into(), keys, name: format!("b{number}"), ..Binding::default() };
        plane
            .admin()
            .grant(with(ADMIN_TOKEN, GrantRequest { binding: Some(binding), ..Default::default() }))
            .await
            .unwrap();
    }
    plane.admin().grant(with(ADMIN_TOKEN, grant("user/mira", "reader"))).await.unwrap();
    let full = plane.admin().grant(with(ADMIN_TOKEN, grant("user/mira", "auditor"))).await.unwrap_err();
    assert_eq!(full.code(), Code::FailedPrecondition, "{full}");
    assert!(plane.admin().grant(with(ADMIN_TOKEN, grant("user/mira", "reader"))).await.is_ok(), "one that is there");
    assert!(allowed(&plane, &mira, "config.Publish", "versions/*").await);
}

#[tokio::test]
async fn credentials_overlap() {
    let plane = Plane::start().await;
    let mira = plane.principal("user/mira", "reader").await;
    let noor = plane.principal("user/noor", "reader").await;
    let create = |note: &str| with(&mira, CreateCredentialRequest { principal: String::new(), note: note.into() });
    let first = plane.credentials().create(create("laptop")).await.unwrap().into_inner();
    let first_id = first.credential.unwrap().access_key_id;
    assert!(first_id.starts_with("HFAK"));

    let basic = |id: &str, secret: &str| Presented { basic: Some((id.into(), secret.into())), ..Presented::default() };
    let identity = plane.iam.authenticate(basic(&first_id, &first.secret)).await.unwrap();
    assert_eq!(identity.principal.to_string(), "user/mira");
    assert_eq!(plane.iam.authenticate(basic(&first_id, "wrong")).await.unwrap_err(), Refusal::Unauthenticated);
    assert_eq!(plane.iam.authenticate(basic("HFAK0000000000000000", "x")).await.unwrap_err(), Refusal::Unauthenticated);

    let revoke = |id: &str, force| with(&mira, RevokeCredentialRequest { access_key_id: id.into(), force });
    let last = plane.credentials().revoke(revoke(&first_id, false)).await.unwrap_err();
    assert_eq!(last.code(), Code::FailedPrecondition);
    let second = plane.credentials().create(create("new laptop")).await.unwrap().into_inner();
    let second_id = second.credential.unwrap().access_key_id;
    let read = |token: &str, id: &str| with(token, GetCredentialSecretRequest { access_key_id: id.into() });
    let shown = plane.credentials().get_credential_secret(read(&mira, &second_id)).await.unwrap().into_inner();
    assert_eq!(shown.secret, second.secret);
    let denied = plane.credentials().get_credential_secret(read(&noor, &second_id)).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    let unknown = plane.credentials().get_credential_secret(read(&noor, "HFAK0000000000000000")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::PermissionDenied, "nobody learns which keys exist");

    plane.credentials().revoke(revoke(&first_id, false)).await.unwrap();
    assert!(plane.iam.authenticate(basic(&first_id, &first.secret)).await.is_err());
    let token = plane.iam.login(&second_id, &second.secret, None).await.unwrap();
    assert_eq!(plane.bearer(&token).await.unwrap().principal.to_string(), "user/mira");
    let list = with(&mira, ListCredentialsRequest::default());
    let listed = plane.credentials().list(list).await.unwrap().into_inner().credentials;
    assert_eq!(listed.iter().map(|one| one.revoked).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test]
async fn admin_logs_in_by_name_only_in_dev() {
    let plane = Plane::start().await;
    assert_eq!(plane.iam.login("admin", ADMIN_TOKEN, None).await, Err(Refusal::Unauthenticated));
    let dev = Plane::with(Environment { dev: true, ..Environment::default() }).await;
    let token = dev.iam.login("admin", ADMIN_TOKEN, None).await.unwrap();
    assert_eq!(dev.bearer(&token).await.unwrap().roles, ["admin"]);
    assert_eq!(dev.iam.login("admin", "wrong", None).await, Err(Refusal::Unauthenticated));
}

#[tokio::test]
async fn anonymous_admins_exist_only_in_the_laboratory() {
    let plane = Plane::start().await;
    assert_eq!(plane.iam.authenticate(Presented::default()).await.unwrap_err(), Refusal::Anonymous);
    let lax = Plane::with(Environment { dev: true, allow_unauthenticated: true, ..Environment::default() }).await;
    let anybody = lax.iam.authenticate(Presented::default()).await.unwrap();
    assert_eq!(anybody.principal.to_string(), "anonymous");
    assert!(lax.iam.authorize(&anybody, "iam.Admin", "iam/*").is_ok());
    assert!(plane.iam.authorize(&anybody, "iam.Admin", "iam/*").is_err());
    assert!(lax.iam.status().unwrap().lab.allow_unauthenticated);
}

#[tokio::test]
async fn a_change_that_was_meant_for_another_revision_is_not_made() {
    let plane = Plane::start().await;
    plane.principal("user/mira", "reader").await;
    let binding = async || {
        let request = with(ADMIN_TOKEN, ListBindingsRequest { subject: "user/mira".into(), ..Default::default() });
        plane.admin().list_bindings(request).await.unwrap().into_inner().bindings.remove(0)
    };
    let wrong = |code: Result<(), tonic::Status>| assert_eq!(code.unwrap_err().code(), Code::Aborted);

    let seen = binding().await;
    let granted = |expected_revision| GrantRequest { expected_revision, ..grant("user/mira", "reader") };
    let again = plane.admin().grant(with(ADMIN_TOKEN, granted(seen.revision))).await.unwrap().into_inner();
    assert!(again.revision > seen.revision);
    assert_eq!(binding().await.revision, again.revision);
    wrong(plane.admin().grant(with(ADMIN_TOKEN, granted(seen.revision))).await.map(drop));
    let new = GrantRequest { expected_revision: 1, ..grant("user/mira", "operator") };
    wrong(plane.admin().grant(with(ADMIN_TOKEN, new)).await.map(drop));

    let revoke = |name: &str, expected_revision| {
        with(ADMIN_TOKEN, RevokeGrantRequest { subject: "user/mira".into(), name: name.into(), expected_revision })
    };
    wrong(plane.admin().revoke_grant(revoke("reader", seen.revision)).await.map(drop));
    let missing = plane.admin().revoke_grant(revoke("operator", 1)).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    plane.admin().revoke_grant(revoke("reader", again.revision)).await.unwrap();

    let request = with(ADMIN_TOKEN, ListPrincipalsRequest { kind: "user".into(), ..Default::default() });
    let mira = plane.admin().list_principals(request).await.unwrap().into_inner().principals.remove(0);
    let disable = |disabled, expected_revision| {
        with(ADMIN_TOKEN, SetPrincipalRequest { id: "user/mira".into(), disabled, expected_revision })
    };
    let disabled = plane.admin().set_principal(disable(true, mira.revision)).await.unwrap().into_inner();
    assert_eq!(disabled.principal.unwrap().revision, disabled.revision);
    wrong(plane.admin().set_principal(disable(false, mira.revision)).await.map(drop));
    plane.admin().set_principal(disable(false, disabled.revision)).await.unwrap();
}
