use std::time::Duration;

use configsrv_fleet::{
    Payload, SpiffeId,
    address::HostPort,
    artifact::{Check, Probe},
    hosts::host_name,
};
use reqwest::Client;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::Error;

const PATIENCE: Duration = Duration::from_secs(5);
/// A tunnel leads to a service, whatever port is asked for.
const ANY_PORT: [u8; 2] = [0, 80];

/// Tries probes out.
pub(super) struct Prober {
    client: Client,
}

impl Prober {
    pub(super) fn new() -> Result<Self, Error> {
        let client = Client::builder().no_proxy().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none()).build();
        client.map(|client| Self { client }).map_err(|error| Error::Unexpected(error.to_string()))
    }

    /// Asks every probe of a version once; the first that does not hold is named.
    pub(super) async fn all(&self, payload: &Payload, plane_runs: bool) -> Result<(), Error> {
        for probe in &payload.probes {
            let held = self.check(payload, probe, plane_runs).await;
            held.map_err(|why| Error::Unreachable(format!("probe {}: {why}", probe.name)))?;
        }
        Ok(())
    }

    async fn check(&self, payload: &Payload, probe: &Probe, plane_runs: bool) -> Result<(), String> {
        match &probe.check {
            // Without a plane here the port may be anybody's.
            Check::Tunnel { .. } if !plane_runs => Err("the data plane does not run".to_owned()),
            Check::Tunnel { initiator, target } => {
                let port = port(payload, initiator)
                    .ok_or_else(|| format!("{} has no port on this node", initiator.subject()))?;
                let host = host_name(target).ok_or_else(|| format!("{} is no service", target.subject()))?;
                match timeout(PATIENCE, connect(port, &host)).await {
                    Ok(done) => done.map_err(|why| format!("{host}: {why}")),
                    Err(_) => Err(format!("{host}: no answer within {} s", PATIENCE.as_secs())),
                }
            }
            Check::Url(url) => {
                let answer = self.client.get(url).send().await.map_err(|error| format!("{url}: {error}"))?;
                if answer.status().is_success() { Ok(()) } else { Err(format!("{url}: {}", answer.status())) }
            }
        }
    }
}

/// The SOCKS5 port of somebody on this node.
fn port<'p>(payload: &'p Payload, id: &SpiffeId) -> Option<&'p HostPort> {
    let node = std::iter::once((&payload.local_node.spiffe_id, Some(&payload.local_node.socks5_proxy)));
    let users = payload.local_users.iter().map(|user| (&user.spiffe_id, Some(&user.socks5_proxy)));
    let services = payload.local_services.iter().map(|service| (&service.spiffe_id, service.socks5_proxy.as_ref()));
    node.chain(users).chain(services).find(|(known, _)| *known == id)?.1
}

/// Asks the port for a connection to `host` (RFC 1928), and closes it. The plane says that it is there once the service
/// itself has accepted.
async fn connect(port: &HostPort, host: &str) -> Result<(), String> {
    let broken = |error: std::io::Error| error.to_string();
    let length = u8::try_from(host.len()).map_err(|_| "the name is too long".to_owned())?;
    let mut stream = TcpStream::connect(port.to_string()).await.map_err(broken)?;
    let (greeting, request) = ([5, 1, 0], [&[5, 1, 0, 3, length][..], host.as_bytes(), &ANY_PORT].concat());
    stream.write_all(&greeting).await.map_err(broken)?;
    let mut method = [0; 2];
    stream.read_exact(&mut method).await.map_err(broken)?;
    stream.write_all(&request).await.map_err(broken)?;
    let mut reply = [0; 4];
    stream.read_exact(&mut reply).await.map_err(broken)?;
    match (method, reply) {
        ([5, 0], [5, 0, ..]) => Ok(()),
        ([5, 0], [5, 2, ..]) => Err("not allowed".to_owned()),
        ([5, 0], [5, 4, ..]) => Err("the node is not reached".to_owned()),
        ([5, 0], [5, 5, ..]) => Err("the service does not accept".to_owned()),
        _ => Err(format!("the port answered {method:?} {reply:?}")),
    }
}
