use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{artifact::Payload, diff::TreeDiff, names::NodeName, reserved::CONFIG_SERVER, spiffe::SpiffeId};

/// Nodes that may sync at the same time, and why at this point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Turn {
    pub nodes: Vec<NodeName>,
    pub why: &'static str,
}

const ADMIT: &str = "they let in who gains access, so they come before whoever dials";
const SERVERS: &str = "it has the service that all nodes sync from: alone, and confirmed before others go on";
const DIAL: &str = "they dial what the nodes before them let in now";
const ANY: &str = "in any order";
const LOSE: &str = "they only lose access, or end somebody's; it ends when the node that has the service syncs";

/// The order in which changed and new nodes should sync: targets gain before initiators, what is taken away goes last, and
/// the node that has the servers' service is in a turn of its own.
pub(super) fn order(old: &[Payload], new: &[Payload], diff: &TreeDiff) -> Vec<Turn> {
    let before: BTreeMap<&NodeName, &Payload> = old.iter().map(|payload| (&payload.node, payload)).collect();
    let admits: BTreeSet<&NodeName> = diff.access.gained.iter().map(|reach| &reach.at).collect();
    let ends: BTreeSet<&NodeName> = diff.access.lost.iter().map(|reach| &reach.at).collect();
    let mut turns: [(BTreeSet<&NodeName>, &'static str); 6] = [
        (BTreeSet::new(), ADMIT),
        (BTreeSet::new(), SERVERS),
        (BTreeSet::new(), DIAL),
        (BTreeSet::new(), ANY),
        (BTreeSet::new(), LOSE),
        (BTreeSet::new(), SERVERS),
    ];
    for payload in new {
        let node = &payload.node;
        if !diff.changed.contains_key(node) && !diff.added.contains(node) {
            continue;
        }
        let known = before.get(node).map(|payload| dials(payload)).unwrap_or_default();
        let now = dials(payload);
        let turn = match (admits.contains(node), serves(payload)) {
            (true, true) => 1,
            (false, true) => 5,
            (true, false) => 0,
            (false, false) if now.difference(&known).next().is_some() => 2,
            (false, false) if ends.contains(node) || known.difference(&now).next().is_some() => 4,
            (false, false) => 3,
        };
        turns[turn].0.insert(node);
    }
    let turns = turns.into_iter().filter(|(nodes, _)| !nodes.is_empty());
    turns.map(|(nodes, why)| Turn { nodes: nodes.into_iter().cloned().collect(), why }).collect()
}

/// Who dials what from this node.
fn dials(payload: &Payload) -> BTreeSet<(&SpiffeId, &SpiffeId, &NodeName)> {
    let rows = payload.egress.iter();
    rows.flat_map(|row| row.allow.iter().map(move |who| (who, &row.target_spiffe_id, &row.target_node))).collect()
}

fn serves(payload: &Payload) -> bool {
    payload.local_services.iter().any(|service| service.name.as_str() == CONFIG_SERVER)
}
