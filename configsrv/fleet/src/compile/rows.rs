use std::collections::BTreeMap;

use crate::{
    artifact::{Egress, File, Ingress, LocalNode, LocalService, LocalUser, Payload, SchemaVersion, Sync, Trust},
    fleet::Fleet,
    names::NodeName,
    spiffe::SpiffeId,
};

use super::{
    CompileError,
    access::{self, EgressTable, IngressTable},
    ports,
};

/// What every node is to be. Only rows about a node's own services and principals are in its payload.
pub fn payloads(fleet: &Fleet) -> Result<BTreeMap<NodeName, Payload>, CompileError> {
    let (mut ingress, mut egress) = access::tables(fleet);
    let mut services = local_services(fleet);
    let mut out = BTreeMap::new();
    for (name, node) in &fleet.nodes {
        let id = SpiffeId::node(&fleet.cluster, name);
        let ports = ports::allocate(fleet, name);
        let mut payload = Payload {
            schema_version: SchemaVersion::V1_0,
            node: name.clone(),
            labels: node.labels.clone(),
            listen_udp: node.udp.as_ref().map(crate::address::HostPort::any_like),
            local_node: LocalNode { spiffe_id: id.clone(), socks5_proxy: ports.node },
            local_users: ports
                .users
                .into_iter()
                .map(|(user, socks5_proxy)| LocalUser {
                    spiffe_id: SpiffeId::user(&fleet.cluster, &user),
                    name: user,
                    socks5_proxy,
                })
                .collect(),
            local_services: services.remove(name).unwrap_or_default(),
            ingress: ingress_rows(&mut ingress, name),
            egress: egress_rows(fleet, &mut egress, name)?,
            files: files(fleet, name, &node.files),
            drift: node.drift,
            probes: node.probes.clone(),
            trust: Trust { authorized_mgmt_signers: fleet.signers.clone() },
            sync: Sync {
                via: fleet.distribution.via,
                principal: id,
                config_server: fleet.distribution.server.clone(),
                urls: fleet.distribution.urls.clone(),
                poll_interval: fleet.distribution.poll_interval,
                hold: fleet.distribution.hold,
            },
        };
        payload.schema_version = payload.lowest_schema();
        out.insert(name.clone(), payload);
    }
    Ok(out)
}

fn local_services(fleet: &Fleet) -> BTreeMap<NodeName, Vec<LocalService>> {
    let mut out: BTreeMap<NodeName, Vec<LocalService>> = BTreeMap::new();
    for instance in access::instances(fleet) {
        let Some(service) = fleet.services.get(instance.service) else { continue };
        out.entry(instance.host.clone()).or_default().push(LocalService {
            name: instance.service.clone(),
            spiffe_id: instance.id,
            upstream_addr: service.addr.clone(),
            socks5_proxy: service.socks5_proxy.clone(),
            image: service.image.clone(),
        });
    }
    out
}

fn ingress_rows(table: &mut IngressTable, node: &NodeName) -> Vec<Ingress> {
    let rows = table.remove(node).unwrap_or_default();
    rows.into_iter()
        .map(|(target_spiffe_id, allow)| Ingress { target_spiffe_id, allow: allow.into_iter().collect() })
        .collect()
}

fn egress_rows(fleet: &Fleet, table: &mut EgressTable, node: &NodeName) -> Result<Vec<Egress>, CompileError> {
    let rows = table.remove(node).unwrap_or_default();
    rows.into_iter()
        .map(|((target_spiffe_id, target_node), allow)| {
            let udp = fleet.nodes.get(&target_node).and_then(|node| node.udp.clone());
            let target_udp = udp.ok_or_else(|| CompileError::NoAddress { node: target_node.clone() })?;
            Ok(Egress { target_spiffe_id, target_node, target_udp, allow: allow.into_iter().collect() })
        })
        .collect()
}

/// The node's own files and those of the services on it, by path.
fn files(fleet: &Fleet, node: &NodeName, own: &[File]) -> Vec<File> {
    let here = fleet.services.values().filter(|service| service.hosts.contains(node));
    let mut files: Vec<File> = own.iter().chain(here.flat_map(|service| &service.files)).cloned().collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}
