use std::collections::HashSet;

use crate::{
    finding::{Findings, Located, Rule},
    repo::Repo,
};

/// V5, V10, V11.
pub(super) fn check(repo: &Repo, findings: &mut Findings) {
    let nodes: HashSet<&str> = repo.nodes.iter().map(|node| node.name.value.as_str()).collect();
    let groups: HashSet<&str> = repo.groups.iter().map(|group| group.value.as_str()).collect();
    let roles: HashSet<&str> = repo.roles.iter().map(|role| role.name.value.as_str()).collect();
    let mut known = |names: &[Located<String>], known: &HashSet<&str>, rule, kind: &str| {
        let mut seen = HashSet::new();
        for name in names {
            if !known.contains(name.value.as_str()) {
                findings.error(rule, &name.at, format!("there is no {kind} \"{}\"", name.value));
            } else if !seen.insert(name.value.as_str()) {
                findings.error(Rule::V16, &name.at, format!("{kind} \"{}\" is listed twice", name.value));
            }
        }
    };
    for service in &repo.services {
        known(&service.spec.at, &nodes, Rule::V5, "node");
        known(&service.spec.groups, &groups, Rule::V10, "group");
        known(&service.spec.roles, &roles, Rule::V10, "role");
    }
    for user in &repo.users {
        let devices: Vec<_> = user.spec.nodes.iter().map(|device| device.node.clone()).collect();
        known(&devices, &nodes, Rule::V5, "node");
        known(&user.spec.roles, &roles, Rule::V10, "role");
    }
    for role in &repo.roles {
        known(&role.spec.allow, &groups, Rule::V10, "group");
    }
    for service in &repo.services {
        let name = &service.name.value;
        match (&service.spec.socks5_proxy, service.spec.roles.first()) {
            (Some(proxy), None) => {
                let message = format!("service \"{name}\" has a proxy and no roles, so it could reach nothing");
                findings.error(Rule::V11, &proxy.at, message);
            }
            (None, Some(role)) => {
                let message = format!("service \"{name}\" has roles and no socks5_proxy to use them through");
                findings.error(Rule::V11, &role.at, message);
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
}
