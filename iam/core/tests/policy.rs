//! What the built-in roles may do, and what broken policies cannot do.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::{collections::BTreeMap, sync::Arc};

use iam_core::{
    Scope,
    policy::{
        Caller, Candidate, Circumstances, Clause, Compiler, Effect, Policies, PolicyError, Role, Target, Verdict,
    },
};

const HERE: &str = "10.0.0.7";

fn circumstances() -> Circumstances {
    Circumstances { source: Some(HERE.parse().unwrap()), time_ms: 1_800_000_000_000 }
}

fn decide(policies: &Policies, kind: &str, roles: &[Role], action: &str, resource: &str) -> Verdict {
    let caller = Caller { roles, ..Caller::of(kind, "pier2") };
    policies.decide(caller, action, Target::of(resource), circumstances())
}

fn all(texts: &[(&str, &str)]) -> Result<Policies, PolicyError> {
    let compiler = Arc::new(Compiler::new()?);
    let compiled = texts.iter().map(|(id, text)| Ok(Arc::new(compiler.compile(id, text)?)));
    let compiled = compiled.collect::<Result<Vec<_>, PolicyError>>()?;
    Policies::new(compiler, compiled, BTreeMap::new())
}

fn builtin() -> Policies {
    all(&[]).unwrap()
}

fn custom(text: &str) -> Result<Policies, PolicyError> {
    all(&[("custom", text)])
}

