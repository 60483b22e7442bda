//! Policies that somebody wrote: stored, checked, in force everywhere, explained.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::time::Duration;

use chainfire_client::SystemStore as _;
use chainfire_core::{
    Origin,
    system::{SystemCommand, SystemOp, SystemTxn},
};
use holdfast_keyspace::KeyRange;
use holdfast_proto::iam::{
    AddMemberRequest, AuthorizeBatchRequest, AuthorizeRequest, Binding, CreateCredentialRequest, DeletePolicyRequest,
    ExplainRequest, ExplainResponse, GetPolicyRequest, GetSchemaRequest, GrantRequest, ListPoliciesRequest, Page,
    PolicyChange, PutPolicyRequest, RevokeGrantRequest, SetPrincipalRequest, SimulateRequest, SimulateResponse,
    policies_client::PoliciesClient,
};
use iam_client::{KeyAccess, KeyAuthority as _, Refusal};
use iam_core::{
    record::{Record as _, StoredPolicy, key},
    verifier::Mark,
};
use support::{ADMIN_TOKEN, Environment, Plane, open, with};
use tonic::{Code, Status};

const NIGHT: &str = "forbid (principal, action == Action::\"config.Publish\", resource)\nwhen { context.time < 5 };";
const PUBLISH: &str =
    "permit (principal == User::\"mira\", action == Action::\"config.Publish\", resource is Versions);";

fn policies(plane: &Plane) -> PoliciesClient<axum::Router> {
    PoliciesClient::new(plane.api())
}

fn put(id: &str, text: &str) -> PutPolicyRequest {
    PutPolicyRequest { id: id.into(), text: text.into(), ..PutPolicyRequest::default() }
}

async fn stored(plane: &Plane, request: PutPolicyRequest) -> Result<u64, Status> {
    let answer = policies(plane).put(with(ADMIN_TOKEN, request)).await;
    answer.map(|answer| answer.into_inner().revision)
}

async fn may_publish(plane: &Plane, token: &str) -> bool {
    let (action, resource) = ("config.Publish".into(), "versions/*".into());
    let request = AuthorizeRequest { principal: String::new(), action, resource };
    plane.authz().authorize(with(token, request)).await.unwrap().into_inner().allowed
}

async fn explained(plane: &Plane, token: &str, request: ExplainRequest) -> Result<ExplainResponse, Status> {
    Ok(plane.authz().explain(with(token, request)).await?.into_inner())
}

fn why(principal: &str) -> ExplainRequest {
    ExplainRequest {
        principal: principal.into(),
        action: "config.Publish".into(),
        resource: "versions/*".into(),
        ..ExplainRequest::default()
    }
}

#[tokio::test]
async fn a_policy_is_in_force_at_once_and_no_longer_when_it_is_gone() {
    let plane = Plane::start().await;
    let mira = plane.principal("user/mira", "").await;
    let folder = tempfile::tempdir().unwrap();
    let (other, running) = open(&plane.store, &plane.clock, folder.path(), &Environment::default(), |_| {}).unwrap();
    other.settled().await;
    let there = Plane { iam: other, running, folder, store: plane.store.clone(), clock: plane.clock.clone() };
    let tried = stored(&plane, PutPolicyRequest { dry_run: true, ..put("publish", PUBLISH) }).await.unwrap();
    assert!(tried == 0 && !may_publish(&plane, &mira).await);

    let first = stored(&plane, put("publish", PUBLISH)).await.unwrap();
    assert!(may_publish(&plane, &mira).await && may_publish(&there, &mira).await);
    plane.advance(Duration::from_secs(1));
    let narrowed = PUBLISH.replace(';', " when { context.time < 5 };");
    let second = PutPolicyRequest { expected_revision: first, note: "by night".into(), ..put("publish", &narrowed) };
    let second = stored(&plane, second).await.unwrap();
    assert!(!may_publish(&plane, &mira).await && !may_publish(&there, &mira).await);

    let get = GetPolicyRequest { id: "publish".into() };
    let found = policies(&there).get(with(ADMIN_TOKEN, get.clone())).await.unwrap().into_inner().policy.unwrap();
    assert_eq!((found.text.as_str(), found.note.as_str(), found.revision), (narrowed.as_str(), "by night", second));
    assert_eq!((found.changed_ms - found.created_ms, found.changed_by.as_str()), (1_000, "bootstrap/admin"));

    let delete = |expected_revision| DeletePolicyRequest { id: "publish".into(), expected_revision };
    let late = policies(&plane).delete(with(ADMIN_TOKEN, delete(first))).await.unwrap_err();
    assert_eq!(late.code(), Code::Aborted, "{late:?}");
    policies(&plane).delete(with(ADMIN_TOKEN, delete(second))).await.unwrap();
    let gone = policies(&plane).get(with(ADMIN_TOKEN, get)).await.unwrap_err();
    assert_eq!((gone.code(), gone.message()), (Code::NotFound, "there is no policy publish"), "{gone:?}");
    assert_eq!(policies(&plane).delete(with(ADMIN_TOKEN, delete(0))).await.unwrap_err().code(), Code::NotFound);
}

