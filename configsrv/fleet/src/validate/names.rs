use std::collections::HashMap;

use crate::{
    finding::{Findings, Located, Rule},
    names::{ClusterName, NodeName},
    repo::Repo,
    reserved::NOT_NAMES,
};

/// V3, V13, V14, V15.
pub(super) fn check(repo: &Repo, findings: &mut Findings) {
    if let Some(name) = repo.cluster.as_ref().and_then(|cluster| cluster.name.as_ref())
        && let Err(error) = name.value.parse::<ClusterName>()
    {
        findings.error(Rule::V14, &name.at, error.to_string());
    }
    let nodes: Vec<_> = repo.nodes.iter().map(|node| &node.name).collect();
    let services: Vec<_> = repo.services.iter().map(|service| &service.name).collect();
    let users: Vec<_> = repo.users.iter().map(|user| &user.name).collect();
    let roles: Vec<_> = repo.roles.iter().map(|role| &role.name).collect();
    let groups: Vec<_> = repo.groups.iter().collect();
    let signers: Vec<_> = repo.cluster.iter().flat_map(|cluster| &cluster.signers).map(|key| &key.name).collect();
    for (kind, names) in [
        ("node", &nodes),
        ("service", &services),
        ("user", &users),
        ("role", &roles),
        ("group", &groups),
        ("signer", &signers),
    ] {
        well_formed(kind, names, findings);
    }
    for node in &repo.nodes {
        let names: Vec<_> = node.spec.addresses.iter().map(|address| &address.name).collect();
        well_formed("address", &names, findings);
    }
    for (kind, names) in [("node", &nodes), ("service", &services), ("user", &users), ("signer", &signers)] {
        for name in names.iter().filter(|name| NOT_NAMES.contains(&name.value.as_str())) {
            findings.error(
                Rule::V13,
                &name.at,
                format!("\"{}\" is a reserved word and cannot name a {kind}", name.value),
            );
        }
    }
    one_namespace(&nodes, &services, &users, findings);
}

fn well_formed(kind: &str, names: &[&Located<String>], findings: &mut Findings) {
    let mut folded: HashMap<String, &Located<String>> = HashMap::new();
    for name in names {
        // All names have the same form.
        if let Err(error) = name.value.parse::<NodeName>() {
            findings.error(Rule::V14, &name.at, format!("{kind} {error}"));
        }
        if let Some(first) = folded.insert(name.value.to_lowercase(), name) {
            let rule = if first.value == name.value { Rule::V16 } else { Rule::V14 };
            findings.error(rule, &name.at, format!("{kind} \"{}\" is already defined in {}", name.value, first.at));
        }
    }
}

fn one_namespace(
    nodes: &[&Located<String>],
    services: &[&Located<String>],
    users: &[&Located<String>],
    findings: &mut Findings,
) {
    let mut taken: HashMap<&str, (&str, &Located<String>)> = HashMap::new();
    for (kind, names) in [("node", nodes), ("service", services), ("user", users)] {
        for name in names {
            let Some((other, first)) = taken.get(name.value.as_str()) else {
                taken.insert(&name.value, (kind, name));
                continue;
            };
            if *other == kind {
                continue;
            }
            let rule = if *other == "node" && kind == "service" { Rule::V15 } else { Rule::V3 };
            let why = if rule == Rule::V15 { ", so its host name would be ambiguous" } else { "" };
            let message = format!("\"{}\" already names a {other} in {}{why}", name.value, first.at);
            findings.error(rule, &name.at, message);
        }
    }
}
