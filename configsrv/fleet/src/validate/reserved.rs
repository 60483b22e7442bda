use crate::{
    finding::{Findings, Located, Rule},
    repo::{Named, Repo, Scope, ServiceSpec},
    reserved::{CONFIG_PUBLISHER, CONFIG_SERVER, NODE_ROLE, OPERATOR_ROLE, READ_GROUP, WRITE_GROUP},
};

/// V6, V7, V8.
pub(super) fn check(repo: &Repo, findings: &mut Findings) {
    let server = distribution(repo, CONFIG_SERVER, READ_GROUP, findings);
    let publisher = distribution(repo, CONFIG_PUBLISHER, WRITE_GROUP, findings);
    if let (Some(server), Some(publisher)) = (server, publisher) {
        let shared = server.spec.at.iter().any(|host| publisher.spec.at.iter().any(|other| other.value == host.value));
        if !shared {
            let message = format!("{CONFIG_PUBLISHER} and {CONFIG_SERVER} have no node in common; they are one server");
            findings.error(Rule::V6, &publisher.name.at, message);
        }
    }
    for group in [READ_GROUP, WRITE_GROUP] {
        if !repo.has_group(group) {
            findings.error(
                Rule::V7,
                &repo.place(),
                format!("the reserved group \"{group}\" is missing; add it to groups"),
            );
        }
    }
    canonical_role(repo, NODE_ROLE, READ_GROUP, findings);
    canonical_role(repo, OPERATOR_ROLE, WRITE_GROUP, findings);
    if !repo.users.iter().any(|user| names(&user.spec.roles, OPERATOR_ROLE)) {
        let message = format!("no user holds the role \"{OPERATOR_ROLE}\", so nobody could publish");
        findings.error(Rule::V8, &repo.place(), message);
    }
}

fn names(list: &[Located<String>], name: &str) -> bool {
    list.iter().any(|item| item.value == name)
}

fn distribution<'r>(
    repo: &'r Repo,
    name: &str,
    group: &str,
    findings: &mut Findings,
) -> Option<&'r Named<ServiceSpec>> {
    let Some(service) = repo.service(name) else {
        findings.error(Rule::V6, &repo.place(), format!("the service \"{name}\" is missing"));
        return None;
    };
    let at = &service.name.at;
    if !names(&service.spec.groups, group) {
        findings.error(Rule::V6, at, format!("the service \"{name}\" is not in the group \"{group}\""));
    }
    if service.spec.scope != Scope::Cluster {
        findings.error(Rule::V6, at, format!("the service \"{name}\" is one for the cluster: remove scope: node"));
    }
    let hosts: Vec<_> = service.spec.at.iter().filter_map(|host| repo.node(&host.value)).collect();
    let reachable = hosts.iter().any(|node| node.spec.addresses.iter().any(crate::repo::Address::is_reachable));
    if !hosts.is_empty() && !reachable {
        let message = format!("no host of \"{name}\" has an address that the Internet reaches");
        findings.error(Rule::V6, at, message);
    }
    Some(service)
}

fn canonical_role(repo: &Repo, role: &str, group: &str, findings: &mut Findings) {
    let Some(found) = repo.role(role) else {
        let message = format!("the reserved role \"{role}\" is missing; add it with allow: [{group}]");
        findings.error(Rule::V7, &repo.place(), message);
        return;
    };
    let allow: Vec<&str> = found.spec.allow.iter().map(|group| group.value.as_str()).collect();
    if allow != [group] {
        let message = format!("the reserved role \"{role}\" allows exactly [{group}]; use a role of your own for more");
        findings.error(Rule::V7, &found.name.at, message);
    }
}
