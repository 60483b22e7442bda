use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use configsrv_fleet::{
    ClusterName, NodeName, Payload, SpiffeId,
    address::{Host, HostPort},
    artifact::Egress,
};

/// Who may reach what, and where it is: the access rows of one payload, made for looking up. Never changed; a new
/// payload makes new tables.
#[derive(Debug)]
pub struct Tables {
    cluster: ClusterName,
    ingress: HashMap<SpiffeId, Gate>,
    egress: HashMap<SpiffeId, Vec<Hop>>,
}

#[derive(Debug)]
struct Gate {
    upstream: HostPort,
    allow: HashSet<SpiffeId>,
}

/// A node that hosts a target.
#[derive(Debug)]
pub struct Hop {
    pub node: NodeName,
    pub udp: HostPort,
    allow: HashSet<SpiffeId>,
}

/// Why somebody does not reach a local service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// No such service is on this node.
    NotHere,
    /// Its row does not name the initiator.
    NotAllowed,
}

/// Why there is nowhere to dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// No row names the target.
    Unknown,
    /// Its rows do not name the principal.
    NotAllowed,
}

impl Tables {
    pub fn of(payload: &Payload) -> Self {
        let mut ingress = HashMap::new();
        for service in &payload.local_services {
            let rows = payload.ingress.iter().filter(|row| row.target_spiffe_id == service.spiffe_id);
            let gate = Gate {
                upstream: dialled(&service.upstream_addr),
                allow: rows.flat_map(|row| &row.allow).cloned().collect(),
            };
            ingress.insert(service.spiffe_id.clone(), gate);
        }
        let mut egress: HashMap<SpiffeId, Vec<Hop>> = HashMap::new();
        for row in &payload.egress {
            let hop = Hop {
                node: row.target_node.clone(),
                udp: udp(payload, row),
                allow: row.allow.iter().cloned().collect(),
            };
            egress.entry(row.target_spiffe_id.clone()).or_default().push(hop);
        }
        Self { cluster: payload.local_node.spiffe_id.cluster().clone(), ingress, egress }
    }

    pub fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// Whether `initiator` may reach the local service `target`, and where that listens.
    pub fn decide(&self, initiator: &SpiffeId, target: &SpiffeId) -> Result<&HostPort, Denial> {
        let gate = self.ingress.get(target).ok_or(Denial::NotHere)?;
        if gate.allow.contains(initiator) { Ok(&gate.upstream) } else { Err(Denial::NotAllowed) }
    }

    /// The nodes on which the local `principal` may dial `target`, in the order of the payload.
    pub fn route(&self, principal: &SpiffeId, target: &SpiffeId) -> Result<Vec<&Hop>, NoRoute> {
        let hops = self.egress.get(target).ok_or(NoRoute::Unknown)?;
        let allowed: Vec<&Hop> = hops.iter().filter(|hop| hop.allow.contains(principal)).collect();
        if allowed.is_empty() { Err(NoRoute::NotAllowed) } else { Ok(allowed) }
    }

    /// Whether `principal` may dial `target` on `node`.
    pub(crate) fn dials(&self, principal: &SpiffeId, target: &SpiffeId, node: &NodeName) -> bool {
        let hops = self.egress.get(target).into_iter().flatten();
        hops.into_iter().any(|hop| hop.node == *node && hop.allow.contains(principal))
    }
}

/// A service that listens on every address is dialled at the loopback.
fn dialled(upstream: &HostPort) -> HostPort {
    let host = match upstream.host {
        Host::Ip(IpAddr::V4(ip)) if ip.is_unspecified() => Host::Ip(Ipv4Addr::LOCALHOST.into()),
        Host::Ip(IpAddr::V6(ip)) if ip.is_unspecified() => Host::Ip(Ipv6Addr::LOCALHOST.into()),
        _ => return upstream.clone(),
    };
    HostPort { host, port: upstream.port }
}

/// Not every network leads a packet for the own public address back: a neighbour on this node is dialled at the
/// loopback.
fn udp(payload: &Payload, row: &Egress) -> HostPort {
    match &payload.listen_udp {
        Some(listen) if row.target_node == payload.node => dialled(listen),
        _ => row.target_udp.clone(),
    }
}
