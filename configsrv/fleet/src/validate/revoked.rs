use crate::{
    finding::{Finding, Findings, Rule},
    repo::Repo,
    revocation::Revocations,
    spiffe::SpiffeId,
};

use super::enrollment::{cluster_name, principals};

/// V25.
pub(super) fn check(repo: &Repo, findings: &mut Findings) {
    if let Some(lane) = &repo.revocations {
        findings.extend(&revoked(repo, lane.revocations()));
    }
}

/// V25 for any revocations: the servers may have later ones than the repository.
pub fn revoked(repo: &Repo, revocations: &Revocations) -> Vec<Finding> {
    let mut findings = Findings::default();
    let Some(cluster) = cluster_name(repo) else { return Vec::new() };
    for (subject, name) in principals(repo) {
        let id = SpiffeId::new(&cluster, subject);
        if revocations.revoked.contains(&id) {
            let message = format!(
                "{} is revoked (sequence {}): take it out; `florctl revoke --settle` lets a later version name it again",
                id.subject(),
                revocations.sequence
            );
            findings.error(Rule::V25, &name.at, message);
        }
    }
    findings.into_sorted()
}
