use crate::{
    finding::{Findings, Rule},
    repo::Repo,
    spiffe::SpiffeId,
};

use super::enrollment::{cluster_name, principals};

/// V25.
pub(super) fn check(repo: &Repo, findings: &mut Findings) {
    let (Some(cluster), Some(lane)) = (cluster_name(repo), &repo.revocations) else { return };
    let revocations = lane.revocations();
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
}
