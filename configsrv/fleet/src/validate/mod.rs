//! The rules of a repository. All of them run, and each reports everything that it finds; only where a file cannot be read,
//! nobody looks up the names that it may define.

mod endings;
mod enrollment;
mod files;
mod listeners;
mod lockout;
mod names;
mod probes;
mod reachability;
mod references;
mod reserved;
mod revoked;
mod signers;
mod unused;

use time::OffsetDateTime;

use crate::{
    finding::{Finding, Findings, Place, Rule},
    repo::Repo,
};

pub use enrollment::principals;
pub use lockout::lockout;
pub use revoked::revoked;

/// Everything that is wrong with `repo`, and everything to be warned of, in reading order. `now` decides which
/// certificates are near their end.
pub fn validate(repo: &Repo, now: OffsetDateTime) -> Vec<Finding> {
    let mut findings = Findings::default();
    findings.extend(&repo.findings);
    if repo.nodes.len() > crate::artifact::MAX_NODES {
        let message =
            format!("{} nodes are more than the {} of one cluster", repo.nodes.len(), crate::artifact::MAX_NODES);
        findings.error(Rule::V1, &repo.place(), message);
    }
    match &repo.unread {
        Some(file) => {
            let message = "until all of this file can be read, nobody looks for what others name or miss \
                (V5 to V8, V10, V11, V21, V24)";
            findings.warning(Rule::V1, &Place::file(file), message);
        }
        None => {
            references::check(repo, &mut findings);
            reserved::check(repo, &mut findings);
            probes::check(repo, &mut findings);
            unused::check(repo, &mut findings);
        }
    }
    names::check(repo, &mut findings);
    reachability::check(repo, &mut findings);
    listeners::check(repo, &mut findings);
    files::check(repo, &mut findings);
    signers::check(repo, &mut findings);
    endings::check(repo, now, &mut findings);
    enrollment::check(repo, now, &mut findings);
    revoked::check(repo, &mut findings);
    findings.into_sorted()
}
