use std::collections::HashMap;

use crate::{
    address::HostPort,
    finding::{Findings, Located, Rule},
    repo::Repo,
};

/// Something that will listen on a node.
struct Listener<'r> {
    address: &'r Located<HostPort>,
    what: String,
    upstream: bool,
}

/// V18, V19.
pub(super) fn check(repo: &Repo, findings: &mut Findings) {
    for (node, listeners) in by_node(repo) {
        collisions(node, &listeners, findings);
    }
    public_addresses(repo, findings);
    for service in &repo.services {
        if let Some(addr) = &service.spec.addr {
            if addr.value.is_unspecified() {
                let message = format!("{} is open to the network beside the data plane", addr.value);
                findings.warning(Rule::V19, &addr.at, message);
            } else if !addr.value.is_loopback() {
                let message = format!("{} is not on the loopback; the agent only dials its own host", addr.value);
                findings.error(Rule::V19, &addr.at, message);
            }
        }
    }
    let devices = repo.users.iter().flat_map(|user| &user.spec.nodes);
    let proxies = (repo.services.iter().filter_map(|service| service.spec.socks5_proxy.as_ref()))
        .chain(repo.nodes.iter().filter_map(|node| node.spec.socks5.as_ref()))
        .chain(devices.filter_map(|device| device.socks5.as_ref()));
    for proxy in proxies.filter(|proxy| !proxy.value.is_loopback()) {
        let message = format!("{} is not on the loopback: everybody there could act as its owner", proxy.value);
        findings.error(Rule::V19, &proxy.at, message);
    }
}

fn by_node(repo: &Repo) -> HashMap<&str, Vec<Listener<'_>>> {
    let mut nodes: HashMap<&str, Vec<Listener<'_>>> = HashMap::new();
    for service in &repo.services {
        let name = &service.name.value;
        for host in &service.spec.at {
            let listeners = nodes.entry(host.value.as_str()).or_default();
            if let Some(address) = &service.spec.addr {
                listeners.push(Listener { address, what: format!("service \"{name}\""), upstream: true });
            }
            if let Some(address) = &service.spec.socks5_proxy {
                listeners.push(Listener { address, what: format!("the proxy of service \"{name}\""), upstream: false });
            }
        }
    }
    for user in &repo.users {
        for device in &user.spec.nodes {
            if let Some(address) = &device.socks5 {
                let what = format!("the proxy of user \"{}\"", user.name.value);
                nodes.entry(device.node.value.as_str()).or_default().push(Listener { address, what, upstream: false });
            }
        }
    }
    for node in &repo.nodes {
        if let Some(address) = &node.spec.socks5 {
            let what = "the node's own proxy".to_owned();
            nodes.entry(node.name.value.as_str()).or_default().push(Listener { address, what, upstream: false });
        }
    }
    nodes
}

fn collisions(node: &str, listeners: &[Listener<'_>], findings: &mut Findings) {
    for (at, listener) in listeners.iter().enumerate() {
        for other in listeners.iter().take(at).filter(|other| other.address.value.collides(&listener.address.value)) {
            let (first, second) = (&other.address.value, &listener.address.value);
            let message =
                format!("{} at {second} collides with {} at {first} on node \"{node}\"", listener.what, other.what);
            // One program may well answer under two names.
            if listener.upstream && other.upstream {
                findings.warning(Rule::V18, &listener.address.at, message);
            } else {
                findings.error(Rule::V18, &listener.address.at, message);
            }
        }
    }
}

/// Two nodes cannot be behind one public address.
fn public_addresses(repo: &Repo, findings: &mut Findings) {
    let mut taken: HashMap<&HostPort, &str> = HashMap::new();
    for node in &repo.nodes {
        for address in node.spec.addresses.iter().filter(|address| address.is_reachable()) {
            match taken.insert(&address.udp.value, &node.name.value) {
                Some(other) if other != node.name.value => {
                    let message = format!("{} is also the address of node \"{other}\"", address.udp.value);
                    findings.error(Rule::V18, &address.udp.at, message);
                }
                Some(_) | None => {}
            }
        }
    }
}
