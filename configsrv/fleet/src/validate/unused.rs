use std::collections::HashSet;

use crate::{
    finding::{Findings, Located, Rule},
    repo::Repo,
    reserved::{NODE_ROLE, OPERATOR_ROLE, READ_GROUP, WRITE_GROUP},
};

/// V21.
pub(super) fn check(repo: &Repo, findings: &mut Findings) {
    let held = set(repo.users.iter().flat_map(|user| &user.spec.roles))
        .union(&set(repo.services.iter().flat_map(|service| &service.spec.roles)))
        .copied()
        .collect::<HashSet<_>>();
    for role in &repo.roles {
        let name = role.name.value.as_str();
        if !held.contains(name) && name != NODE_ROLE && name != OPERATOR_ROLE {
            findings.warning(Rule::V21, &role.name.at, format!("nobody holds the role \"{name}\""));
        }
    }
    let allowed = set(repo.roles.iter().flat_map(|role| &role.spec.allow));
    let carried = set(repo.services.iter().flat_map(|service| &service.spec.groups));
    for group in &repo.groups {
        let name = group.value.as_str();
        if name == READ_GROUP || name == WRITE_GROUP {
            continue;
        }
        if !carried.contains(name) {
            findings.warning(Rule::V21, &group.at, format!("no service is in the group \"{name}\""));
        } else if !allowed.contains(name) {
            findings.warning(Rule::V21, &group.at, format!("no role allows the group \"{name}\""));
        }
    }
    for user in repo.users.iter().filter(|user| user.spec.nodes.is_empty()) {
        let message = format!("user \"{}\" has no node to act from", user.name.value);
        findings.warning(Rule::V21, &user.name.at, message);
    }
}

fn set<'r>(names: impl Iterator<Item = &'r Located<String>>) -> HashSet<&'r str> {
    names.map(|name| name.value.as_str()).collect()
}