#[test]
fn roles_may_what_they_are_for_and_nothing_else() {
    let policies = builtin();
    let table = [
        ("user", Role::Admin, "iam.Admin", "iam/principals", true),
        ("user", Role::Admin, "future.Action", "x/y", true),
        ("user", Role::Operator, "config.Publish", "versions/*", true),
        ("user", Role::Operator, "lock.Admin", "lock/default", true),
        ("user", Role::Operator, "iam.Admin", "iam/principals", false),
        ("user", Role::Operator, "kv.Write", "keys/*", false),
        ("user", Role::Auditor, "history.Read", "history/*", true),
        ("user", Role::Auditor, "config.Publish", "versions/*", false),
        ("user", Role::Reader, "config.ReadFleet", "nodes/*", true),
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
        ("node", Role::Node, "config.ReadFleet", "nodes/*", false),
        ("user", Role::Node, "config.ReadArtifact", "node/pier2", false),
        ("ghost", Role::Admin, "cluster.Read", "cluster/*", false),
    ];
    for (kind, role, action, resource, allowed) in table {
        let verdict = decide(&policies, kind, &[role], action, resource);
        assert_eq!(verdict.allowed, allowed, "{kind} {role} {action} {resource}: {verdict:?}");
    }
    let nobody = decide(&policies, "user", &[], "cluster.Read", "cluster/*");
    assert_eq!(nobody, Verdict { lasting: true, ..Verdict::default() }, "default deny");
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

/// A stored policy that a newer release understands and this one does not might forbid.
#[test]
fn a_policy_that_does_not_compile_denies() {
    let compiler = Arc::new(Compiler::new().unwrap());
    let policies =
        Policies::new(compiler, [], BTreeMap::from([("x".to_owned(), "policy x: what is this?".to_owned())])).unwrap();
    let verdict = decide(&policies, "user", &[Role::Operator], "config.Publish", "versions/*");
    assert_eq!((verdict.allowed, verdict.errors.as_slice()), (false, &["policy x: what is this?".to_owned()][..]));
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
    let elsewhere = Caller::of("service", "ci");
    assert!(!policies.decide(elsewhere, "kv.Read", Target::of("keys/*"), Circumstances::default()).allowed);
}

/// Spec §8: "`INVALID_ARGUMENT` with line, column and Cedar's message".
#[test]
fn policies_are_checked_before_they_count() {
    let table = [
        ("permit (principal, action, resource", (1, 36), "unexpected end of input"),
        ("permit (\n  principal,\n  action == Action::\"kv.Red\",\n  resource\n);", (3, 13), "kv.Red"),
        ("permit (principal, action, resource is Lock)\nwhen { resource.colour == \"red\" };", (2, 8), "colour"),
        ("permit (principal, action, resource) when { context.source.isLoopback() };", (1, 45), "source"),
        ("permit (principal, action == Action::\"lock.Use\", resource is Node);", (1, 1), "policy is impossible"),
        ("permit (principal, action, resource); permit (principal, action, resource);", (1, 39), ""),
        ("", (1, 1), "unexpected end"),
    ];
    for (text, at, said) in table {
        match custom(text) {
            Err(PolicyError::Invalid { id, line, column, message }) => {
                assert!(id == "custom" && message.contains(said), "{text}: {message}");
                assert_eq!((line, column), at, "{text}: {message}");
            }
            other => panic!("{text}: {:?}", other.err()),
        }
    }
    let compiler = Compiler::new().unwrap();
    let taken = compiler.compile("builtin-admin", "permit (principal, action, resource);").unwrap_err();
    assert!(taken.to_string().contains("are taken"), "{taken}");
    let long = format!("permit (principal, action, resource); // {}", "x".repeat(20_000));
    assert!(compiler.compile("long", &long).unwrap_err().to_string().contains("at most 16384 bytes"));
}

/// Each kind of scope finds the calls that it is about, and no other.
#[test]
fn every_scope_is_found() {
    let groups = ["ops".to_owned()];
    let table = [
        ("principal", "action", "resource"),
        ("principal == User::\"mira\"", "action", "resource"),
        ("principal in Group::\"ops\"", "action", "resource"),
        ("principal in Role::\"reader\"", "action", "resource"),
        ("principal is User", "action", "resource"),
        ("principal is User in Group::\"ops\"", "action", "resource"),
        ("principal", "action == Action::\"lock.Use\"", "resource"),
        ("principal", "action in [Action::\"lock.Read\", Action::\"lock.Use\"]", "resource"),
        ("principal", "action", "resource == Lock::\"default\""),
        ("principal", "action", "resource is Lock"),
        ("principal is User", "action == Action::\"lock.Use\"", "resource is Lock"),
    ];
    let mira = Caller { roles: &[Role::Reader], groups: &groups, ..Caller::of("user", "mira") };
    let ci = Caller::of("service", "ci");
    for (principal, action, resource) in table {
        let policies = custom(&format!("permit ({principal}, {action}, {resource});")).unwrap();
        let may =
            |caller, action, resource| policies.decide(caller, action, Target::of(resource), circumstances()).allowed;
        let scope = format!("{principal}, {action}, {resource}");
        assert!(may(mira, "lock.Use", "lock/default"), "{scope}");
        assert_eq!(may(ci, "lock.Use", "lock/default"), principal == "principal", "{scope}");
        assert_eq!(may(mira, "lock.Admin", "lock/default"), action == "action", "{scope}");
        assert_eq!(may(mira, "history.Migrate", "history/*"), action == "action" && resource == "resource", "{scope}");
    }
}

#[test]
fn what_is_acted_upon_may_be_a_caller_with_roles() {
    let policies = all(&[
        ("helpdesk", "permit (principal, action == Action::\"iam.IssueToken\", resource is User);"),
        ("not-admins", "forbid (principal, action == Action::\"iam.IssueToken\", resource in Role::\"admin\");"),
    ]);
    let policies = policies.unwrap();
    let mira = Caller::of("user", "mira");
    let may = |roles| {
        let target = Target { roles, ..Target::of("user/boss") };
        policies.decide(mira, "iam.IssueToken", target, circumstances()).allowed
    };
    assert!(may(&[Role::Reader]) && !may(&[Role::Reader, Role::Admin]));
}

/// The schema that people write against: both ends of a decision say where they are.
#[test]
fn policies_compare_organisations() {
    let policies = custom(
        "permit (principal, action == Action::\"iam.Read\", resource is User)
         when { principal has org && resource has org && principal.org == resource.org }
         unless { principal has project && !(resource has project && principal.project == resource.project) };",
    );
    let policies = policies.unwrap();
    let scope = |text: &str| text.parse::<Scope>().unwrap();
    let may = |own: Option<&Scope>, other: Option<&Scope>| {
        let caller = Caller { scope: own, ..Caller::of("user", "mira") };
        let target = Target { scope: other, ..Target::of("user/noor") };
        let verdict = policies.decide(caller, "iam.Read", target, circumstances());
        assert!(verdict.errors.is_empty(), "{verdict:?}");
        verdict.allowed
    };
    let (acme, web, zeta) = (scope("org/acme"), scope("org/acme/project/web"), scope("org/zeta"));
    assert!(may(Some(&acme), Some(&acme)) && may(Some(&acme), Some(&web)) && may(Some(&web), Some(&web)));
    assert!(!may(Some(&web), Some(&acme)) && !may(Some(&zeta), Some(&acme)));
    assert!(!may(None, Some(&acme)) && !may(Some(&acme), None) && !may(Some(&Scope::System), Some(&Scope::System)));
    assert!(
        custom("permit (principal, action, resource) when { principal.org == \"acme\" };").is_err(),
        "not all have it"
    );
}

/// Roles that count where the target is count like any others there, but for the admins' own path.
#[test]
fn an_admin_within_a_scope_is_bound_by_what_policies_forbid() {
    let text = "forbid (principal, action == Action::\"iam.IssueToken\", resource);";
    let (policies, broken) = (custom(text).unwrap(), BTreeMap::from([("x".to_owned(), "what is this?".to_owned())]));
    let broken = Policies::new(Arc::new(Compiler::new().unwrap()), [], broken).unwrap();
    let within = Caller { scoped: &[Role::Admin], ..Caller::of("user", "mira") };
    let above = Caller { roles: &[Role::Admin], ..Caller::of("user", "mira") };
    let may = |policies: &Policies, caller, action| {
        policies.decide(caller, action, Target::of("user/noor"), circumstances()).allowed
    };
    assert!(may(&policies, within, "iam.Admin") && may(&policies, above, "iam.Admin"));
    assert!(!may(&policies, within, "iam.IssueToken") && may(&policies, above, "iam.IssueToken"));
    assert!(!may(&broken, within, "iam.Admin") && may(&broken, above, "iam.Admin"));
    assert!(policies.forbids(within, "iam.IssueToken", Target::of("user/noor"), circumstances()).is_some());
}

/// Only what time cannot change may be remembered, however it is written.
#[test]
fn what_speaks_of_time_does_not_last() {
    let policies = all(&[
        ("night", "forbid (principal, action == Action::\"config.Publish\", resource) when { context.time < 5 };"),
        (
            "hidden",
            "forbid (principal, action == Action::\"lock.Admin\", resource) when { context[\"\\u{74}ime\"] < 5 };",
        ),
    ]);
    let policies = policies.unwrap();
    let lasts = |action, resource| decide(&policies, "user", &[Role::Operator], action, resource).lasting;
    assert!(lasts("cluster.Read", "cluster/x") && lasts("iam.Admin", "iam/*"));
    assert!(!lasts("config.Publish", "versions/*") && !lasts("lock.Admin", "lock/default"));
    assert!(decide(&policies, "user", &[Role::Admin], "config.Publish", "versions/*").lasting, "admins are above them");
}

#[test]
fn what_bindings_permit_policies_forbid() {
    let texts = [
        ("mira", "forbid (principal == User::\"mira\", action, resource);"),
        ("night", "forbid (principal, action == Action::\"kv.Write\", resource) when { context.time < 5 };"),
    ];
    let policies = all(&texts).unwrap();
    let forbids = |name, roles: &[Role], action, time_ms| {
        let caller = Caller { roles, ..Caller::of("user", name) };
        policies.forbids(caller, action, Target::of("keys/*"), Circumstances { source: None, time_ms })
    };
    assert_eq!(forbids("mira", &[], "kv.Read", 9).as_deref(), Some("forbidden by mira"));
    assert_eq!(forbids("mira", &[Role::Admin], "kv.Read", 9), None, "admins are above policies");
    assert_eq!(forbids("noor", &[], "kv.Read", 1), None);
    assert_eq!(forbids("noor", &[], "kv.Write", 1).as_deref(), Some("forbidden by night"));
    assert_eq!(forbids("noor", &[], "kv.Write", 9), None);
    assert_eq!(builtin().forbids(Caller::of("user", "mira"), "kv.Read", Target::of("keys/*"), circumstances()), None);
}

/// As deep as texts may go, on a stack as small as a worker's; and no deeper.
#[test]
fn deep_texts_end_nobody() {
    let text = |condition: &str| format!("forbid (principal, action, resource) when {{ {condition} }};");
    for (open, close) in [("(", ")"), ("[", "].contains(true)"), ("{a: ", "}.a"), ("if true then ", " else false")] {
        let deep = format!("{}true{}", open.repeat(4000), close.repeat(4000));
        let short = deep.get(..deep.len().min(16_000)).unwrap();
        assert!(matches!(custom(&text(short)), Err(PolicyError::Invalid { .. })), "{open}");
    }
    let wide = format!("true{}", " && true".repeat(2_000));
    let verdict = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        let policies = custom(&text(&wide)).unwrap();
        decide(&policies, "user", &[Role::Operator], "config.Publish", "versions/*")
    });
    // Whether it can be evaluated or not: it forbids.
    assert!(!verdict.unwrap().join().unwrap().allowed);
}

