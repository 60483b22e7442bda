use crate::{
    finding::{Findings, Rule},
    repo::{Address, Repo},
    reserved::{CONFIG_PUBLISHER, CONFIG_SERVER},
};

/// V9, V17, V20.
pub(super) fn check(repo: &Repo, findings: &mut Findings) {
    for service in &repo.services {
        // Of these rule V6 wants one reachable host; but peers dial every one.
        let distribution = [CONFIG_SERVER, CONFIG_PUBLISHER].contains(&service.name.value.as_str());
        for host in &service.spec.at {
            let Some(node) = repo.node(&host.value) else { continue };
            let addresses = &node.spec.addresses;
            if addresses.is_empty() || (!distribution && !addresses.iter().any(Address::is_reachable)) {
                let what = if addresses.is_empty() { "has no address" } else { "has only private addresses" };
                let message = format!(
                    "node \"{}\" {what}, so nobody can reach \"{}\" there; add one, or say public: true",
                    host.value, service.name.value
                );
                findings.error(Rule::V9, &host.at, message);
            }
        }
    }
    for address in repo.nodes.iter().flat_map(|node| &node.spec.addresses) {
        let udp = &address.udp;
        if udp.value.is_unspecified() {
            findings.error(
                Rule::V20,
                &udp.at,
                format!("{} is every address and none: peers cannot dial it", udp.value),
            );
        } else if address.public == Some(true) && !udp.value.is_internet() {
            let message =
                format!("{} is declared public and looks private; peers elsewhere will not reach it", udp.value);
            findings.warning(Rule::V20, &udp.at, message);
        }
    }
    for node in &repo.nodes {
        let Some(dialled) = node.spec.dialled().map(|address| &address.udp.value) else { continue };
        let silent = |address: &&Address| address.udp.value.port != dialled.port;
        for Address { udp, .. } in node.spec.addresses.iter().filter(silent) {
            let message = format!(
                "peers dial node \"{}\" at {dialled}, so that it listens on port {} and not at {}",
                node.name.value, dialled.port, udp.value
            );
            findings.warning(Rule::V17, &udp.at, message);
        }
    }
}
