use time::{Duration, OffsetDateTime};

use crate::{
    finding::{Findings, Rule},
    repo::Repo,
    spiffe::Subject,
};

use super::enrollment::{NEAR, holder};

/// The same for the authority: another one means that every node is enrolled again.
const AUTHORITY_NEAR: Duration = Duration::days(180);

/// V22 for the authority and the signers, whose certificates are in the repository. An end is no error: nodes and
/// servers know a signer by its key, and whoever has that key may not have the authority's, which renews.
pub(super) fn check(repo: &Repo, now: OffsetDateTime, findings: &mut Findings) {
    let Some(cluster) = &repo.cluster else { return };
    if let (Some(ca), Some(path)) = (&repo.ca, &cluster.ca_cert)
        && let Some(when) = end(ca.not_after - now, AUTHORITY_NEAR)
    {
        let message = format!(
            "{} {when}, and with it every certificate between nodes; `florctl ca init` makes another authority once \
             this one and its key are moved away, see deploy/runbooks/signer-rotation.md",
            path.value
        );
        findings.warning(Rule::V22, &path.at, message);
    }
    for signer in &cluster.signers {
        let (Some(certificate), Some(path)) = (&signer.certificate, &signer.cert) else { continue };
        let (Some(when), Ok(name)) = (end(certificate.not_after - now, NEAR), signer.name.value.parse()) else {
            continue;
        };
        let message = format!(
            "{} {when}; `florctl ca issue {}` renews it for the same key, by which nodes know the signer",
            path.value,
            holder(&Subject::Signer(name))
        );
        findings.warning(Rule::V22, &path.at, message);
    }
}

/// How to say that so much is left, if that is less than `near`.
fn end(left: Duration, near: Duration) -> Option<String> {
    if left <= Duration::ZERO {
        Some("has expired".to_owned())
    } else {
        (left < near).then(|| format!("ends in {} days", left.whole_days()))
    }
}
