//! Organisations and projects: what tokens say of them, where roles count, and that no admin within one gets out of it.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use axum::body::{Body, to_bytes};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chainfire_client::SystemStore as _;
use chainfire_core::{
    Origin,
    system::{SystemCommand, SystemOp, SystemTxn},
};
use holdfast_keyspace::KeyRange;
use holdfast_proto::iam::{
    CreatePrincipalRequest, ExchangeTokenRequest, ExplainRequest, IntrospectRequest, ListBindingsRequest,
    ListCredentialsRequest, ListMembersRequest, PutPolicyRequest, policies_client::PoliciesClient,
};
use http::Request;
use iam_client::{KeyAccess, KeyAuthority as _, Scope};
use iam_core::record::{Principal, Record as _, key};
use serde_json::Value;
use support::{
    ADMIN_TOKEN,
    harbour::{Harbour, Refused, keys, member, names, new, role},
    with,
};
use tonic::Code;
use tower::ServiceExt as _;

#[tokio::test]
async fn an_admin_within_an_organisation_administers_those_in_it() {
    let harbour = Harbour::new().await;
    let (plane, chef) = (&harbour.plane, harbour.chef.as_str());
    assert_eq!(harbour.create(chef, new("user/sol", "")).await.unwrap(), "acme/", "where its admin is");
    let listed = harbour.list(chef).await.unwrap();
    let own = ["node/pier1", "service/ci", "user/chef", "user/lead", "user/mira", "user/sol", "user/wim"];
    assert_eq!(listed, own.map(str::to_owned).into());
    assert_eq!(harbour.list(ADMIN_TOKEN).await.unwrap().len(), 10);

    let sol = harbour.issue(chef, "user/sol").await.unwrap();
    harbour.set(chef, "user/sol", true).await.unwrap();
    assert!(plane.bearer(&sol).await.is_err());
    harbour.set(chef, "user/sol", false).await.unwrap();
    assert!(plane.bearer(&sol).await.is_ok());
    harbour.revoke_tokens(chef, "user/sol").await.unwrap();
    assert!(plane.bearer(&sol).await.is_err());

    let old = harbour.credential(chef, "service/ci").await.unwrap();
    let next = harbour.credential(chef, "service/ci").await.unwrap();
    harbour.secret(chef, &next).await.unwrap();
    harbour.revoke_credential(chef, &old).await.unwrap();
    let list = ListCredentialsRequest { principal: "service/ci".into() };
    assert_eq!(plane.credentials().list(with(chef, list)).await.unwrap().into_inner().credentials.len(), 2);
    harbour.join(chef, "pier1").await.unwrap();

    let mira = plane.token("user/mira").await;
    assert!(!harbour.may(&mira, "iam.Enroll", "node/pier1").await);
    assert_eq!(harbour.grant(chef, role("user/mira", "operator", "acme")).await.unwrap(), "operator@acme");
    assert_eq!(harbour.grant(chef, role("user/mira", "admin", "acme/web")).await.unwrap(), "admin@acme+web");
    assert!(harbour.may(&mira, "iam.Enroll", "node/pier1").await);
    assert!(harbour.may(&mira, "iam.Admin", "user/wim").await && !harbour.may(&mira, "iam.Admin", "service/ci").await);
    for (action, resource) in [
        ("iam.Enroll", "node/pier9"),
        ("iam.Enroll", "node/pier7"),
        ("config.Publish", "versions/*"),
        ("lock.Admin", "lock/default"),
        ("iam.Admin", "iam/*"),
        ("history.Read", "history/*"),
    ] {
        assert!(!harbour.may(&mira, action, resource).await, "{action} {resource}");
    }
    let bindings = ListBindingsRequest { subject: "user/mira".into(), ..ListBindingsRequest::default() };
    let bindings = plane.admin().list_bindings(with(chef, bindings)).await.unwrap().into_inner().bindings;
    let bindings: Vec<_> =
        bindings.iter().map(|one| (one.role.as_str(), one.org.as_str(), one.project.as_str())).collect();
    assert_eq!(bindings, [("admin", "acme", "web"), ("operator", "acme", "")]);
    let why = ExplainRequest {
        principal: "user/mira".into(),
        action: "iam.Enroll".into(),
        resource: "node/pier1".into(),
        ..ExplainRequest::default()
    };
    let why = plane.authz().explain(with(chef, why)).await.unwrap().into_inner();
    assert_eq!((why.allowed, why.policy.as_str()), (true, "builtin-operator"));
    assert!(why.roles.iter().any(|held| (held.role.as_str(), held.org.as_str()) == ("operator", "acme")), "{why:?}");
    harbour.revoke_grant(chef, "user/mira", "operator@acme").await.unwrap();
    assert!(!harbour.may(&mira, "iam.Enroll", "node/pier1").await);
}

