//! The way to the servers through the data plane of this machine's agent.

use std::process::Command;

use configsrv_fleet::{ClusterName, SpiffeId, Subject, address::HostPort, names::UserName};
use serde::Deserialize;

use crate::{
    cli::Tunnel,
    failure::{Code, Failure},
};

/// Where the data plane takes this program in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) port: HostPort,
    /// Whose services can be dialled there, if that is known.
    pub(super) cluster: Option<ClusterName>,
}

/// What this program wants to know of `flor status -o json`.
#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    plane: Option<Plane>,
}

#[derive(Deserialize)]
struct Plane {
    inbound: Vec<Inbound>,
}

#[derive(Deserialize)]
struct Inbound {
    principal: String,
    socks5: HostPort,
}

/// Where to go in; `None` if nobody asked for it. `cluster` is the repository's, if there is one.
pub(super) fn entry(tunnel: &Tunnel, cluster: Option<&ClusterName>) -> Result<Option<Entry>, Failure> {
    match tunnel {
        Tunnel { socks5: Some(port), .. } => Ok(Some(Entry { port: port.clone(), cluster: cluster.cloned() })),
        Tunnel { user: Some(user), .. } => ask(user, cluster).map(Some),
        Tunnel { user: None, socks5: None } => Ok(None),
    }
}

fn ask(user: &UserName, cluster: Option<&ClusterName>) -> Result<Entry, Failure> {
    let asked = Command::new("flor").args(["status", "-o", "json"]).output();
    let asked = asked.map_err(|error| unknown(format!("flor status: {error}")))?;
    if !asked.status.success() {
        return Err(unknown(format!("flor status: {}", String::from_utf8_lossy(&asked.stderr).trim())));
    }
    find(&asked.stdout, user, cluster)
}

fn find(status: &[u8], user: &UserName, cluster: Option<&ClusterName>) -> Result<Entry, Failure> {
    let status: Status =
        serde_json::from_slice(status).map_err(|error| unknown(format!("flor status is not understood: {error}")))?;
    let Some(plane) = status.plane else {
        return Err(unknown("the agent of this machine does not run a data plane".to_owned()));
    };
    let subject = Subject::User(user.clone());
    for Inbound { principal, socks5 } in plane.inbound {
        let Ok(id) = principal.parse::<SpiffeId>() else { continue };
        if *id.subject() == subject && cluster.is_none_or(|cluster| cluster == id.cluster()) {
            return Ok(Entry { port: socks5, cluster: Some(id.cluster().clone()) });
        }
    }
    Err(unknown(format!("{subject} has no port on this machine")))
}

fn unknown(message: String) -> Failure {
    Failure::new(Code::Unreachable, message).hint("--socks5 HOST:PORT names the port of the user's data plane")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_says_which_port_is_whose() {
        let (mira, quay) = ("mira".parse().unwrap(), "quay.test".parse().unwrap());
        let status = br#"{"plane":{"running":true,"inbound":[
            {"principal":"spiffe://quay.test/node/desk","socks5":"127.0.0.1:1080"},
            {"principal":"spiffe://quay.test/user/mira","socks5":"127.0.0.1:1081"}]}}"#;
        for cluster in [None, Some(&quay)] {
            let found = find(status, &mira, cluster).unwrap();
            assert_eq!(found, Entry { port: "127.0.0.1:1081".parse().unwrap(), cluster: Some(quay.clone()) });
        }
        assert!(find(status, &mira, Some(&"harbour.test".parse().unwrap())).is_err(), "another cluster's mira");
        assert!(find(status, &"desk".parse().unwrap(), None).is_err(), "a node is no user");
        for other in [&b"{}"[..], br#"{"plane":null}"#, br#"{"plane":{"inbound":[]}}"#, b"no JSON"] {
            assert_eq!(find(other, &mira, None).unwrap_err().code(), Code::Unreachable);
        }
    }
}
