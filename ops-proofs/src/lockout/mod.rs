//! A version that takes a machine's way to the servers away, in network namespaces: once with an operator at the machine,
//! and once with nobody there.

mod fleet;
mod network;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use holdfast_testkit::{Cluster, Desk, Launch, Node, Server};

use self::{
    fleet::{GATE, UDP, WRONG_UDP},
    network::{HUB, NOBODY, Network, PLANE},
};
use crate::{
    lane::{Check, Run},
    operator::{Repository, Step, Workplace},
};

pub(crate) const MANUAL: Check = Check {
    id: "lockout",
    requirement: "A version that cuts a machine off from the servers cannot be confirmed there; the machine goes back by \
                  itself, and once its way is back the fleet view says that it rolled back, and why.",
    run: |run| in_network(run, "", by_hand),
};

pub(crate) const WATCH: Check = Check {
    id: "lockout-watch",
    requirement: "A machine that syncs by itself keeps what leaves the servers and its peers within reach, and goes back \
                  from what does not; nobody is at the machine.",
    run: |run| in_network(run, "--sync watch --commit-timeout 16s", by_itself),
};

const HUB_NODE: &str = "hub";
const PIER: &str = "pier";
/// Long enough for somebody to try to confirm at a server that does not answer.
const GUARD: Duration = Duration::from_secs(16);
/// How late the machine may be.
const LATE: Duration = Duration::from_secs(5);
const UNREACHABLE: i32 = 7;

/// All that takes part.
struct Lockout<'a> {
    run: &'a Run<'a>,
    place: Workplace,
    repository: Repository,
    hub: Node,
    pier: Node,
}

/// Lays the network, if that is possible here, and starts a server in it. `agent` is how the pier's agent runs.
fn in_network(run: &Run<'_>, agent: &str, walk: impl FnOnce(&mut Lockout<'_>) -> Result<()>) -> Result<()> {
    let network = match Network::lay() {
        Ok(network) => network,
        Err(error) => {
            run.skip(format!("this machine lets us make no network namespaces: {error:#}"));
            return Ok(());
        }
    };
    run.in_folder(|folder| {
        let mut server = Cluster::start_production_at(run.binaries, folder, &network.plane, PLANE, 1)?;
        server.wait_ready()?;
        let desk = Desk::of(&server, run.binaries, folder)?.within(&network.plane);
        let place = Workplace::new(server, desk, folder)?;
        let _gate = gate(run, &network, folder)?;
        let node = |name: &str| Node::new(run.binaries, folder, name).within(network.of(name));
        let (hub, pier) = (node(HUB_NODE), node(PIER).with_agent(agent));
        walk(&mut Lockout { run, place, repository: fleet::create(folder)?, hub, pier })
    })
}

/// A program at the hub that accepts connections: a laboratory's server, since that is at hand.
fn gate(run: &Run<'_>, network: &Network, folder: &Path) -> Result<Server> {
    let launch = Launch::dev(run.binaries, &folder.join("gate"));
    let mut server = Server::start(Launch {
        name: "gate".into(),
        logs: folder.join("logs"),
        arguments: vec!["--http".into(), GATE.into()],
        namespace: Some(network.of(HUB_NODE).name().to_owned()),
        ..launch
    })?;
    server.wait_ready()?;
    Ok(server)
}

fn by_hand(lockout: &mut Lockout<'_>) -> Result<()> {
    let Lockout { run, place, repository, hub, pier } = lockout;
    Step::of(run, "lockout-00-begin", "two machines run version 1", |step| {
        place.found(step, "The way to the servers")?;
        place.join(step, hub)?;
        // It has the way to the servers, so it takes nothing without a guard.
        step.tell(hub.flor().words("sync"), 0)?;
        step.tell(hub.flor().words("sync --confirm"), 0)?;
        place.join(step, pier)?;
        step.tell(pier.flor().words("sync --commit-timeout 0"), 0)?;
        place.all_run(step, [&*hub, &*pier], 1)
    })?;
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
        step.await_that(format!("{PIER} is back on version 1"), || is_at(pier, 1))?;
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
        for node in [&*hub, &*pier] {
            step.tell(node.flor().words("sync"), 0)?;
        }
        place.all_run(step, [&*hub, &*pier], 3)
    })
}

fn by_itself(lockout: &mut Lockout<'_>) -> Result<()> {
    let Lockout { run, place, repository, hub, pier } = lockout;
    Step::of(run, "lockout-watch-00-begin", "the machine takes version 1 over by itself, and keeps it", |step| {
        place.found(step, "The way to the servers")?;
        place.join(step, hub)?;
        step.tell(hub.flor().words("sync"), 0)?;
        step.tell(hub.flor().words("sync --confirm"), 0)?;
        place.join(step, pier)?;
        step.await_that(format!("{PIER} has confirmed version 1 by itself"), || is_at(pier, 1))
    })?;
    let gateway = ("services.yaml", HUB[1].to_owned(), NOBODY.to_owned());
    let udp = |port: u16| format!("{}:{port}", HUB[1]);
    let peer = ("nodes.yaml", udp(UDP), udp(WRONG_UDP));
    let troubles = [
        ("lockout-watch-01-gateway", "the servers are out of reach", gateway),
        ("lockout-watch-02-peer", "a peer is out of reach, and the servers are not", peer),
    ];
    for ((file, title, (yaml, right, wrong)), bad) in troubles.into_iter().zip([2, 4]) {
        Step::of(run, file, title, |step| {
            repository.edit(yaml, &right, &wrong)?;
            place.release(step, title, bad)?;
            step.await_that(format!("{PIER} has taken version {bad}"), || Ok(pier.status()?["active"] == bad))?;
            let begun = Instant::now();
            step.await_that(format!("{PIER} is back on version {}", bad - 1), || is_at(pier, bad - 1))?;
            let took = begun.elapsed();
            step.find(took <= GUARD + LATE, format!("it was there for {took:.1?}, with a guard of {GUARD:?}"))?;
            place.sees_rolled_back(step, PIER, bad, "not confirmed in time")?;
            repository.edit(yaml, &wrong, &right)?;
            place.release(step, "As it was", bad + 1)?;
            step.await_that(format!("{PIER} runs version {}", bad + 1), || is_at(pier, bad + 1))
        })?;
    }
    Ok(())
}

/// Whether a machine runs a version for good.
fn is_at(node: &Node, version: u64) -> Result<bool> {
    let status = node.status()?;
    Ok(status["active"] == version && status["confirmed"] == version && status["pending"].is_null())
}
