//! A version that takes a machine's way to the servers away.
//!
//! Three network namespaces stand for three machines: the servers', one that passes packets on, and the one that is cut
//! off. Its default route is a file of the fleet that a hook applies; the second version has a wrong gateway in it.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use holdfast_testkit::{Cluster, Desk, End, Namespace, Node};

use crate::{
    lane::{Check, Run},
    operator::{Repository, Step, Workplace},
};

pub(crate) const CHECK: Check = Check {
    id: "lockout",
    requirement: "A version that cuts a machine off from the servers cannot be confirmed there; the machine goes back by \
                  itself, and once its way is back the fleet view says that it rolled back, and why.",
    run: prove,
};

const SERVERS: usize = 3;
const NODES: [&str; 2] = ["hub", "pier"];
const PIER: &str = NODES[1];
/// The servers' address, that of the machine between on either side, that of the one which is cut off.
const PLANE: &str = "10.77.1.1";
const HUB: [&str; 2] = ["10.77.1.2", "10.77.2.1"];
const PIER_ADDRESS: &str = "10.77.2.2";
/// Where nobody is.
const NOBODY: &str = "10.77.2.3";
/// Long enough for somebody to try to confirm at servers that do not answer.
const GUARD: Duration = Duration::from_secs(30);
/// How late the machine may be.
const LATE: Duration = Duration::from_secs(5);
const UNREACHABLE: i32 = 7;

/// The machines' networks. Dropped after everything that runs in them.
struct Network {
    plane: Namespace,
    hub: Namespace,
    pier: Namespace,
}

impl Network {
    /// One cable from the servers to the hub, another one from there to the pier.
    fn lay() -> Result<Self> {
        let network =
            Self { plane: Namespace::create("plane")?, hub: Namespace::create("hub")?, pier: Namespace::create(PIER)? };
        let Self { plane, hub, pier } = &network;
        let cable = |one: (&Namespace, &str, &str), other: (&Namespace, &str, &str)| {
            let [address, peer] = [one.2, other.2].map(|address| format!("{address}/24"));
            Namespace::join(
                End { namespace: one.0, device: one.1, address: &address },
                End { namespace: other.0, device: other.1, address: &peer },
            )
        };
        cable((plane, "hub", PLANE), (hub, "plane", HUB[0]))?;
        cable((hub, "pier", HUB[1]), (pier, "hub", PIER_ADDRESS))?;
        hub.forward()?;
        plane.ip(&format!("route add default via {}", HUB[0]))?;
        pier.ip(&format!("route add default via {}", HUB[1]))?;
        Ok(network)
    }

    fn of(&self, node: &str) -> &Namespace {
        if node == PIER { &self.pier } else { &self.hub }
    }
}

fn prove(run: &Run<'_>) -> Result<()> {
    let network = match Network::lay() {
        Ok(network) => network,
        Err(error) => {
            run.skip(format!("this machine lets us make no network namespaces: {error:#}"));
            return Ok(());
        }
    };
    run.in_folder(|folder| walk(run, &network, folder))
}

