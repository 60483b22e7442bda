use std::collections::BTreeMap;

use crate::{artifact::Payload, names::NodeName};

use super::{AccessDelta, Change, Class, classify};

/// What publishing a tree would do.
#[derive(Clone, Debug)]
pub struct TreeDiff {
    pub access: AccessDelta,
    /// Nodes whose payload differs, and how.
    pub changed: BTreeMap<NodeName, Change>,
    pub added: Vec<NodeName>,
    pub removed: Vec<NodeName>,
}

impl TreeDiff {
    pub fn between(old: &[Payload], new: &[Payload]) -> Self {
        let before: BTreeMap<&NodeName, &Payload> = old.iter().map(|payload| (&payload.node, payload)).collect();
        let after: BTreeMap<&NodeName, &Payload> = new.iter().map(|payload| (&payload.node, payload)).collect();
        let mut changed = BTreeMap::new();
        let mut added = Vec::new();
        for (node, payload) in &after {
            match before.get(node) {
                None => added.push((*node).clone()),
                Some(old) => {
                    let change = classify(old, payload);
                    if change.class != Class::Noop {
                        changed.insert((*node).clone(), change);
                    }
                }
            }
        }
        let removed = before.keys().filter(|node| !after.contains_key(*node)).map(|node| (*node).clone()).collect();
        Self { access: AccessDelta::between(old, new), changed, added, removed }
    }

    pub fn is_empty(&self) -> bool {
        self.access.is_empty() && self.changed.is_empty() && self.added.is_empty() && self.removed.is_empty()
    }

    /// Nodes whose data plane restarts.
    pub fn restarts(&self) -> impl Iterator<Item = &NodeName> {
        self.changed.iter().filter(|(_, change)| change.class.restarts()).map(|(node, _)| node)
    }
}
