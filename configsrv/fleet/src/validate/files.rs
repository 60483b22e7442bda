use std::collections::BTreeMap;

use crate::{
    finding::{Findings, Rule},
    repo::{FileSpec, Repo},
};

/// Where the agent keeps its own state and its socket.
const AGENT: [&str; 2] = ["/var/lib/flor", "/run/flor"];

/// A file that a node will write, and for whom.
struct Written<'r> {
    spec: &'r FileSpec,
    whose: String,
}

/// V18: each path of a node is one file, no file is also a folder, and none is the agent's.
pub(super) fn check(repo: &Repo, findings: &mut Findings) {
    for (node, files) in by_node(repo) {
        let mut paths: BTreeMap<&str, &Written<'_>> = BTreeMap::new();
        for file in &files {
            let path = file.spec.file.path.as_str();
            match paths.get(path) {
                None => drop(paths.insert(path, file)),
                Some(first) => {
                    let message = format!("{path} on node \"{node}\" is {} and {}", first.whose, file.whose);
                    findings.error(Rule::V18, &file.spec.at, message);
                }
            }
        }
        for (path, file) in &paths {
            for above in folders(path).filter_map(|above| paths.get(above)) {
                let message =
                    format!("{path} on node \"{node}\" lies below {}, which is {}", above.spec.file.path, above.whose);
                findings.error(Rule::V18, &file.spec.at, message);
            }
        }
    }
    let services = repo.services.iter().flat_map(|service| &service.spec.files);
    for spec in repo.nodes.iter().flat_map(|node| &node.spec.files).chain(services) {
        let path = spec.file.path.as_str();
        if std::iter::once(path).chain(folders(path)).any(|folder| AGENT.contains(&folder)) {
            findings.error(Rule::V18, &spec.at, format!("{path} is the agent's own"));
        }
    }
}

fn by_node(repo: &Repo) -> BTreeMap<&str, Vec<Written<'_>>> {
    let mut nodes: BTreeMap<&str, Vec<Written<'_>>> = BTreeMap::new();
    for node in &repo.nodes {
        let own = node.spec.files.iter().map(|spec| Written { spec, whose: "the node's".to_owned() });
        nodes.entry(&node.name.value).or_default().extend(own);
    }
    for service in &repo.services {
        let whose = format!("service \"{}\"'s", service.name.value);
        for host in &service.spec.at {
            let files = service.spec.files.iter().map(|spec| Written { spec, whose: whose.clone() });
            nodes.entry(&host.value).or_default().extend(files);
        }
    }
    nodes
}

/// Every folder that a path lies in, the nearest first.
fn folders(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(path.rsplit_once('/'), |(above, _)| above.rsplit_once('/')).map(|(above, _)| above)
}
