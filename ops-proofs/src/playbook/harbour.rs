//! The fleet of the playbook: five machines, two services that somebody uses, two people.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use holdfast_testkit::free_ports;

use crate::operator::Repository;

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

const GROUPS: &str = "groups:
  config-read:
  config-write:
  shop:
  data:
";

/// The fleet, and where its programs listen on this machine.
#[derive(Debug)]
pub(super) struct Harbour {
    pub(super) repository: Repository,
    /// What the stock service's file is called.
    stock_file: PathBuf,
    pub(super) mira: u16,
    pub(super) tomas: u16,
}

impl Harbour {
    /// Writes the repository. `ledger` and `stock` are the ports of the services.
    pub(super) fn create(folder: &Path, ledger: u16, stock: u16) -> Result<Self> {
        let repository = Repository::create(folder)?;
        let machine = folder.join("machines").join(STOCK);
        fs::create_dir_all(&machine)?;
        let stock_file = machine.join("stock.toml");
        let [mira, tomas] = free_ports()?;
        repository.write("groups.yaml", GROUPS)?;
        repository.write("nodes.yaml", &nodes()?)?;
        repository.write("roles.yaml", &roles())?;
        repository.write("services.yaml", &services(&stock_file, ledger, stock)?)?;
        repository.write("users.yaml", &users(mira, tomas))?;
        Ok(Self { repository, stock_file, mira, tomas })
    }

    /// What the stock service reads.
    pub(super) fn stock(&self) -> Result<String> {
        fs::read_to_string(&self.stock_file).with_context(|| format!("cannot read {}", self.stock_file.display()))
    }
}

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
            harbour.repository.edit(file, before, after).unwrap();
        }
    }
}
