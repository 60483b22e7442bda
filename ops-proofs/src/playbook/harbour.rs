//! The fleet of the playbook: five machines, two services that somebody uses, two people.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use holdfast_testkit::{Cluster, free_ports};

pub(super) const NODES: [&str; 5] = ["hub", "pier1", "pier2", "mira-pad", "tomas-pad"];
/// Has the ledger. Only who may reach it changes with the second version.
pub(super) const FIRST: &str = "pier1";
/// Has the stock service, and with it a file.
pub(super) const STOCK: &str = "pier2";
/// Where Tomas sits, who may not reach the ledger before the second version.
pub(super) const TOMAS: &str = "tomas-pad";
pub(super) const LEDGER: &str = "ledger.testkit.rete";

/// The line of `roles.yaml` that lets clerks reach the ledger, before and after.
pub(super) const CLERKS: (&str, &str) = ("clerk: { allow: [shop] }", "clerk: { allow: [shop, data] }");
/// The hook of the stock service's file, as it is and as it fails.
pub(super) const HOOK: (&str, &str) = ("exit 0", "echo no such port >&2; exit 78");
/// A line of that file, in the first version, in the second, and in the bad one.
pub(super) const LINES: [&str; 3] = ["lanes = 1", "lanes = 2", "lanes = many"];

/// Where the fleet's programs listen on this machine.
#[derive(Debug)]
pub(super) struct Harbour {
    repository: PathBuf,
    /// What the stock service's file is called.
    pub(super) stock_file: PathBuf,
    pub(super) mira: u16,
    pub(super) tomas: u16,
}

impl Harbour {
    /// Writes the repository. `ledger` and `stock` are the ports of the services.
    pub(super) fn create(folder: &Path, ledger: u16, stock: u16) -> Result<Self> {
        let repository = folder.join("fleet");
        let machine = folder.join("machines").join(STOCK);
        let stock_file = machine.join("stock.toml");
        let [mira, tomas] = free_ports()?;
        fs::create_dir_all(&repository)?;
        fs::create_dir_all(machine)?;
        let write = |name: &str, text: String| -> Result<()> {
            let path = repository.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write("cluster.yaml", format!("cluster:\n  name: {}{CLUSTER}", Cluster::TRUST_DOMAIN))?;
        write("nodes.yaml", nodes()?)?;
        write("roles.yaml", roles())?;
        write("services.yaml", services(&stock_file, ledger, stock)?)?;
        write("users.yaml", users(mira, tomas))?;
        write(".gitignore", "*.key\n".to_owned())?;
        Ok(Self { repository, stock_file, mira, tomas })
    }

    /// Changes a line of a file, which has to be there.
    pub(super) fn edit(&self, file: &str, before: &str, after: &str) -> Result<()> {
        let path = self.repository.join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(text.contains(before), "{file} has no {before:?}");
        Ok(fs::write(&path, text.replace(before, after))?)
    }

    /// What the stock service reads.
    pub(super) fn stock(&self) -> Result<String> {
        fs::read_to_string(&self.stock_file).with_context(|| format!("cannot read {}", self.stock_file.display()))
    }
}

/// The rest of `cluster.yaml`, after the name.
const CLUSTER: &str = "
  crypto:
    ca_cert: ca.crt
    signature_algorithm: ed25519
    cert_validity_days: 60
  signers:
    mgmt:
      keys:
        - { name: primary, cert: certs/management-planes/primary.crt }
  config_server:
    via: direct
    poll_interval: 30s
groups:
  config-read:
  config-write:
  shop:
  data:
";

/// Each with a door of its own, since all of them are on one machine.
fn nodes() -> Result<String> {
    let mut text = "nodes:\n".to_owned();
    for node in NODES {
        let [udp, socks5] = free_ports()?;
        text.push_str(&format!(
            "  {node}: {{ addresses: [{{ name: lan, udp: \"127.0.0.1:{udp}\", public: true }}], socks5: \"127.0.0.1:{socks5}\" }}\n"
        ));
    }
    Ok(text)
}

fn roles() -> String {
    format!(
        "roles:\n  node: {{ allow: [config-read] }}\n  operator: {{ allow: [config-write] }}\n  \
         harbourmaster: {{ allow: [shop, data] }}\n  {}\n",
        CLERKS.0
    )
}

fn services(stock_file: &Path, ledger: u16, stock: u16) -> Result<String> {
    let [read, write] = free_ports()?;
    let (path, hook, line) = (stock_file.display(), HOOK.0, LINES[0]);
    Ok(format!(
        "services:
  config-server: {{ at: hub, addr: \"127.0.0.1:{read}\", groups: [config-read] }}
  config-publisher: {{ at: hub, addr: \"127.0.0.1:{write}\", groups: [config-write] }}
  ledger: {{ at: {FIRST}, addr: \"127.0.0.1:{ledger}\", groups: [data] }}
  stock:
    at: {STOCK}
    addr: \"127.0.0.1:{stock}\"
    groups: [shop]
    files:
      - path: {path}
        mode: \"0640\"
        content: |
          {line}
        activate: {{ run: [/bin/sh, -c, \"{hook}\"] }}
"
    ))
}

fn users(mira: u16, tomas: u16) -> String {
    let user = |name: &str, roles: &str, port: u16| {
        format!("  {name}: {{ roles: [{roles}], nodes: [{{ at: {name}-pad, socks5: \"127.0.0.1:{port}\" }}] }}\n")
    };
    format!("users:\n{}{}", user("mira", "operator, harbourmaster", mira), user("tomas", "clerk", tomas))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_that_is_changed_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let harbour = Harbour::create(folder.path(), 1, 2).unwrap();
        for (file, before, after) in [
            ("roles.yaml", CLERKS.0, CLERKS.1),
            ("services.yaml", LINES[0], LINES[1]),
            ("services.yaml", HOOK.0, HOOK.1),
        ] {
            harbour.edit(file, before, after).unwrap();
            assert!(harbour.edit(file, before, after).is_err(), "{before:?} is twice in {file}");
        }
    }
}