/// Every way out of an organisation that its admin may try; each no is in the history.
#[tokio::test]
async fn no_admin_gets_out_of_its_organisation() {
    let harbour = Harbour::new().await;
    let (plane, chef) = (&harbour.plane, harbour.chef.as_str());
    let key_of_zoe = harbour.credential(ADMIN_TOKEN, "user/zoe").await.unwrap();
    let mut refused = Refused::default();

    // By a grant to itself, to one of its own, or to somebody outside.
    for subject in ["user/chef", "user/mira"] {
        refused.check(harbour.grant(chef, role(subject, "admin", "")).await, "iam.Admin", "iam/*");
        refused.check(harbour.grant(chef, role(subject, "admin", "zeta")).await, "iam.Admin", "org/zeta");
        refused.check(harbour.grant(chef, keys(subject)).await, "iam.Admin", "iam/*");
    }
    refused.check(harbour.grant(chef, role("user/zoe", "admin", "acme")).await, "iam.Admin", "user/zoe");
    refused.check(harbour.grant(chef, role("user/root", "reader", "acme")).await, "iam.Admin", "user/root");
    refused.check(harbour.grant(chef, role("group/crew", "admin", "acme")).await, "iam.Admin", "group/crew");
    refused.check(harbour.grant(chef, role("user/ghost", "admin", "acme")).await, "iam.Admin", "user/ghost");
    refused.check(harbour.revoke_grant(chef, "user/zoe", "admin@zeta").await, "iam.Admin", "user/zoe");
    refused.check(harbour.revoke_grant(chef, "user/root", "admin").await, "iam.Admin", "user/root");

    // By a group.
    let join = plane.admin().add_member(with(chef, member("wheel", "user/chef"))).await;
    refused.check(join, "iam.Admin", "iam/*");
    refused.check(plane.admin().list_members(with(chef, ListMembersRequest::default())).await, "iam.Read", "iam/*");

    // By a principal of another organisation, of none, or of a narrower one than its own.
    for scope in ["zeta", "acme/web", "acme"] {
        let named = harbour.create(chef, new("user/eve", scope)).await.unwrap_err();
        assert_eq!(named.code(), Code::InvalidArgument, "{named}");
        assert!(named.message().contains("only an admin of the whole system names"), "{named}");
        let (org, project) = names(scope);
        let project = if project.is_empty() { project } else { format!("/project/{project}") };
        refused.0.insert(("iam.Admin".into(), format!("org/{org}{project}")));
    }
    refused.check(harbour.create(chef, new("node/pier7", "")).await, "iam.Admin", "iam/*");

    // By somebody outside: its tokens, keys, certificates, its standing.
    for outside in ["user/zoe", "user/root"] {
        refused.check(harbour.issue(chef, outside).await, "iam.IssueToken", outside);
        refused.check(harbour.credential(chef, outside).await, "iam.Admin", outside);
    }
    refused.check(harbour.secret(chef, &key_of_zoe).await, "iam.Admin", "user/zoe");
    refused.check(harbour.revoke_credential(chef, &key_of_zoe).await, "iam.Admin", "user/zoe");
    refused.check(harbour.set(chef, "user/zoe", true).await, "iam.Admin", "user/zoe");
    refused.check(harbour.set(chef, "user/root", true).await, "iam.Admin", "user/root");
    refused.check(harbour.revoke_tokens(chef, "user/zoe").await, "iam.Admin", "user/zoe");
    refused.check(harbour.revoke_tokens(chef, "user/root").await, "iam.Admin", "user/root");
    for node in ["pier9", "pier7"] {
        refused.check(harbour.join(chef, node).await, "iam.Enroll", &format!("node/{node}"));
    }
    let list = ListCredentialsRequest { principal: "user/zoe".into() };
    refused.check(plane.credentials().list(with(chef, list)).await, "iam.Read", "user/zoe");
    let bindings = ListBindingsRequest { subject: "user/zoe".into(), ..ListBindingsRequest::default() };
    refused.check(plane.admin().list_bindings(with(chef, bindings)).await, "iam.Read", "user/zoe");
    refused.check(plane.admin().list_bindings(with(chef, ListBindingsRequest::default())).await, "iam.Read", "iam/*");

    // By a policy, by keys, by a token that is exchanged.
    let policy = "permit (principal == User::\"chef\", action, resource);";
    let policy = PutPolicyRequest { id: "mine".into(), text: policy.into(), ..PutPolicyRequest::default() };
    refused.check(PoliciesClient::new(plane.api()).put(with(chef, policy)).await, "iam.Admin", "iam/*");
    let identity = plane.bearer(chef).await.unwrap();
    assert!(plane.iam.authorize_keys(&identity, KeyAccess::Read, &KeyRange::prefix(*b"a")).is_err());
    assert!(plane.iam.authorize_some_key(&identity, KeyAccess::Write).is_err());
    refused.0.insert(("kv.Read".into(), "keys/a".into()));
    refused.0.insert(("kv.Write".into(), "keys/*".into()));
    let exchange = ExchangeTokenRequest { roles: vec!["admin".into()], ttl_s: 0 };
    let narrow = plane.tokens().exchange(with(chef, exchange)).await.unwrap().into_inner().token;
    refused.check(harbour.issue(&narrow, "user/zoe").await, "iam.IssueToken", "user/zoe");
    refused.check(harbour.grant(&narrow, role("user/mira", "admin", "")).await, "iam.Admin", "iam/*");
    assert!(harbour.may(&narrow, "iam.Admin", "user/mira").await && !harbour.may(&narrow, "iam.Admin", "iam/*").await);

    let denied = harbour.denied("user/chef").await;
    let missing: Vec<_> = refused.0.difference(&denied).collect();
    assert!(missing.is_empty(), "{missing:?} of {denied:?}");
}

