//! What the built-in roles may do, and what broken policies cannot do.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use iam_core::policy::{Caller, Context, CustomPolicy, Policies, PolicyError, Role, Verdict};

fn decide(policies: &Policies, kind: &str, roles: &[Role], action: &str, resource: &str) -> Verdict {
    let caller = Caller { kind, name: "pier2", roles, groups: &[] };
    let context = Context { source: Some("10.0.0.7".parse().unwrap()), time_ms: 1_800_000_000_000 };
    policies.decide(caller, action, resource, context)
}

fn custom(text: &str) -> Result<Policies, PolicyError> {
    Policies::new(&[CustomPolicy { id: "custom".into(), text: text.into() }])
}

#[test]
fn roles_may_what_they_are_for_and_nothing_else() {
    let policies = Policies::new(&[]).unwrap();
    let table = [
        ("user", Role::Admin, "iam.Admin", "iam/principals", true),
        ("user", Role::Admin, "future.Action", "x/y", true),
        ("user", Role::Operator, "config.Publish", "versions/*", true),
        ("user", Role::Operator, "lock.Admin", "lock/default", true),
        ("user", Role::Operator, "iam.Admin", "iam/principals", false),
        ("user", Role::Operator, "kv.Write", "keys/*", false),
        ("user", Role::Auditor, "history.Read", "history/*", true),
        ("user", Role::Auditor, "config.Publish", "versions/*", false),
        ("user", Role::Reader, "config.ReadFleet", "fleet/*", true),
        ("user", Role::Reader, "kv.Write", "keys/*", false),
        ("user", Role::Reader, "future.Action", "x/y", false),
        ("node", Role::Node, "config.ReadArtifact", "node/pier2", true),
        ("node", Role::Node, "config.ReportStatus", "node/pier2", true),
        ("node", Role::Node, "config.ReadArtifact", "node/pier3", false),
        ("node", Role::Node, "config.ReadArtifact", "pier2", false),
        ("node", Role::Node, "lock.Use", "lock/default", true),
        ("node", Role::Node, "lock.Admin", "lock/default", false),
        ("service", Role::LockClient, "lock.Use", "lock/default", true),
        ("service", Role::LockClient, "lock.Use", "node/pier2", false),
        ("service", Role::LockClient, "lock.Admin", "lock/default", false),
        ("service", Role::LockClient, "lock.Read", "lock/*", false),
        ("service", Role::LockClient, "config.ReadArtifact", "node/pier2", false),
        ("node", Role::Node, "config.ReadFleet", "fleet/*", false),
        ("user", Role::Node, "config.ReadArtifact", "node/pier2", false),
        ("ghost", Role::Admin, "cluster.Read", "cluster/*", false),
    ];
    for (kind, role, action, resource, allowed) in table {
        let verdict = decide(&policies, kind, &[role], action, resource);
        assert_eq!(verdict.allowed, allowed, "{kind} {role} {action} {resource}: {verdict:?}");
    }
    let nobody = decide(&policies, "user", &[], "cluster.Read", "cluster/*");
    assert_eq!(nobody, Verdict::default(), "default deny");
}

#[test]
fn forbid_beats_permit_but_not_the_admin_path() {
    let policies = custom("forbid (principal, action, resource);").unwrap();
    let operator = decide(&policies, "user", &[Role::Operator], "config.Publish", "versions/*");
    assert!(!operator.allowed);
    assert_eq!(operator.policy.as_deref(), Some("custom"));
    let admin = decide(&policies, "user", &[Role::Admin], "iam.Admin", "iam/policies");
    assert_eq!(admin.policy.as_deref(), Some("builtin-admin"));
    assert!(admin.allowed);
}

#[test]
fn a_forbid_that_errs_denies() {
    let policies =
        custom("forbid (principal, action, resource) when { context.time + 9223372036854775807 > 0 };").unwrap();
    let verdict = decide(&policies, "user", &[Role::Operator], "config.Publish", "versions/*");
    assert!(!verdict.allowed && verdict.errors.len() == 1, "{verdict:?}");
    assert!(decide(&policies, "user", &[Role::Admin], "config.Publish", "versions/*").allowed);
}

#[test]
fn conditions_see_the_call() {
    let policies = custom(
        "permit (principal, action == Action::\"kv.Read\", resource)
         when { context has source && context.source.isInRange(ip(\"10.0.0.0/8\")) };",
    )
    .unwrap();
    assert!(decide(&policies, "service", &[], "kv.Read", "keys/*").allowed);
    let elsewhere = Caller { kind: "service", name: "ci", roles: &[], groups: &[] };
    assert!(!policies.decide(elsewhere, "kv.Read", "keys/*", Context::default()).allowed);
}

#[test]
fn policies_are_checked_before_they_count() {
    for text in [
        "permit (principal, action, resource",
        "permit (principal, action == Action::\"kv.Red\", resource);",
        "permit (principal, action, resource) when { resource.colour == \"red\" };",
        "permit (principal, action, resource) when { context.source.isLoopback() };",
    ] {
        match custom(text) {
            Err(PolicyError::Invalid { id, message }) => {
                assert!(id == "custom" && !message.is_empty(), "{id}: {message}");
            }
            other => panic!("{text}: {:?}", other.err()),
        }
    }
}