/// Spec §8: "`INVALID_ARGUMENT` with line, column and Cedar's message; nothing stored".
#[tokio::test]
async fn what_is_wrong_with_a_policy_is_said_and_nothing_is_stored() {
    let plane = Plane::start().await;
    for (id, text, said) in [
        ("p", "permit (\n  principal,\n  action == Action::\"kv.Red\",\n  resource\n);", "line 3, column 13"),
        ("p", "permit (principal, action, resource", "unexpected end of input"),
        ("p", "permit (principal, action, resource is Lock) when { resource.colour == \"red\" };", "colour"),
        ("p/q", PUBLISH, "p/q"),
        ("builtin-admin", PUBLISH, "are taken"),
    ] {
        let refused = stored(&plane, put(id, text)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        assert!(refused.message().contains(said), "{refused:?}");
    }
    let noted = PutPolicyRequest { note: "a\u{7}".into(), ..put("p", PUBLISH) };
    assert_eq!(stored(&plane, noted).await.unwrap_err().code(), Code::InvalidArgument);
    let absent = PutPolicyRequest { expected_revision: 3, ..put("p", PUBLISH) };
    assert_eq!(stored(&plane, absent).await.unwrap_err().code(), Code::Aborted);
    let all = policies(&plane).list(with(ADMIN_TOKEN, ListPoliciesRequest::default())).await.unwrap().into_inner();
    assert_eq!(all.policies, []);
}

#[tokio::test]
async fn only_admins_write_policies_and_auditors_read_them() {
    let plane = Plane::start().await;
    let operator = plane.principal("user/mira", "operator").await;
    let auditor = plane.principal("user/noor", "auditor").await;
    for token in [&operator, &auditor] {
        let denied = policies(&plane).put(with(token, put("p", PUBLISH))).await.unwrap_err();
        assert_eq!((denied.code(), denied.message()), (Code::PermissionDenied, "not permitted: iam.Admin on iam/*"));
        let delete = DeletePolicyRequest { id: "p".into(), expected_revision: 0 };
        assert_eq!(policies(&plane).delete(with(token, delete)).await.unwrap_err().code(), Code::PermissionDenied);
    }
    assert!(policies(&plane).list(with(&operator, ListPoliciesRequest::default())).await.is_err());
    for id in ["a", "b", "c"] {
        stored(&plane, put(id, NIGHT)).await.unwrap();
    }
    let (mut ids, mut page) = (Vec::new(), Page { size: 2, token: String::new() });
    loop {
        let request = ListPoliciesRequest { page: Some(page.clone()) };
        let answer = policies(&plane).list(with(&auditor, request)).await.unwrap().into_inner();
        ids.extend(answer.policies.into_iter().map(|policy| policy.id));
        match answer.next_page_token.as_str() {
            "" => break,
            token => page.token = token.to_owned(),
        }
    }
    assert_eq!(ids, ["a", "b", "c"]);
    let schema = policies(&plane).get_schema(with(&auditor, GetSchemaRequest {})).await.unwrap().into_inner();
    assert!(schema.schema.contains("entity Role") && schema.builtin.contains("builtin-admin"));
}

#[tokio::test]
async fn no_policy_locks_admins_out() {
    let plane = Plane::start().await;
    let mira = plane.principal("user/mira", "operator").await;
    stored(&plane, put("nobody", "forbid (principal, action, resource);")).await.unwrap();
    assert!(!may_publish(&plane, &mira).await);
    let delete = DeletePolicyRequest { id: "nobody".into(), expected_revision: 0 };
    policies(&plane).delete(with(ADMIN_TOKEN, delete)).await.unwrap();
    assert!(may_publish(&plane, &mira).await);
}

/// As a newer release may leave them behind.
#[tokio::test]
async fn a_stored_policy_that_does_not_compile_denies_all_but_admins() {
    let plane = Plane::start().await;
    let mira = plane.principal("user/mira", "operator").await;
    assert!(may_publish(&plane, &mira).await);
    let text = "forbid (principal, action == Action::\"future.Action\", resource);".to_owned();
    let policy = StoredPolicy { text, note: String::new(), created_ms: 1, changed_ms: 1, changed_by: "user/x".into() };
    let put = |key: Vec<u8>, value: Vec<u8>| SystemOp::Put { key, value };
    let ops = vec![
        put(key::policy("future"), policy.encode().unwrap()),
        put(key::POLICIES_VERSION.to_vec(), Mark::default().encode().unwrap()),
    ];
    let txn = SystemTxn { guards: vec![], ops, action: "iam.PolicyPut".into(), resource: "policy/future".into() };
    plane.store.submit(Origin::system("test", "r"), SystemCommand::Txn(txn)).await.unwrap();
    assert!(!may_publish(&plane, &mira).await);
    let explained = explained(&plane, ADMIN_TOKEN, why("user/mira")).await.unwrap();
    assert!(explained.errors[0].starts_with("policy future, line 1, column "), "{explained:?}");
    let delete = DeletePolicyRequest { id: "future".into(), expected_revision: 0 };
    policies(&plane).delete(with(ADMIN_TOKEN, delete)).await.unwrap();
    assert!(may_publish(&plane, &mira).await);
}

/// Spec §2: "`Explain` returns the deciding policy and why".
#[tokio::test]
async fn a_decision_is_explained_by_policies_and_by_bindings() {
    let plane = Plane::start().await;
    let mira = plane.principal("user/mira", "").await;
    for (group, member) in [("crew", "user/mira"), ("harbour", "group/crew")] {
        let request = AddMemberRequest { group: group.into(), member: member.into() };
        plane.admin().add_member(with(ADMIN_TOKEN, request)).await.unwrap();
    }
    let binding = Binding { subject: "group/harbour".into(), role: "operator".into(), ..Binding::default() };
    plane
        .admin()
        .grant(with(ADMIN_TOKEN, GrantRequest { binding: Some(binding), ..Default::default() }))
        .await
        .unwrap();
    let office = "forbid (principal, action == Action::\"config.Publish\", resource)
        unless { context has source && context.source.isInRange(ip(\"192.0.2.0/24\")) };";
    stored(&plane, put("office", office)).await.unwrap();

    let own = explained(&plane, &mira, why("")).await.unwrap();
    assert_eq!((own.allowed, own.policy.as_str()), (true, "builtin-operator"));
    assert_eq!((own.policies[0].id.as_str(), own.policies[0].applies), ("builtin-operator", true));
    let office = own.policies.iter().find(|policy| policy.id == "office").unwrap();
    assert!(office.in_scope && !office.applies, "{office:?}");
    assert!(office.text.is_empty() && office.clauses.is_empty(), "what it says is for those who may read policies");
    let full = explained(&plane, ADMIN_TOKEN, why("user/mira")).await.unwrap();
    let office = full.policies.iter().find(|policy| policy.id == "office").unwrap();
    assert!(!office.text.is_empty() && office.clauses.len() == 1, "{office:?}");
    assert_eq!(own.groups, ["crew", "harbour"]);
    assert_eq!(own.roles.len(), 1);
    let role = &own.roles[0];
    assert_eq!((role.role.as_str(), role.binding.as_str()), ("operator", "operator"));
    assert_eq!(role.path, ["user/mira", "group/crew", "group/harbour"]);
    assert!(own.revision > 0);

    let elsewhere = ExplainRequest { source: "198.51.100.1".into(), ..why("user/mira") };
    let elsewhere = explained(&plane, ADMIN_TOKEN, elsewhere).await.unwrap();
    assert_eq!((elsewhere.allowed, elsewhere.policy.as_str()), (false, "office"));

    let revoke = RevokeGrantRequest { subject: "group/harbour".into(), name: "operator".into(), ..Default::default() };
    plane.admin().revoke_grant(with(ADMIN_TOKEN, revoke)).await.unwrap();
    let after = explained(&plane, ADMIN_TOKEN, why("user/mira")).await.unwrap();
    assert_eq!((after.allowed, after.policy.as_str(), after.roles.len()), (false, "", 0));

    let foreign = explained(&plane, &mira, why("bootstrap/admin")).await.unwrap_err();
    assert_eq!(foreign.code(), Code::InvalidArgument, "{foreign:?}");
    plane.principal("user/noor", "").await;
    let foreign = explained(&plane, &mira, why("user/noor")).await.unwrap_err();
    assert_eq!(foreign.code(), Code::PermissionDenied, "{foreign:?}");
    let nowhere = ExplainRequest { source: "nowhere".into(), ..why("") };
    assert_eq!(explained(&plane, &mira, nowhere).await.unwrap_err().code(), Code::InvalidArgument);
}

fn change(id: &str, text: &str) -> SimulateRequest {
    SimulateRequest { changes: vec![PolicyChange { id: id.into(), text: text.into() }] }
}

async fn simulated(plane: &Plane, request: SimulateRequest) -> Result<SimulateResponse, Status> {
    Ok(policies(plane).simulate(with(ADMIN_TOKEN, request)).await?.into_inner())
}

/// Spec §7: "simulate a policy change against the last N recorded decisions".
#[tokio::test]
async fn a_change_is_tried_on_what_was_decided() {
    let plane = Plane::start().await;
    let auditor = plane.principal("user/noor", "auditor").await;
    let reader = plane.principal("user/mira", "reader").await;
    for _ in 0..3 {
        policies(&plane).list(with(&auditor, ListPoliciesRequest::default())).await.unwrap();
        plane.advance(Duration::from_secs(1));
    }
    let denied = policies(&plane).list(with(&reader, ListPoliciesRequest::default())).await;
    assert_eq!(denied.unwrap_err().code(), Code::PermissionDenied);

    let secret = "forbid (principal, action == Action::\"iam.Read\", resource) unless { principal.name == \"sol\" };";
    let found = simulated(&plane, change("secret", secret)).await.unwrap();
    assert_eq!((found.changed_total, found.changed.len()), (1, 1), "{found:?}");
    let changed = &found.changed[0];
    assert_eq!(
        (changed.principal.as_str(), changed.action.as_str(), changed.resource.as_str()),
        ("user/noor", "iam.Read", "iam/*")
    );
    assert_eq!((changed.allowed_now, changed.policy_now.as_str()), (true, "builtin-auditor"));
    assert_eq!((changed.allowed_then, changed.policy_then.as_str()), (false, "secret"));
    assert_eq!((changed.times, changed.source.as_str()), (3, "192.0.2.7"));
    assert!(found.decisions >= 2 && found.since_ms > 0 && changed.last_ms > found.since_ms);

    let open = "permit (principal == User::\"mira\", action == Action::\"iam.Read\", resource);";
    let found = simulated(&plane, change("open", open)).await.unwrap();
    assert_eq!((found.changed_total, found.changed[0].allowed_then), (1, true));
    stored(&plane, put("open", open)).await.unwrap();
    policies(&plane).list(with(&reader, ListPoliciesRequest::default())).await.unwrap();
    let found = simulated(&plane, change("open", "")).await.unwrap();
    assert_eq!((found.changed_total, found.changed[0].allowed_then), (1, false), "as if it were deleted");

    for bad in [SimulateRequest::default(), change("open", "permit"), change("a/b", open)] {
        assert_eq!(simulated(&plane, bad).await.unwrap_err().code(), Code::InvalidArgument);
    }
    // Nothing of it is in force.
    policies(&plane).list(with(&auditor, ListPoliciesRequest::default())).await.unwrap();
}

#[tokio::test]
async fn a_batch_is_answered_in_order() {
    let plane = Plane::start().await;
    let mira = plane.principal("user/mira", "reader").await;
    let question =
        |action: &str| AuthorizeRequest { principal: String::new(), action: action.into(), resource: "keys/*".into() };
    let questions = ["kv.Read", "kv.Write", "kv.Read"].map(question).to_vec();
    let ask = async |questions| plane.authz().authorize_batch(with(&mira, AuthorizeBatchRequest { questions })).await;
    let answers = ask(questions).await.unwrap().into_inner().answers;
    let allowed: Vec<_> = answers.iter().map(|answer| answer.allowed).collect();
    assert_eq!(allowed, [true, false, true]);
    let other = AuthorizeRequest { principal: "user/noor".into(), ..question("kv.Read") };
    assert_eq!(ask(vec![question("kv.Read"), other]).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(ask(vec![question("kv.Read"); 1001]).await.unwrap_err().code(), Code::InvalidArgument);
}

/// What a binding or a role permits of keys, a policy forbids.
#[tokio::test]
async fn policies_forbid_keys_and_acts_on_those_who_may_not_act() {
    let plane = Plane::start().await;
    let mira = plane.bearer(&plane.principal("user/mira", "reader").await).await.unwrap();
    let everything = KeyRange::all();
    assert!(plane.iam.authorize_keys(&mira, KeyAccess::Read, &everything).is_ok());
    assert!(plane.iam.authorize_some_key(&mira, KeyAccess::Read).is_ok());
    stored(&plane, put("mira", "forbid (principal == User::\"mira\", action, resource);")).await.unwrap();
    assert!(matches!(plane.iam.may_access_keys(&mira, KeyAccess::Read, &everything), Ok(false)));
    assert!(matches!(plane.iam.authorize_keys(&mira, KeyAccess::Read, &everything), Err(Refusal::Denied { .. })));
    assert!(matches!(plane.iam.authorize_some_key(&mira, KeyAccess::Read), Err(Refusal::Denied { .. })));

    // A principal that may not act is in its groups all the same.
    let desk = plane.principal("user/desk", "").await;
    plane.principal("user/boss", "").await;
    let member = AddMemberRequest { group: "vip".into(), member: "user/boss".into() };
    plane.admin().add_member(with(ADMIN_TOKEN, member)).await.unwrap();
    let permit = "permit (principal == User::\"desk\", action == Action::\"iam.Admin\", resource is User);";
    let forbid = "forbid (principal, action, resource in Group::\"vip\");";
    for (id, text) in [("desk", permit), ("vip", forbid)] {
        stored(&plane, put(id, text)).await.unwrap();
    }
    let disable = SetPrincipalRequest { id: "user/boss".into(), disabled: true, ..Default::default() };
    plane.admin().set_principal(with(ADMIN_TOKEN, disable)).await.unwrap();
    let create = CreateCredentialRequest { principal: "user/boss".into(), note: String::new() };
    let denied = plane.credentials().create(with(&desk, create)).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied, "{denied:?}");
}

/// A record that this release cannot read costs nobody but those who are no admins their rights, and can be deleted.
#[tokio::test]
async fn a_policy_that_does_not_read_back_is_got_rid_of() {
    let plane = Plane::start().await;
    let mira = plane.principal("user/mira", "operator").await;
    assert!(may_publish(&plane, &mira).await);
    let op = SystemOp::Put { key: b"iam/policy/newer".to_vec(), value: b"what is this?".to_vec() };
    let mark = Mark::default().encode().unwrap();
    let version = SystemOp::Put { key: b"iam/version/policies".to_vec(), value: mark };
    let txn = SystemTxn { guards: vec![], ops: vec![op, version], action: "test".into(), resource: "policy".into() };
    plane.store.submit(Origin::system("test", "newer".to_owned()), SystemCommand::Txn(txn)).await.unwrap();
    assert!(!may_publish(&plane, &mira).await, "it might forbid");
    let listed = policies(&plane).list(with(ADMIN_TOKEN, ListPoliciesRequest::default())).await.unwrap().into_inner();
    assert!(listed.policies.iter().any(|policy| policy.id == "newer" && !policy.note.is_empty()), "{listed:?}");
    let delete = DeletePolicyRequest { id: "newer".into(), expected_revision: 0 };
    policies(&plane).delete(with(ADMIN_TOKEN, delete)).await.unwrap();
    assert!(may_publish(&plane, &mira).await);
}
