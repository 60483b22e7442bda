use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    address::HostPort,
    artifact::Payload,
    names::{NodeName, ServiceName},
    spiffe::Subject,
};

use super::listed;

/// A change that breaks connections while some nodes have it and others do not, and how to make it without that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TwoSteps {
    /// `service/stock moves from pier2 to pier3`.
    pub what: String,
    pub expand: String,
    pub contract: String,
}

pub(super) fn two_steps(old: &[Payload], new: &[Payload]) -> Vec<TwoSteps> {
    let mut out = moves(old, new);
    out.extend(addresses(old, new));
    out
}

/// Services that keep none of their nodes.
fn moves(old: &[Payload], new: &[Payload]) -> Vec<TwoSteps> {
    let (before, after) = (hosts(old), hosts(new));
    let staying = nodes(new);
    let mut out = Vec::new();
    for (service, from) in before {
        let Some(to) = after.get(service).filter(|to| to.is_disjoint(&from)) else { continue };
        let callers = listed(
            callers(old, service)
                .union(&callers(new, service))
                .filter(|node| staying.contains(*node) && !from.contains(*node) && !to.contains(*node)),
        );
        let callers = if callers.is_empty() { String::new() } else { format!(", then those who dial it ({callers})") };
        let last = listed(from.intersection(&staying));
        let last = if last.is_empty() { String::new() } else { format!(" before {last}") };
        let (old, new, both) = (listed(&from), listed(to), listed(from.union(to)));
        out.push(TwoSteps {
            what: format!("service/{service} moves from {old} to {new}"),
            expand: format!("publish it on both (at: [{both}]); sync {new} first{callers}"),
            contract: format!("publish it on {new} alone (at: [{new}]); sync those who dial it{last}"),
        });
    }
    out
}

fn nodes(payloads: &[Payload]) -> BTreeSet<&NodeName> {
    payloads.iter().map(|payload| &payload.node).collect()
}

fn hosts(payloads: &[Payload]) -> BTreeMap<&ServiceName, BTreeSet<&NodeName>> {
    let mut out: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for payload in payloads {
        for service in &payload.local_services {
            out.entry(&service.name).or_default().insert(&payload.node);
        }
    }
    out
}

fn callers<'p>(payloads: &'p [Payload], name: &ServiceName) -> BTreeSet<&'p NodeName> {
    let dials = |payload: &&Payload| {
        payload
            .egress
            .iter()
            .any(|row| matches!(row.target_spiffe_id.subject(), Subject::Service { service, .. } if service == name))
    };
    payloads.iter().filter(dials).map(|payload| &payload.node).collect()
}

/// Nodes that peers dial somewhere else than before. Peers that are gone dial nobody for long.
fn addresses(old: &[Payload], new: &[Payload]) -> Vec<TwoSteps> {
    let (before, after) = (dialled(old), dialled(new));
    let staying = nodes(new);
    let mut out = Vec::new();
    for (node, Dialled { at: from, by }) in before {
        let Some(Dialled { at: to, .. }) = after.get(node).filter(|after| *after.at != *from) else { continue };
        let peers = listed(by.intersection(&staying));
        if peers.is_empty() {
            continue;
        }
        out.push(if from.port == to.port {
            TwoSteps {
                what: format!("{node} is dialled at {to} instead of {from}"),
                expand: format!(
                    "let the machine have both addresses, it listens on port {} of each; publish, and sync {peers}",
                    to.port
                ),
                contract: format!("take {from} from it when all of them have the version"),
            }
        } else {
            let services = services(new, node);
            TwoSteps {
                what: format!("{node} listens on port {} instead of {}", to.port, from.port),
                expand: format!(
                    "it listens on one port at a time, so that nothing reaches it between its sync and those of {peers}: \
                     publish a second node for its services ({services}) first, and sync everybody"
                ),
                contract: format!("publish the new port; sync {node}, then {peers}; then take the second node away"),
            }
        });
    }
    out
}

/// Where a node is dialled, and by whom.
struct Dialled<'p> {
    at: &'p HostPort,
    by: BTreeSet<&'p NodeName>,
}

fn dialled(payloads: &[Payload]) -> BTreeMap<&NodeName, Dialled<'_>> {
    let mut out: BTreeMap<_, Dialled<'_>> = BTreeMap::new();
    for payload in payloads {
        for row in payload.egress.iter().filter(|row| row.target_node != payload.node) {
            let dialled = out.entry(&row.target_node).or_insert(Dialled { at: &row.target_udp, by: BTreeSet::new() });
            dialled.by.insert(&payload.node);
        }
    }
    out
}

fn services(payloads: &[Payload], node: &NodeName) -> String {
    let here = payloads.iter().filter(|payload| payload.node == *node);
    listed(here.flat_map(|payload| &payload.local_services).map(|service| &service.name))
}
