//! The fleet: the default route of a machine is a file that a hook applies, and a probe goes through the data plane.

use std::{fs, path::Path};

use anyhow::{Result, ensure};

use super::{
    PIER,
    network::{HUB, PIER_ADDRESS},
};
use crate::operator::Repository;

/// Where machines of the fleet listen for one another, and a port where the hub does not.
pub(super) const UDP: u16 = 4500;
pub(super) const WRONG_UDP: u16 = 4600;

/// Where the hub's service listens.
pub(super) const GATE: &str = "127.0.0.1:9003";

const ROLES: &str = "roles:
  node: { allow: [config-read] }
  operator: { allow: [config-write] }
  worker: { allow: [work] }
";

pub(super) fn create(folder: &Path) -> Result<Repository> {
    let machine = folder.join("machines").join(PIER);
    fs::create_dir_all(&machine)?;
    let file = machine.join("default-route").display().to_string();
    ensure!(!file.contains(['"', '\'', ' ']), "{file} cannot be named in a hook");
    let repository = Repository::create(folder)?;
    repository.write("groups.yaml", "groups:\n  config-read:\n  config-write:\n  work:\n  own:\n")?;
    repository.write("roles.yaml", ROLES)?;
    repository.write("users.yaml", "users:\n  mira: { roles: [operator], nodes: [hub] }\n")?;
    repository.write("nodes.yaml", &nodes())?;
    repository.write("services.yaml", &services(&file))?;
    // Shorter than the guards here.
    repository.edit("cluster.yaml", "via: direct\n", "via: direct\n    hold: 2s\n")?;
    Ok(repository)
}

fn nodes() -> String {
    let hub = HUB[1];
    format!(
        "nodes:
  hub: {{ addresses: [{{ name: lan, udp: \"{hub}:{UDP}\", public: true }}] }}
  {PIER}:
    addresses: [{{ name: lan, udp: \"{PIER_ADDRESS}:{UDP}\", public: true }}]
    probes: [{{ name: gate, as: uplink, target: gate }}]
"
    )
}

fn services(file: &str) -> String {
    let hub = HUB[1];
    format!(
        "services:
  config-server: {{ at: hub, addr: \"127.0.0.1:9000\", groups: [config-read] }}
  config-publisher: {{ at: hub, addr: \"127.0.0.1:9001\", groups: [config-write] }}
  gate: {{ at: hub, addr: \"{GATE}\", groups: [work] }}
  uplink:
    at: {PIER}
    addr: \"127.0.0.1:9002\"
    groups: [own]
    socks5_proxy: \"127.0.0.1:19002\"
    roles: [worker]
    files:
      - path: {file}
        mode: \"0644\"
        content: |
          default via {hub}
        activate: {{ run: [/bin/sh, -c, \"ip route replace $(cat {file})\"] }}
"
    )
}
