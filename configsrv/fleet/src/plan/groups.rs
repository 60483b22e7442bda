use std::{cmp::Reverse, collections::BTreeMap};

use serde::Serialize;

use crate::{
    artifact::Payload,
    diff::{Class, TreeDiff},
    names::NodeName,
};

use super::{edits::edits, listed};

/// Nodes on which the same changes in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    pub class: Class,
    /// What the nodes will do, in people's words.
    pub action: &'static str,
    pub changes: Vec<String>,
    pub nodes: Vec<NodeName>,
}

impl Group {
    /// `37 nodes: swaps tables: +user/mira on service/stock`, or the node's name if it is alone.
    pub fn summary(&self) -> String {
        let who = match self.nodes.as_slice() {
            [one] => one.to_string(),
            many => format!("{} nodes", many.len()),
        };
        format!("{who}: {}: {}", self.action, listed(&self.changes))
    }
}

pub(super) fn groups(old: &[Payload], new: &[Payload], diff: &TreeDiff) -> Vec<Group> {
    let before: BTreeMap<&NodeName, &Payload> = old.iter().map(|payload| (&payload.node, payload)).collect();
    let mut same: BTreeMap<(Class, Vec<String>), Vec<NodeName>> = BTreeMap::new();
    for payload in new {
        if let (Some(change), Some(old)) = (diff.changed.get(&payload.node), before.get(&payload.node)) {
            same.entry((change.class, edits(old, payload))).or_default().push(payload.node.clone());
        }
    }
    let mut groups: Vec<Group> = same
        .into_iter()
        .map(|((class, changes), nodes)| Group { class, action: action(class), changes, nodes })
        .collect();
    groups.sort_by_key(|group| Reverse((group.nodes.len(), group.class)));
    groups
}

fn action(class: Class) -> &'static str {
    match class {
        Class::Noop => "adopts the number",
        Class::TrustOnly => "tells its agent",
        Class::AclOnly => "swaps tables",
        Class::Files => "writes files",
        Class::Structural => "restarts its data plane",
    }
}
