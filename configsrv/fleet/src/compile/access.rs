use std::collections::{BTreeMap, BTreeSet};

use crate::{
    fleet::Fleet,
    names::{GroupName, NodeName, RoleName, ServiceName},
    reserved::NODE_ROLE,
    spiffe::{SpiffeId, Subject},
};

/// A service on one of its hosts.
pub(super) struct Instance<'f> {
    pub(super) service: &'f ServiceName,
    pub(super) host: &'f NodeName,
    pub(super) id: SpiffeId,
}

/// Somebody who may reach something, and the nodes it does so from.
struct Principal<'f> {
    id: SpiffeId,
    roles: BTreeSet<&'f RoleName>,
    homes: Vec<&'f NodeName>,
}

/// Per node: target to those who may reach it.
pub(super) type IngressTable = BTreeMap<NodeName, BTreeMap<SpiffeId, BTreeSet<SpiffeId>>>;
/// Per node: target and its host to the local principals that may dial it.
pub(super) type EgressTable = BTreeMap<NodeName, BTreeMap<(SpiffeId, NodeName), BTreeSet<SpiffeId>>>;

/// Every service on every host, in the order of ids.
pub(super) fn instances(fleet: &Fleet) -> Vec<Instance<'_>> {
    let mut out = Vec::new();
    for (name, service) in &fleet.services {
        for host in &service.hosts {
            out.push(Instance { service: name, host, id: service_id(fleet, name, host) });
        }
    }
    out.sort_by(|a, b| (&a.id, a.host).cmp(&(&b.id, b.host)));
    out
}

fn service_id(fleet: &Fleet, name: &ServiceName, host: &NodeName) -> SpiffeId {
    let per_node = fleet.services.get(name).is_some_and(|service| service.per_node);
    SpiffeId::new(&fleet.cluster, Subject::Service { node: per_node.then(|| host.clone()), service: name.clone() })
}

/// The access rule, which is total: a principal reaches a service exactly if some role of the principal allows some
/// group of the service.
pub(super) fn tables(fleet: &Fleet) -> (IngressTable, EgressTable) {
    let instances = instances(fleet);
    let mut by_group: BTreeMap<&GroupName, Vec<&Instance<'_>>> = BTreeMap::new();
    let mut ingress = IngressTable::new();
    for instance in &instances {
        // A row for each local service, also when nobody may reach it: so the first grant changes only an allow list.
        ingress.entry(instance.host.clone()).or_default().entry(instance.id.clone()).or_default();
        for group in fleet.services.get(instance.service).iter().flat_map(|service| &service.groups) {
            by_group.entry(group).or_default().push(instance);
        }
    }
    let mut egress = EgressTable::new();
    for principal in principals(fleet) {
        let groups: BTreeSet<&GroupName> =
            principal.roles.iter().filter_map(|role| fleet.roles.get(*role)).flatten().collect();
        for instance in groups.iter().filter_map(|group| by_group.get(*group)).flatten() {
            if let Some(allow) = ingress.get_mut(instance.host).and_then(|rows| rows.get_mut(&instance.id)) {
                allow.insert(principal.id.clone());
            }
            for home in &principal.homes {
                let target = (instance.id.clone(), instance.host.clone());
                let rows = egress.entry((*home).clone()).or_default();
                rows.entry(target).or_default().insert(principal.id.clone());
            }
        }
    }
    (ingress, egress)
}

fn principals(fleet: &Fleet) -> Vec<Principal<'_>> {
    let mut out = Vec::new();
    // Every node holds the node role, and no other.
    let node_role = fleet.roles.keys().find(|role| role.as_str() == NODE_ROLE);
    for name in fleet.nodes.keys() {
        let roles = node_role.into_iter().collect();
        out.push(Principal { id: SpiffeId::node(&fleet.cluster, name), roles, homes: vec![name] });
    }
    for (name, user) in &fleet.users {
        let id = SpiffeId::user(&fleet.cluster, name);
        out.push(Principal { id, roles: user.roles.iter().collect(), homes: user.devices.keys().collect() });
    }
    for (name, service) in fleet.services.iter().filter(|(_, service)| !service.roles.is_empty()) {
        for host in &service.hosts {
            let id = service_id(fleet, name, host);
            out.push(Principal { id, roles: service.roles.iter().collect(), homes: vec![host] });
        }
    }
    out
}