#[test]
fn what_is_acted_upon_may_be_a_caller_in_groups() {
    let text = "permit (principal, action == Action::\"iam.IssueToken\", resource in Group::\"robots\");";
    let policies = custom(text).unwrap();
    let mira = Caller::of("user", "mira");
    let robots = ["robots".to_owned()];
    let may = |groups| {
        let target = Target { groups, ..Target::of("service/ci") };
        policies.decide(mira, "iam.IssueToken", target, circumstances()).allowed
    };
    assert!(may(&robots) && !may(&[]));
    let own = Caller { groups: &robots, ..Caller::of("service", "ci") };
    assert!(policies.decide(own, "iam.IssueToken", Target::of("service/ci"), circumstances()).allowed);
}

/// Where policies are many, a decision looks at those that can say anything.
#[test]
fn other_peoples_policies_are_not_looked_at() {
    let texts: Vec<_> = (0..2_000)
        .map(|number| {
            let text = format!("permit (principal == User::\"u{number}\", action == Action::\"kv.Read\", resource);");
            (format!("p{number}"), text)
        })
        .collect();
    let texts: Vec<_> = texts.iter().map(|(id, text)| (id.as_str(), text.as_str())).collect();
    let policies = all(&texts).unwrap();
    let caller = Caller { roles: &[Role::Operator], ..Caller::of("user", "u77") };
    let (verdict, candidates) = policies.explain(caller, "kv.Read", Target::of("keys/*"), circumstances()).unwrap();
    assert_eq!((verdict.allowed, verdict.policy.as_deref()), (true, Some("p77")));
    assert_eq!(candidates.iter().map(|candidate| candidate.id.as_str()).collect::<Vec<_>>(), ["p77", "builtin-admin"]);
}

