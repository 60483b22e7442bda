//! What changed between two published versions.

use std::collections::BTreeMap;

use configsrv_fleet::{AccessDelta, Change, Digest, NodeName, Payload, TreeDiff, Version};
use serde::Serialize;

use crate::{ConfigService, Error, keys, record::Head, service::blocking};

/// The difference that a person asks for; nodes whose payloads are equal are not in it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Changes {
    pub from: Version,
    pub to: Version,
    /// Who gains and who loses what.
    pub access: AccessDelta,
    pub changed: BTreeMap<NodeName, Change>,
    pub added: Vec<NodeName>,
    pub removed: Vec<NodeName>,
    /// Whose data plane restarts on the way from one to the other.
    pub restarts: Vec<NodeName>,
    /// Nodes whose payloads this release cannot read, so that nothing is said of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<NodeName>,
}

/// The payloads of one side that the other does not have, as far as they can be read.
#[derive(Default)]
struct Side {
    payloads: Vec<Payload>,
    unreadable: Vec<NodeName>,
}

impl ConfigService {
    /// What going from one version to the other means for people and nodes; either may be the newer one.
    pub(crate) async fn changes(&self, from: Version, to: Version) -> Result<Changes, Error> {
        let service = self.clone();
        blocking(move || service.compare(from, to)).await
    }

    fn compare(&self, from: Version, to: Version) -> Result<Changes, Error> {
        let (mut old, mut new) = (self.heads_of(from)?, self.heads_of(to)?);
        let digest = |heads: &BTreeMap<NodeName, Head>, node| heads.get(node).map(|head: &Head| head.payload_digest);
        let same: Vec<NodeName> =
            old.keys().filter(|node| digest(&old, *node) == digest(&new, *node)).cloned().collect();
        for node in &same {
            old.remove(node);
            new.remove(node);
        }
        let (mut before, mut after) = (self.side(&old)?, self.side(&new)?);
        let mut unreadable = before.unreadable;
        unreadable.append(&mut after.unreadable);
        unreadable.sort();
        unreadable.dedup();
        let known = |payload: &Payload| !unreadable.contains(&payload.node);
        before.payloads.retain(known);
        after.payloads.retain(known);
        let diff = TreeDiff::between(&before.payloads, &after.payloads);
        let restarts = diff.restarts().cloned().collect();
        let TreeDiff { access, changed, added, removed } = diff;
        Ok(Changes { from, to, access, changed, added, removed, restarts, unreadable })
    }

    /// Everything of a version's artifacts but their payloads.
    fn heads_of(&self, version: Version) -> Result<BTreeMap<NodeName, Head>, Error> {
        let mut heads = BTreeMap::new();
        self.records().each(&keys::heads(&self.set_of(version)?), |name, head| {
            let node = name.parse().map_err(|_| Error::Corrupt(format!("{name:?} in version {version}")))?;
            heads.insert(node, head);
            Ok(())
        })?;
        Ok(heads)
    }

    fn set_of(&self, version: Version) -> Result<Digest, Error> {
        let tree = self.version(version)?;
        if tree.pruned { Err(Error::Pruned(version)) } else { Ok(tree.set) }
    }

    fn side(&self, heads: &BTreeMap<NodeName, Head>) -> Result<Side, Error> {
        let mut side = Side::default();
        for (node, head) in heads {
            match serde_json::from_slice(&self.payload(head)?) {
                Ok(payload) => side.payloads.push(payload),
                Err(_) => side.unreadable.push(node.clone()),
            }
        }
        Ok(side)
    }
}
