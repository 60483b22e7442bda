//! What a probe of the repository means: who on the node, and which service, which they may reach.

use std::collections::BTreeSet;

use crate::{
    artifact::{Check, Probe},
    finding::{Located, Place},
    names::{ClusterName, NameError},
    repo::{CheckSpec, Named, NodeSpec, ProbeSpec, Repo, Scope, ServiceSpec},
    reserved::NODE_ROLE,
    spiffe::{SpiffeId, Subject},
};

/// Why a probe could never hold.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) at: Place,
    pub(crate) why: String,
}

/// Somebody on a node who dials.
struct Initiator<'r> {
    subject: Subject,
    roles: Vec<&'r str>,
}

pub(crate) fn resolve(
    repo: &Repo,
    cluster: &ClusterName,
    node: &Named<NodeSpec>,
    spec: &ProbeSpec,
) -> Result<Probe, Fault> {
    let name = spec.name.value.clone();
    let (initiator, target) = match &spec.check {
        CheckSpec::Url(url) => return Ok(Probe { name, check: Check::Url(url.value.clone()) }),
        CheckSpec::Tunnel { initiator, target } => (initiator, target),
    };
    let who = who(repo, &node.name.value, initiator)?;
    let (service, subject) = service(repo, target)?;
    let groups: BTreeSet<&str> = service.spec.groups.iter().map(|group| group.value.as_str()).collect();
    let allowed = who.roles.iter().filter_map(|role| repo.role(role)).flat_map(|role| &role.spec.allow);
    if !allowed.into_iter().any(|group| groups.contains(group.value.as_str())) {
        let why = format!("{} may not reach {subject}: no role allows it, so that the probe never holds", who.subject);
        return Err(Fault { at: target.at.clone(), why });
    }
    let id = |subject| SpiffeId::new(cluster, subject);
    Ok(Probe { name, check: Check::Tunnel { initiator: id(who.subject), target: id(subject) } })
}

/// Users, services and nodes share one namespace.
fn who<'r>(repo: &'r Repo, node: &str, name: &Located<String>) -> Result<Initiator<'r>, Fault> {
    let wrong = |why: String| Fault { at: name.at.clone(), why };
    let unusable = |error: NameError| wrong(error.to_string());
    let text = name.value.as_str();
    let names = |roles: &'r [Located<String>]| roles.iter().map(|role| role.value.as_str()).collect();
    if text == node {
        return Ok(Initiator { subject: Subject::Node(text.parse().map_err(unusable)?), roles: vec![NODE_ROLE] });
    }
    let mut users = repo.users.iter();
    let devices = |user: &Named<crate::repo::UserSpec>| user.spec.nodes.iter().any(|device| device.node.value == node);
    if let Some(user) = users.find(|user| user.name.value == text && devices(user)) {
        let subject = Subject::User(text.parse().map_err(unusable)?);
        return Ok(Initiator { subject, roles: names(&user.spec.roles) });
    }
    let here = |service: &&Named<ServiceSpec>| service.spec.at.iter().any(|host| host.value == node);
    match repo.service(text).filter(here) {
        Some(service) => {
            let host = (service.spec.scope == Scope::Node).then(|| node.parse()).transpose().map_err(unusable)?;
            let subject = Subject::Service { node: host, service: text.parse().map_err(unusable)? };
            Ok(Initiator { subject, roles: names(&service.spec.roles) })
        }
        None => Err(wrong(format!("there is no user and no service \"{text}\" on node \"{node}\""))),
    }
}

/// `SERVICE`, or `NODE/SERVICE` where each node has its own.
fn service<'r>(repo: &'r Repo, target: &Located<String>) -> Result<(&'r Named<ServiceSpec>, Subject), Fault> {
    let wrong = |why: String| Fault { at: target.at.clone(), why };
    let (host, name) = match target.value.split_once('/') {
        Some((host, name)) => (Some(host), name),
        None => (None, target.value.as_str()),
    };
    let found = repo.service(name).ok_or_else(|| wrong(format!("there is no service \"{name}\"")))?;
    match (host, found.spec.scope) {
        (None, Scope::Node) => return Err(wrong(format!("\"{name}\" is another one on each node: write NODE/{name}"))),
        (Some(_), Scope::Cluster) => {
            return Err(wrong(format!("\"{name}\" is one service of the cluster: write {name}")));
        }
        (Some(host), Scope::Node) if !found.spec.at.iter().any(|at| at.value == host) => {
            return Err(wrong(format!("service \"{name}\" is not on node \"{host}\"")));
        }
        (None, Scope::Cluster) | (Some(_), Scope::Node) => {}
    }
    let subject = format!("service/{}", target.value)
        .parse()
        .map_err(|error: crate::spiffe::SpiffeError| wrong(error.to_string()))?;
    Ok((found, subject))
}