fn walk(run: &Run<'_>, network: &Network, folder: &Path) -> Result<()> {
    let mut servers = Cluster::start_production_at(run.binaries, folder, &network.plane, PLANE, SERVERS)?;
    servers.wait_ready()?;
    let desk = Desk::of(&servers, run.binaries, folder)?.within(&network.plane);
    let mut place = Workplace::new(servers, desk, folder)?;
    let repository = fleet(folder)?;
    let mut nodes = NODES.map(|name| Node::new(run.binaries, folder, name).within(network.of(name)));

    Step::of(run, "lockout-00-begin", "two machines run version 1", |step| {
        place.found(step, "The way to the servers")?;
        for node in &mut nodes {
            place.join(step, node)?;
        }
        place.all_run(step, &nodes, 1)
    })?;
    let [hub, pier] = &nodes;
    Step::of(run, "lockout-01-publish", "version 2 names a gateway that is not there", |step| {
        repository.edit("services.yaml", HUB[1], NOBODY)?;
        place.release(step, "Another gateway", 2)?;
        step.tell(hub.flor().words("sync"), 0)?;
        step.find(hub.status()?["active"] == 2, "the other machine, for which nothing changes, has version 2")
    })?;
    let begun = Instant::now();
    Step::of(run, "lockout-02-cut-off", "the machine is cut off, and nobody can confirm that", |step| {
        step.tell(pier.flor().words(&format!("sync --commit-timeout {}s", GUARD.as_secs())), 0)?;
        let status = pier.status()?;
        step.find(status["active"] == 2 && status["pending"]["version"] == 2, "version 2 is on probation")?;
        step.tell(pier.flor().words("sync --confirm"), UNREACHABLE)?;
        step.find(true, "what the servers do not hear of is not confirmed")?;
        let seen = place.row(PIER)?["reported"].clone();
        step.find(seen["result"] != "rolled_back" && seen["confirmed"] == 1, "the servers know nothing of it yet")
    })?;
    Step::of(run, "lockout-03-way-back", "the machine goes back by itself, and the servers hear of it", |step| {
        step.await_that(format!("{PIER} is back on version 1"), || {
            let status = pier.status()?;
            Ok(status["active"] == 1 && status["pending"].is_null())
        })?;
        let took = begun.elapsed();
        step.find(took <= GUARD + LATE, format!("it went back {took:.1?} after it began, with a guard of {GUARD:?}"))?;
        place.sees_rolled_back(step, PIER, 2, "not confirmed in time")?;
        let shown = step.tell(place.florctl("fleet")?, 0)?.output;
        let row = shown.lines().find(|line| line.starts_with(PIER)).unwrap_or_default();
        step.find(row.contains("rolled back"), "a person sees it")
    })?;
    Step::of(run, "lockout-04-right", "the next version is right, and comes by the way that is back", |step| {
        repository.edit("services.yaml", NOBODY, HUB[1])?;
        place.release(step, "The gateway as it was", 3)?;
        for node in &nodes {
            step.tell(node.flor().words("sync"), 0)?;
        }
        place.all_run(step, &nodes, 3)
    })
}

/// The fleet: the pier's default route is a file that a hook applies.
fn fleet(folder: &Path) -> Result<Repository> {
    let machine = folder.join("machines").join(PIER);
    fs::create_dir_all(&machine)?;
    let file = machine.join("default-route").display().to_string();
    ensure!(!file.contains(['"', '\'', ' ']), "{file} cannot be named in a hook");
    let repository = Repository::create(folder)?;
    repository.write("groups.yaml", "groups:\n  config-read:\n  config-write:\n  work:\n")?;
    repository
        .write("roles.yaml", "roles:\n  node: { allow: [config-read] }\n  operator: { allow: [config-write] }\n")?;
    repository.write("users.yaml", "users:\n  mira: { roles: [operator], nodes: [hub] }\n")?;
    let [hub, pier] = [HUB[1], PIER_ADDRESS];
    repository.write(
        "nodes.yaml",
        &format!(
            "nodes:\n  hub: {{ addresses: [{{ name: lan, udp: \"{hub}:4500\", public: true }}] }}\n  \
             {PIER}: {{ addresses: [{{ name: lan, udp: \"{pier}:4500\", public: true }}] }}\n"
        ),
    )?;
    repository.write(
        "services.yaml",
        &format!(
            "services:
  config-server: {{ at: hub, addr: \"127.0.0.1:9000\", groups: [config-read] }}
  config-publisher: {{ at: hub, addr: \"127.0.0.1:9001\", groups: [config-write] }}
  uplink:
    at: {PIER}
    addr: \"127.0.0.1:9002\"
    groups: [work]
    files:
      - path: {file}
        mode: \"0644\"
        content: |
          default via {hub}
        activate: {{ run: [/bin/sh, -c, \"ip route replace $(cat {file})\"] }}
"
        ),
    )?;
    Ok(repository)
}
