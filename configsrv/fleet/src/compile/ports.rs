use std::collections::{BTreeMap, BTreeSet};

use crate::{
    address::HostPort,
    fleet::Fleet,
    names::{NodeName, UserName},
};

/// First port for people's proxies, as SOCKS has it by custom.
const FIRST_USER_PORT: u16 = 1080;
/// The node's own proxy, before the users', so that users come and go without moving it.
const NODE_PORT: u16 = 1070;

/// The loopback listeners of one node that the fleet does not name itself.
pub(super) struct Ports {
    pub(super) node: HostPort,
    pub(super) users: BTreeMap<UserName, HostPort>,
}

/// Gives ports by name order, skipping those that are taken, so that the same fleet always gets the same ports.
pub(super) fn allocate(fleet: &Fleet, node: &NodeName) -> Ports {
    let here = |hosts: &BTreeSet<NodeName>| hosts.contains(node);
    let mut taken: BTreeSet<u16> = BTreeSet::new();
    for service in fleet.services.values().filter(|service| here(&service.hosts)) {
        taken.insert(service.addr.port);
        taken.extend(service.socks5_proxy.as_ref().map(|proxy| proxy.port));
    }
    let users: Vec<_> =
        fleet.users.iter().filter_map(|(name, user)| user.devices.get(node).map(|asked| (name, asked))).collect();
    taken.extend(users.iter().filter_map(|(_, asked)| asked.as_ref()).map(|proxy| proxy.port));
    let asked = fleet.nodes.get(node).and_then(|node| node.socks5.clone());
    taken.extend(asked.as_ref().map(|proxy| proxy.port));
    let mut free = |first: u16| {
        let port = (first..=u16::MAX).find(|port| !taken.contains(port)).unwrap_or(first);
        taken.insert(port);
        HostPort::loopback(port)
    };
    let own = asked.unwrap_or_else(|| free(NODE_PORT));
    let users = users
        .into_iter()
        .map(|(name, asked)| (name.clone(), asked.clone().unwrap_or_else(|| free(FIRST_USER_PORT))))
        .collect();
    Ports { node: own, users }
}
