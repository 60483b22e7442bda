use time::{Duration, OffsetDateTime};

use crate::{
    enrollment::{FILE, Log},
    finding::{Findings, Located, Place, Rule},
    names::ClusterName,
    repo::{Repo, Scope},
    spiffe::{SpiffeId, Subject},
};

/// How long before its end a certificate is mentioned.
pub(super) const NEAR: Duration = Duration::days(14);

/// V4, and V22 for principals.
pub(super) fn check(repo: &Repo, now: OffsetDateTime, findings: &mut Findings) {
    let Some(cluster) = cluster_name(repo) else { return };
    let expected = principals(repo);
    let Some(log) = &repo.log else {
        let message = format!(
            "there is no {FILE}: none of the {} principals has a certificate; `florctl ca issue --missing` makes them",
            expected.len()
        );
        findings.error(Rule::V4, &Place::file(FILE), message);
        return;
    };
    signatures(repo, &cluster, log, findings);
    for (subject, name) in expected {
        let id = SpiffeId::new(&cluster, subject.clone());
        // Rule V25 says what to do about them, and it is not a certificate.
        if repo.is_revoked(&id) {
            continue;
        }
        let Some(event) = log.lasting(&id) else {
            let message =
                format!("{subject} has no valid certificate in {FILE}; `florctl ca issue --missing` makes one");
            findings.error(Rule::V4, &name.at, message);
            continue;
        };
        let left = event.not_after - now;
        if left <= Duration::ZERO {
            let message = format!("the certificate of {subject} has expired; `florctl ca issue --missing` renews it");
            findings.warning(Rule::V22, &name.at, message);
        } else if left < NEAR {
            let (days, words) = (left.whole_days(), holder(&subject));
            let message =
                format!("the certificate of {subject} ends in {days} days; `florctl ca issue {words}` renews it");
            findings.warning(Rule::V22, &name.at, message);
        }
    }
}

/// Whose certificate, in the words of `florctl ca issue`.
pub(super) fn holder(subject: &Subject) -> String {
    match subject {
        Subject::User(name) => format!("--kind user --name {name}"),
        Subject::Service { node: None, service } => format!("--kind service --name {service}"),
        Subject::Service { node: Some(node), service } => format!("--kind service --name {service} --on {node}"),
        Subject::Node(name) => format!("--kind node --name {name}"),
        Subject::Signer(name) => format!("--kind signer --name {name}"),
    }
}

/// Of signers who are none any more nothing is known, and their lines are as good as those that nobody signed.
fn signatures(repo: &Repo, cluster: &ClusterName, log: &Log, findings: &mut Findings) {
    let signers = repo.cluster.iter().flat_map(|cluster| &cluster.signers);
    let keys: Vec<_> = signers
        .filter_map(|signer| {
            let name = signer.name.value.parse().ok()?;
            Some((SpiffeId::signer(cluster, &name), signer.certificate.as_ref()?.public_key?))
        })
        .collect();
    for event in log.events() {
        let key = event.signature.as_ref().and_then(|signature| keys.iter().find(|(id, _)| *id == signature.key_id));
        if key.is_some_and(|(_, key)| !event.is_signed_by(key)) {
            let message = format!("the signature of the line with seq {} is wrong: it was changed", event.seq);
            findings.error(Rule::V4, &Place::file(FILE), message);
        }
    }
}

pub(crate) fn cluster_name(repo: &Repo) -> Option<ClusterName> {
    repo.cluster.as_ref().and_then(|cluster| cluster.name.as_ref()).and_then(|name| name.value.parse().ok())
}

/// Every principal that needs a certificate. Those with broken names are left to rule V14.
pub fn principals(repo: &Repo) -> Vec<(Subject, &Located<String>)> {
    let mut out = Vec::new();
    for node in &repo.nodes {
        if let Ok(name) = node.name.value.parse() {
            out.push((Subject::Node(name), &node.name));
        }
    }
    for service in &repo.services {
        let Ok(name) = service.name.value.parse::<crate::names::ServiceName>() else { continue };
        match service.spec.scope {
            Scope::Cluster => out.push((Subject::Service { node: None, service: name }, &service.name)),
            Scope::Node => {
                for host in service.spec.at.iter().filter_map(|host| host.value.parse().ok()) {
                    out.push((Subject::Service { node: Some(host), service: name.clone() }, &service.name));
                }
            }
        }
    }
    for user in &repo.users {
        if let Ok(name) = user.name.value.parse() {
            out.push((Subject::User(name), &user.name));
        }
    }
    out
}
