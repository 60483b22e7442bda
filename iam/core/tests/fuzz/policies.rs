use std::{collections::BTreeMap, sync::Arc};

use iam_core::policy::{Caller, Circumstances, Compiler, Policies, Role, Target};

use crate::mutate::rounds;

const TEXTS: &[&str] = &[
    "permit (principal == User::\"mira\", action == Action::\"config.Publish\", resource is Versions);",
    "forbid (principal in Group::\"ops\", action in [Action::\"lock.Use\", Action::\"lock.Read\"], resource)
     when { context has source && context.source.isInRange(ip(\"10.0.0.0/8\")) && context.time < 5 }
     unless { principal.name like \"e*\" || resource == Lock::\"default\" };",
    "@note(\"x\") permit (principal is Node in Group::\"edge\", action, resource is Node) when { principal == resource };",
];
const WORDS: &[&[u8]] = &[
    b"permit",
    b"forbid",
    b"principal",
    b"action",
    b"resource",
    b"(",
    b")",
    b"{",
    b"}",
    b"&&",
    b"||",
    b"!",
    b"==",
    b"in",
    b"is ",
    b"has ",
    b"like ",
    b"when ",
    b"unless ",
    b"if true then false else ",
    b"context",
    b".time",
    b"[",
    b"]",
    b";",
    b"\"",
    b"\\u{0}",
    b"::",
    b"9223372036854775807",
    b"-",
    b"*",
    b"?principal",
    b"//",
    b"((((((((",
    b"!!!!!!!!",
    b"@id(\"",
    b".contains(",
    b"ip(\"::/0\")",
    b"decimal(\"1.0\")",
];

#[test]
fn a_policy_compiles_or_says_what_is_wrong_and_then_decides() {
    let compiler = Arc::new(Compiler::new().unwrap());
    let groups = ["ops".to_owned(), "edge".to_owned()];
    let circumstances = Circumstances { source: Some("10.1.2.3".parse().unwrap()), time_ms: 3 };
    rounds(|dice| {
        let text = *dice.one(TEXTS);
        let text = dice.change(text.as_bytes(), WORDS);
        let text = String::from_utf8_lossy(&text).into_owned();
        let compiled = match compiler.compile("p", &text) {
            Ok(compiled) => Arc::new(compiled),
            Err(error) => return assert!(!error.to_string().is_empty()),
        };
        let policies = Policies::new(Arc::clone(&compiler), [compiled], BTreeMap::new()).unwrap();
        let caller = Caller { roles: &[Role::Node], groups: &groups, ..Caller::of("node", "pier2") };
        for (action, resource) in [("lock.Use", "lock/default"), ("config.ReportStatus", "node/pier2")] {
            let target = Target::of(resource);
            let verdict = policies.decide(caller, action, target, circumstances);
            let (explained, candidates) = policies.explain(caller, action, target, circumstances).unwrap();
            assert_eq!(verdict, explained, "{text}");
            // What decided is among what applies.
            let deciding = candidates.iter().find(|candidate| Some(&candidate.id) == verdict.policy.as_ref());
            assert!(verdict.policy.is_none() || deciding.is_some_and(|deciding| deciding.applies), "{text}");
        }
    });
}
