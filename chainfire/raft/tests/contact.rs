//! Servers that cannot be reached, for a while or for ever: who notices, who comes back, and at what cost.

// A failed unwrap is a failed test.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use chainfire_raft::{ReadError, Timing};
use support::{Plan, Server, eventually};

const QUICK: Timing = Timing {
    heartbeat: Duration::from_millis(100),
    election_min: Duration::from_millis(500),
    election_max: Duration::from_millis(1_000),
};

fn leader(servers: &[Server]) -> usize {
    eventually(|| servers.iter().position(|server| server.status().is_leader))
}

/// Makes a server other than `not` the leader, and returns which.
fn led_by_another(servers: &[Server], not: usize) -> usize {
    let first = leader(servers);
    if first != not {
        return first;
    }
    let next = (not + 1) % servers.len();
    let (group, to) = (servers[first].group().clone(), servers[next].slot());
    servers[first].run(async move { group.transfer_leader(to).await }).unwrap();
    next
}

#[test]
fn a_server_that_was_paused_for_long_catches_up() {
    let mut plan = Plan::new(3);
    plan.timing = QUICK;
    // Without a handshake, requests are on their way before the other side is known to be there.
    plan.tls = false;
    let proxy = plan.proxy(2);
    let servers = plan.start_all();
    let leader = led_by_another(&servers, 2);
    servers[leader].propose("a=1").unwrap();

    proxy.hold();
    let before = proxy.connections();
    servers[leader].propose("b=2").unwrap();
    // Each is given up when its patience ends; what the leader waits in between has grown to its longest.
    eventually(|| (proxy.connections() > before + 10).then_some(()));
    proxy.release();
    let written = servers[leader].status().applied;
    eventually(|| (servers[2].status().applied >= written).then_some(()));
    servers[leader].propose("c=3").unwrap();
    assert_eq!(servers[2].pairs(), servers[leader].pairs());
}

#[test]
fn an_idle_cluster_keeps_its_connections() {
    let mut plan = Plan::new(3);
    plan.timing = QUICK;
    let proxy = plan.proxy(2);
    let mut servers = plan.start_all();
    servers[0].propose("a=1").unwrap();
    led_by_another(&servers, 2);
    // It comes back to a leader that has nothing to send to it.
    servers.remove(2).kill();
    let back = plan.start(2).unwrap();
    eventually(|| back.status().leader.map(drop));
    // Heartbeats of some elections' time.
    let passed = |bytes: usize| {
        let goal = proxy.bytes() + bytes;
        eventually(|| (proxy.bytes() > goal).then_some(()));
    };
    passed(10_000);
    let connections = proxy.connections();
    passed(20_000);
    assert_eq!(proxy.connections(), connections);
}

#[test]
fn a_server_that_is_gone_is_not_asked_all_the_time() {
    let mut plan = Plan::new(3);
    let mut servers = plan.start_all();
    let leader = led_by_another(&servers, 2);
    servers.remove(2).kill();
    let listener = eventually(|| TcpListener::bind(&plan.cluster.members[2].address).ok());
    // Refused at once, as by a machine on which nothing listens.
    let began = Instant::now();
    for _ in 0..60 {
        drop(listener.accept().unwrap());
    }
    // Two heartbeats of a tenth of a second each, and what is owed of the log.
    assert!(began.elapsed() > Duration::from_secs(2), "{:?}", began.elapsed());
    servers[leader].propose("a=1").unwrap();
}

#[test]
fn without_a_quorum_there_is_no_leader() {
    let mut plan = Plan::new(3);
    plan.timing = QUICK;
    let mut servers = plan.start_all();
    servers[0].propose("a=1").unwrap();
    let first = leader(&servers);
    let (other, last) = ((first + 1) % 3, (first + 2) % 3);
    eventually(|| (servers[last].status().leader == Some(servers[first].slot())).then_some(()));

    // The leader alone.
    let mut servers: Vec<Option<Server>> = servers.drain(..).map(Some).collect();
    servers[other].take().unwrap().kill();
    servers[last].take().unwrap().kill();
    let alone = servers[first].take().unwrap();
    eventually(|| alone.status().leader.is_none().then_some(()));
    let back = plan.begin(last, plan.config(last));
    let back = back.recv().unwrap().unwrap();
    eventually(|| (alone.status().leader.is_some() && back.status().leader.is_some()).then_some(()));

    // A follower alone.
    let (leads, follows) = if alone.status().is_leader { (alone, back) } else { (back, alone) };
    leads.kill();
    eventually(|| follows.status().leader.is_none().then_some(()));
}

/// What is to be read is known, and this server cannot show it: that is told apart from a leader that does not answer.
#[test]
fn a_server_that_does_not_catch_up_says_that_it_is_behind() {
    let mut plan = Plan::new(3);
    plan.timing = QUICK;
    let servers = plan.start_all();
    let leader = leader(&servers);
    let group = servers[(leader + 1) % 3].group().clone();
    // Effects are published under this lock before an entry counts as applied.
    let machine = group.machine().clone();
    let stalled = machine.published.lock().unwrap();
    servers[leader].propose("a=1").unwrap();
    let (reading, from) = (group.clone(), Instant::now());
    let read = servers[leader].run(async move { reading.read_index().await });
    assert_eq!(read, Err(ReadError::Behind));
    assert!(from.elapsed() >= QUICK.request());
    drop(stalled);
    servers[leader].run(async move { group.read_index().await }).unwrap();
}