/// Who is in the organisation and may do more than is in it is not its admin's to take over.
#[tokio::test]
async fn whoever_may_do_more_is_out_of_reach() {
    let harbour = Harbour::new().await;
    let (plane, chef) = (&harbour.plane, harbour.chef.as_str());
    for id in ["user/wide", "user/crewed", "user/keyed", "user/both"] {
        harbour.create(chef, new(id, "")).await.unwrap();
    }
    for grant in [
        role("user/wide", "operator", ""),
        keys("user/keyed"),
        role("user/both", "auditor", "zeta"),
        role("group/nobodies", "reader", ""),
    ] {
        harbour.grant(ADMIN_TOKEN, grant).await.unwrap();
    }
    plane.admin().add_member(with(ADMIN_TOKEN, member("nobodies", "user/crewed"))).await.unwrap();
    let mut refused = Refused::default();
    for id in ["user/wide", "user/crewed", "user/keyed", "user/both"] {
        let key = harbour.credential(ADMIN_TOKEN, id).await.unwrap();
        refused.check(harbour.credential(chef, id).await, "iam.Admin", id);
        refused.check(harbour.secret(chef, &key).await, "iam.Admin", id);
        refused.check(harbour.revoke_credential(chef, &key).await, "iam.Admin", id);
        refused.check(harbour.issue(chef, id).await, "iam.IssueToken", id);
        refused.check(harbour.set(chef, id, true).await, "iam.Admin", id);
        refused.check(harbour.revoke_tokens(chef, id).await, "iam.Admin", id);
        // It is seen, and given more of what is the organisation's.
        let list = ListCredentialsRequest { principal: id.into() };
        assert!(plane.credentials().list(with(chef, list)).await.is_ok());
        harbour.grant(chef, role(id, "reader", "acme")).await.unwrap();
        harbour.revoke_grant(chef, id, "reader@acme").await.unwrap();
        harbour.set(ADMIN_TOKEN, id, true).await.unwrap();
    }
    // What it holds beyond the organisation is not replaced under its name either.
    for (subject, name, resource) in
        [("user/wide", "operator", "iam/*"), ("user/keyed", "keys", "iam/*"), ("user/both", "auditor@zeta", "org/zeta")]
    {
        let mut replacing = role(subject, "reader", "acme");
        replacing.binding.as_mut().unwrap().name = name.into();
        refused.check(harbour.grant(chef, replacing).await, "iam.Admin", resource);
        refused.check(harbour.revoke_grant(chef, subject, name).await, "iam.Admin", resource);
    }
    // With what reached out of it gone, it is the admin's again.
    harbour.revoke_grant(ADMIN_TOKEN, "user/wide", "operator").await.unwrap();
    harbour.set(chef, "user/wide", false).await.unwrap();
    harbour.credential(chef, "user/wide").await.unwrap();

    let denied = harbour.denied("user/chef").await;
    assert!(refused.0.is_subset(&denied), "{denied:?}");
}