fn clause(word: &str, text: &str, holds: Result<bool, &str>) -> Clause {
    Clause { word: word.into(), text: text.into(), holds: holds.map_err(str::to_owned) }
}

/// Also cedar#2522: which clause it was.
#[test]
fn a_decision_is_explained_clause_by_clause() {
    let policies = all(&[
        (
            "office",
            "permit (principal in Group::\"ops\", action == Action::\"config.Publish\", resource is Versions)
             when { context has source && context.source.isInRange(ip(\"10.1.0.0/16\")) && context.time > 5 }
             unless { principal.name == \"eve\" };",
        ),
        ("frozen", "forbid (principal, action == Action::\"config.Publish\", resource) when { context.time < 5 };"),
        ("elsewhere", "permit (principal == User::\"eve\", action, resource);"),
    ])
    .unwrap();
    let groups = ["ops".to_owned()];
    let ask = |name, source: &str, time_ms| {
        let caller = Caller { groups: &groups, ..Caller::of("user", name) };
        let circumstances = Circumstances { source: Some(source.parse().unwrap()), time_ms };
        policies.explain(caller, "config.Publish", Target::of("versions/*"), circumstances).unwrap()
    };
    let find = |candidates: &[Candidate], id: &str| candidates.iter().find(|found| found.id == id).cloned().unwrap();

    let (verdict, candidates) = ask("mira", "10.1.2.3", 9);
    assert_eq!((verdict.allowed, verdict.policy.as_deref()), (true, Some("office")));
    assert_eq!(candidates[0].id, "office");
    let office = find(&candidates, "office");
    assert!(office.applies && office.effect == Effect::Permit && office.text.contains("isInRange"));
    assert!(candidates.iter().all(|candidate| candidate.id != "elsewhere"));

    let (verdict, candidates) = ask("mira", HERE, 9);
    assert_eq!((verdict.allowed, verdict.policy), (false, None));
    let near = find(&candidates, "office");
    assert!(near.in_scope && !near.applies);
    let expected = [
        clause("when", "context has source", Ok(true)),
        clause("when", "context.source.isInRange(ip(\"10.1.0.0/16\"))", Ok(false)),
    ];
    assert_eq!(near.clauses, expected);

    let (verdict, candidates) = ask("mira", "10.1.2.3", 1);
    assert_eq!((verdict.allowed, verdict.policy.as_deref()), (false, Some("frozen")));
    assert_eq!(find(&candidates, "frozen").clauses, [clause("when", "context.time < 5", Ok(true))]);

    let (_, candidates) = ask("eve", "10.1.2.3", 9);
    let last = find(&candidates, "office").clauses.pop().unwrap();
    assert_eq!(last, clause("unless", "principal.name == \"eve\"", Ok(false)));
}

#[test]
fn a_clause_that_errs_says_so() {
    let text = "forbid (principal, action, resource) when { context.time + 9223372036854775807 > 0 };";
    let policies = custom(text).unwrap();
    let caller = Caller { roles: &[Role::Operator], ..Caller::of("user", "mira") };
    let (verdict, candidates) =
        policies.explain(caller, "config.Publish", Target::of("versions/*"), circumstances()).unwrap();
    assert!(!verdict.allowed && verdict.errors.len() == 1);
    let custom = candidates.iter().find(|candidate| candidate.id == "custom").unwrap();
    assert!(custom.clauses[0].holds.as_ref().is_err_and(|reason| reason.contains("overflow")), "{custom:?}");
    assert!(!custom.applies);
}
