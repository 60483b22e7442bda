use std::collections::HashSet;

use crate::{
    finding::{Findings, Rule},
    names::ClusterName,
    probe,
    repo::Repo,
};

/// V24.
pub(super) fn check(repo: &Repo, findings: &mut Findings) {
    let name = repo.cluster.as_ref().and_then(|cluster| cluster.name.as_ref());
    // Without a cluster's name there is another finding.
    let Some(cluster) = name.and_then(|name| name.value.parse::<ClusterName>().ok()) else { return };
    for node in &repo.nodes {
        let mut names = HashSet::new();
        for spec in &node.spec.probes {
            if !names.insert(&spec.name.value) {
                findings.error(Rule::V16, &spec.name.at, format!("probe \"{}\" is defined twice", spec.name.value));
            }
            if let Err(fault) = probe::resolve(repo, &cluster, node, spec) {
                findings.error(Rule::V24, &fault.at, fault.why);
            }
        }
    }
}