#[tokio::test]
async fn a_project_is_less_than_its_organisation() {
    let harbour = Harbour::new().await;
    let (plane, lead) = (&harbour.plane, harbour.lead.as_str());
    let mut refused = Refused::default();
    assert_eq!(harbour.create(lead, new("user/web2", "")).await.unwrap(), "acme/web");
    let listed = harbour.list(lead).await.unwrap();
    assert_eq!(listed, ["user/lead", "user/web2", "user/wim"].map(str::to_owned).into());
    harbour.issue(lead, "user/wim").await.unwrap();
    harbour.grant(lead, role("user/wim", "operator", "acme/web")).await.unwrap();
    refused.check(harbour.issue(lead, "user/mira").await, "iam.IssueToken", "user/mira");
    refused.check(harbour.grant(lead, role("user/wim", "reader", "acme")).await, "iam.Admin", "org/acme");
    let sibling = harbour.grant(lead, role("user/wim", "reader", "acme/app")).await;
    refused.check(sibling, "iam.Admin", "org/acme/project/app");
    refused.check(harbour.grant(lead, role("user/mira", "reader", "acme/web")).await, "iam.Admin", "user/mira");
    harbour.grant(&harbour.chef, role("user/wim", "reader", "acme")).await.unwrap();
    refused.check(harbour.issue(lead, "user/wim").await, "iam.IssueToken", "user/wim");
    harbour.issue(&harbour.chef, "user/wim").await.unwrap();

    // A role there is nobody's right to create who is somewhere else, or nowhere.
    plane.admin().create_principal(with(ADMIN_TOKEN, new("user/guest", ""))).await.unwrap();
    harbour.grant(ADMIN_TOKEN, role("user/guest", "admin", "acme")).await.unwrap();
    let guest = plane.token("user/guest").await;
    harbour.set(&guest, "user/mira", true).await.unwrap();
    assert_eq!(harbour.create(&guest, new("user/eve", "")).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(harbour.create(&guest, new("user/eve", "acme")).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(harbour.list(&guest).await.unwrap_err().code(), Code::PermissionDenied);
    assert!(refused.0.is_subset(&harbour.denied("user/lead").await));
}

#[tokio::test]
async fn tokens_say_where_their_principal_is() {
    let harbour = Harbour::new().await;
    let plane = &harbour.plane;
    let claims = |token: &str| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
    };
    let exchange = ExchangeTokenRequest { roles: vec!["admin".into()], ttl_s: 0 };
    let narrow = plane.tokens().exchange(with(&harbour.lead, exchange)).await.unwrap().into_inner().token;
    let derived = harbour.issue(&harbour.lead, "user/lead").await.unwrap();
    for token in [&harbour.lead, &narrow, &derived] {
        let says = claims(token);
        assert_eq!((&says["org"], &says["project"]), (&"acme".into(), &"web".into()));
        assert_eq!(says.get("roles"), None, "what counts in a project only is no role to others");
        let identity = plane.bearer(token).await.unwrap();
        assert_eq!((identity.scope, identity.roles.len()), ("org/acme/project/web".parse().unwrap(), 0));
        let ask = IntrospectRequest { token: token.clone() };
        let known = plane.tokens().introspect(with(ADMIN_TOKEN, ask)).await.unwrap().into_inner();
        assert_eq!((known.org.as_str(), known.project.as_str()), ("acme", "web"));
    }
    let root = plane.token("user/root").await;
    assert_eq!((claims(&root).get("org"), claims(&root).get("project")), (None, None));
    assert_eq!(plane.bearer(&root).await.unwrap().scope, Scope::System);

    let request = Request::post("/oauth2/introspect")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", format!("Bearer {root}"));
    let request = request.body(Body::from(format!("token={}", harbour.lead))).unwrap();
    let answer = plane.api().oneshot(request).await.unwrap();
    let answer: Value = serde_json::from_slice(&to_bytes(answer.into_body(), 65_536).await.unwrap()).unwrap();
    assert_eq!((&answer["active"], &answer["org"], &answer["project"]), (&true.into(), &"acme".into(), &"web".into()));
}

/// A principal stays where it is; should its record say something else all the same, its tokens are void.
#[tokio::test]
async fn a_token_that_says_another_organisation_is_void() {
    let harbour = Harbour::new().await;
    let plane = &harbour.plane;
    assert!(plane.bearer(&harbour.lead).await.is_ok());
    let id = "user/lead".parse().unwrap();
    let scope = "org/zeta/project/web".parse().unwrap();
    let moved = Principal { id, display_name: String::new(), created_ms: 1, disabled: false, scope };
    let put = SystemOp::Put { key: key::principal(&moved.id), value: moved.encode().unwrap() };
    let txn = SystemTxn { guards: vec![], ops: vec![put], action: "test".into(), resource: "user/lead".into() };
    plane.store.submit(Origin::system("test", "moved"), SystemCommand::Txn(txn)).await.unwrap();
    assert!(plane.bearer(&harbour.lead).await.is_err());
    let ask = IntrospectRequest { token: harbour.lead.clone() };
    assert!(!plane.tokens().introspect(with(ADMIN_TOKEN, ask)).await.unwrap().into_inner().active);
    assert!(plane.bearer(&plane.token("user/lead").await).await.is_ok());
}

#[tokio::test]
async fn admins_of_the_whole_system_say_where_somebody_is() {
    let harbour = Harbour::new().await;
    let plane = &harbour.plane;
    let bad = [("a b", ""), ("", "web"), ("acme", "x/y"), ("org/acme", "")];
    for (org, project) in bad.map(|(org, project)| (org.to_owned(), project.to_owned())) {
        let request = CreatePrincipalRequest { org, project, ..new("user/x", "") };
        assert_eq!(harbour.create(ADMIN_TOKEN, request).await.unwrap_err().code(), Code::InvalidArgument);
    }
    // One that is in an organisation itself creates there, unless it says otherwise.
    harbour.grant(ADMIN_TOKEN, role("user/mira", "admin", "")).await.unwrap();
    let mira = plane.token("user/mira").await;
    assert_eq!(harbour.create(&mira, new("user/x", "")).await.unwrap(), "acme/");
    assert_eq!(harbour.create(&mira, new("user/y", "zeta")).await.unwrap(), "zeta/");

    let mut with_keys = keys("user/x");
    with_keys.binding.as_mut().unwrap().org = "acme".into();
    let mut alone = role("user/x", "", "acme");
    alone.binding.as_mut().unwrap().name = "nothing".into();
    for nonsense in [with_keys, alone, role("user/x", "reader", "/web")] {
        assert_eq!(harbour.grant(ADMIN_TOKEN, nonsense).await.unwrap_err().code(), Code::InvalidArgument);
    }

    // A group may hold a role within an organisation; its members are where they are.
    harbour.grant(ADMIN_TOKEN, role("group/acme-help", "admin", "acme")).await.unwrap();
    plane.admin().add_member(with(ADMIN_TOKEN, member("acme-help", "user/zoe"))).await.unwrap();
    let zoe = plane.token("user/zoe").await;
    harbour.issue(&zoe, "service/ci").await.unwrap();
    assert_eq!(harbour.create(&zoe, new("user/z2", "")).await.unwrap(), "zeta/");
}

#[tokio::test]
async fn policies_know_where_both_are() {
    let harbour = Harbour::new().await;
    let plane = &harbour.plane;
    let put = async |id: &str, text: &str| {
        let request = PutPolicyRequest { id: id.into(), text: text.into(), ..PutPolicyRequest::default() };
        PoliciesClient::new(plane.api()).put(with(ADMIN_TOKEN, request)).await.map(drop)
    };
    let text = "permit (principal is Service, action == Action::\"iam.Read\", resource is User)
                when { principal has org && resource has org && principal.org == resource.org };";
    put("same-org", text).await.unwrap();
    let ci = plane.token("service/ci").await;
    assert!(harbour.may(&ci, "iam.Read", "user/mira").await && harbour.may(&ci, "iam.Read", "user/wim").await);
    assert!(!harbour.may(&ci, "iam.Read", "user/zoe").await && !harbour.may(&ci, "iam.Read", "user/root").await);
    assert!(put("all", "permit (principal, action, resource) when { principal.org == \"acme\" };").await.is_err());

    // Who spares admins spares those of an organisation.
    let text = "permit (principal == Service::\"ci\", action == Action::\"iam.IssueToken\", resource is User)
                unless { resource in Role::\"admin\" };";
    put("helpdesk", text).await.unwrap();
    assert!(harbour.issue(&ci, "user/wim").await.is_ok() && harbour.issue(&ci, "user/lead").await.is_err());

    // An admin within an organisation is bound by what is forbidden; one of the whole system is not.
    assert!(harbour.may(&harbour.chef, "iam.IssueToken", "user/mira").await);
    put("no-tokens", "forbid (principal, action == Action::\"iam.IssueToken\", resource);").await.unwrap();
    assert!(!harbour.may(&harbour.chef, "iam.IssueToken", "user/mira").await);
    assert!(harbour.may(ADMIN_TOKEN, "iam.IssueToken", "user/mira").await);
}
