use std::{collections::BTreeMap, fmt};

use configsrv_rete::{Connection, Counters, PlaneStatus, Side};
use serde::{Deserialize, Serialize};

/// More pairs than these are only counted.
const MOST_PEERS: usize = 100;
/// Of those, people are shown as many.
const MOST_SHOWN: usize = 12;

/// What `flor status` shows of the data plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlaneView {
    pub running: bool,
    /// Why it does not run although it should.
    pub fault: Option<String>,
    pub listen_udp: Option<String>,
    /// Where each principal's programs connect.
    pub inbound: Vec<InboundView>,
    /// QUIC connections with other nodes.
    pub connections: usize,
    pub peers: Vec<PeerView>,
    pub counters: CountersView,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InboundView {
    pub principal: String,
    pub socks5: String,
}

/// Who is connected with whom through this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeerView {
    pub initiator: String,
    pub target: String,
    /// Absent where this node is the target.
    pub node: Option<String>,
    pub connections: usize,
}

/// Since the daemon began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CountersView {
    pub opened: u64,
    pub closed: u64,
    pub connect_failures: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub socks_failures: u64,
    pub denials: Vec<DenialView>,
    pub handshake_failures: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DenialView {
    pub initiator: String,
    pub acl: String,
    pub count: u64,
}

impl PlaneView {
    pub(super) fn of(status: Option<&PlaneStatus>, counters: &Counters, fault: Option<String>) -> Self {
        let connections = status.map(|status| status.connections.as_slice()).unwrap_or_default();
        let inbound = status.map(|status| status.inbound.as_slice()).unwrap_or_default();
        let listen = status.and_then(|status| status.listen_udp);
        Self {
            running: status.is_some(),
            fault,
            listen_udp: listen.map(|address| address.to_string()),
            inbound: inbound
                .iter()
                .map(|inbound| InboundView {
                    principal: inbound.principal.to_string(),
                    socks5: inbound.socks5.to_string(),
                })
                .collect(),
            connections: connections.len(),
            peers: peers(connections),
            counters: CountersView::of(counters),
        }
    }
}

fn peers(connections: &[Connection]) -> Vec<PeerView> {
    let mut peers: BTreeMap<_, usize> = BTreeMap::new();
    for connection in connections {
        let node = match &connection.side {
            Side::Initiator(node) => Some(node.to_string()),
            Side::Target => None,
        };
        *peers.entry((connection.initiator.to_string(), connection.target.to_string(), node)).or_default() += 1;
    }
    let view = |((initiator, target, node), connections)| PeerView { initiator, target, node, connections };
    peers.into_iter().take(MOST_PEERS).map(view).collect()
}

impl CountersView {
    fn of(counters: &Counters) -> Self {
        let denial =
            |((initiator, acl), count): ((String, &str), u64)| DenialView { initiator, acl: acl.into(), count };
        let failures = counters.handshake_failures();
        Self {
            opened: counters.opened.get(),
            closed: counters.closed.get(),
            connect_failures: counters.connect_failures.get(),
            bytes_in: counters.bytes_in.get(),
            bytes_out: counters.bytes_out.get(),
            socks_failures: counters.socks_failures.get(),
            denials: counters.denials().into_iter().map(denial).collect(),
            handshake_failures: failures.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect(),
        }
    }
}

impl fmt::Display for PlaneView {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.fault, self.running) {
            (Some(fault), _) => writeln!(out, "PLANE     {fault}")?,
            (None, false) => writeln!(out, "plane     none: no identities, or no artifact")?,
            (None, true) => {
                let listen = self.listen_udp.as_deref().unwrap_or("nowhere");
                let CountersView { opened, closed, .. } = &self.counters;
                let carried = opened.saturating_sub(*closed);
                writeln!(out, "plane     listens on {listen}; {} connections carry {carried}", self.connections)?;
            }
        }
        for inbound in &self.inbound {
            writeln!(out, "socks5    {} {}", inbound.socks5, inbound.principal)?;
        }
        self.peers.iter().take(MOST_SHOWN).try_for_each(|peer| writeln!(out, "peer      {peer}"))?;
        match self.peers.len().saturating_sub(MOST_SHOWN) {
            0 => Ok(()),
            more => writeln!(out, "peer      and {more} more pairs: -o json"),
        }
    }
}

impl fmt::Display for PeerView {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} -> {}", subject(&self.initiator), subject(&self.target))?;
        if let Some(node) = &self.node {
            write!(out, " on {node}")?;
        }
        if self.connections == 1 { Ok(()) } else { write!(out, " ({} connections)", self.connections) }
    }
}

/// An id without what all ids of a cluster have in common.
fn subject(id: &str) -> &str {
    id.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')).map_or(id, |(_, subject)| subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_who_is_connected_with_whom_as_far_as_a_screen_has_room() {
        let peer = |number: usize| PeerView {
            initiator: format!("spiffe://quay.test/user/u{number}"),
            target: "spiffe://quay.test/service/stock".to_owned(),
            node: (number == 0).then(|| "pier2".to_owned()),
            connections: number + 1,
        };
        let view = |peers: usize| PlaneView {
            peers: (0..peers).map(peer).collect(),
            ..PlaneView::of(None, &Counters::default(), None)
        };
        let text = view(2).to_string();
        assert!(text.contains("peer      user/u0 -> service/stock on pier2\n"), "{text}");
        assert!(text.contains("peer      user/u1 -> service/stock (2 connections)\n"), "{text}");
        let text = view(MOST_SHOWN + 3).to_string();
        assert!(text.ends_with("peer      and 3 more pairs: -o json\n"), "{text}");
    }
}
