//! The way to the servers through the data plane of this machine's agent.

use std::process::Command;

use configsrv_fleet::{ClusterName, SpiffeId, address::HostPort};
use serde::Deserialize;

use crate::{
    cli::Tunnel,
    failure::{Code, Failure},
};

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

/// The SOCKS5 port to go through; `None` if nobody asked for one.
pub(crate) fn port(tunnel: &Tunnel, cluster: &ClusterName) -> Result<Option<HostPort>, Failure> {
    match tunnel {
        Tunnel { socks5: Some(port), .. } => Ok(Some(port.clone())),
        Tunnel { user: Some(user), .. } => port_of(&SpiffeId::user(cluster, user)).map(Some),
        Tunnel { user: None, socks5: None } => Ok(None),
    }
}

fn port_of(user: &SpiffeId) -> Result<HostPort, Failure> {
    let asked = Command::new("flor").args(["status", "-o", "json"]).output();
    let asked = asked.map_err(|error| unknown(format!("flor status: {error}")))?;
    if !asked.status.success() {
        return Err(unknown(format!("flor status: {}", String::from_utf8_lossy(&asked.stderr).trim())));
    }
    find(&asked.stdout, user)
}

fn find(status: &[u8], user: &SpiffeId) -> Result<HostPort, Failure> {
    let status: Status =
        serde_json::from_slice(status).map_err(|error| unknown(format!("flor status is not understood: {error}")))?;
    let Some(plane) = status.plane else {
        return Err(unknown("the agent of this machine does not run a data plane".to_owned()));
    };
    let inbound = plane.inbound.into_iter().find(|inbound| inbound.principal == user.as_str());
    inbound.map(|inbound| inbound.socks5).ok_or_else(|| unknown(format!("{user} has no port on this machine")))
}

fn unknown(message: String) -> Failure {
    Failure::new(Code::Unreachable, message).hint("--socks5 HOST:PORT names the port of the user's data plane")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_says_which_port_is_whose() {
        let user: SpiffeId = "spiffe://quay.test/user/mira".parse().unwrap();
        let status = br#"{"plane":{"running":true,"inbound":[
            {"principal":"spiffe://quay.test/node/desk","socks5":"127.0.0.1:1080"},
            {"principal":"spiffe://quay.test/user/mira","socks5":"127.0.0.1:1081"}]}}"#;
        assert_eq!(find(status, &user).unwrap().to_string(), "127.0.0.1:1081");
        for other in [&b"{}"[..], br#"{"plane":null}"#, br#"{"plane":{"inbound":[]}}"#, b"no JSON"] {
            assert_eq!(find(other, &user).unwrap_err().code(), Code::Unreachable);
        }
    }
}
