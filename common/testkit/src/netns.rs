//! Machines with a network of their own, on one machine: Linux network namespaces, joined by cables.

use std::{
    path::Path,
    process::{self, Command},
};

use anyhow::{Context as _, Result, bail};

/// What names of ours begin with; the process and a label follow.
const PREFIX: &str = "holdfast";

/// A network namespace that is removed when it is dropped. Programs in it have no network but the cables that were laid.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

/// One end of a cable.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    pub namespace: &'a Namespace,
    /// Of the device, at most 15 characters.
    pub device: &'a str,
    /// With the length of the network's part: `10.77.1.1/30`.
    pub address: &'a str,
}

impl Namespace {
    /// A namespace with a loopback device. Those that a killed process has left are removed.
    ///
    /// # Errors
    /// Where `ip` is missing, or the process may not make namespaces; the error says which.
    pub fn create(label: &str) -> Result<Self> {
        remove_left()?;
        let name = format!("{PREFIX}-{}-{label}", process::id());
        ip(&["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Lays a cable.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn join(one: End<'_>, other: End<'_>) -> Result<()> {
        let (name, peer) = (one.namespace.name.as_str(), other.namespace.name.as_str());
        let peer = ["type", "veth", "peer", "name", other.device, "netns", peer];
        ip(&[["link", "add", one.device, "netns", name].as_slice(), &peer].concat())?;
        for End { namespace, device, address } in [one, other] {
            namespace.ip(&format!("addr add {address} dev {device}"))?;
            namespace.ip(&format!("link set {device} up"))?;
        }
        Ok(())
    }

    /// Runs `ip` with these words for this namespace.
    ///
    /// # Errors
    /// When it fails.
    pub fn ip(&self, words: &str) -> Result<()> {
        let words: Vec<_> = ["-n", &self.name].into_iter().chain(words.split_whitespace()).collect();
        ip(&words)
    }

    /// Lets it pass packets on from one cable to another.
    ///
    /// # Errors
    /// When the kernel does not take the setting.
    pub fn forward(&self) -> Result<()> {
        let mut command = Command::new("sh");
        command.args(["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
        let output = self.enter(&command).output().context("cannot start ip")?;
        if !output.status.success() {
            bail!("{} cannot forward: {}", self.name, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same command in this namespace.
    pub fn enter(&self, command: &Command) -> Command {
        enter(&self.name, command)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // What still runs in it keeps it alive without a name; there is nobody to tell.
        let _ = ip(&["netns", "del", &self.name]);
    }
}

/// The command, in the namespace with this name: arguments, variables and folder stay as they are.
pub(crate) fn enter(name: &str, command: &Command) -> Command {
    let mut entered = Command::new("ip");
    entered.args(["netns", "exec", name]).arg(command.get_program()).args(command.get_args());
    for (variable, value) in command.get_envs() {
        match value {
            Some(value) => entered.env(variable, value),
            None => entered.env_remove(variable),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        entered.current_dir(folder);
    }
    entered
}

fn ip(words: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(words).output().context("`ip` cannot be started: is iproute2 installed?")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`ip {}` says: {}", words.join(" "), said.trim());
    }
    Ok(())
}

/// Removes namespaces of processes that are not there any more.
fn remove_left() -> Result<()> {
    let output = Command::new("ip").args(["netns", "list"]).output();
    let output = output.context("`ip` cannot be started: is iproute2 installed?")?;
    let listed = String::from_utf8_lossy(&output.stdout);
    for name in listed.lines().filter_map(|line| line.split_whitespace().next()) {
        if maker(name).is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists()) {
            ip(&["netns", "del", name])?;
        }
    }
    Ok(())
}

/// The process that made a namespace of ours.
fn maker(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.strip_prefix('-')?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_namespaces_of_ours_are_known() {
        assert_eq!(maker("holdfast-4711-hub"), Some(4711));
        assert_eq!(maker("holdfast-hub"), None);
        assert_eq!(maker("cni-4711"), None);
    }

    #[test]
    fn a_command_stays_what_it_is() {
        let mut command = Command::new("flor");
        command.arg("status").env("FLOR_HOME", "/h").env_remove("HOME").current_dir("/tmp");
        let entered = enter("n", &command);
        let words: Vec<_> = entered.get_args().collect();
        assert_eq!(words, ["netns", "exec", "n", "flor", "status"]);
        assert!(entered.get_envs().eq(command.get_envs()));
        assert_eq!(entered.get_current_dir(), Some(Path::new("/tmp")));
    }
}
