//! §0 "Wiped member": a server that has lost its disk gets its place back, and nothing acknowledged is lost by it.

// A failed unwrap is a failed test.
#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, time::Duration};

use chainfire_raft::{Error, FatalHook, GroupConfig, Slot, Timing};
use support::{Plan, Server, eventually};

const QUICK: Timing = Timing {
    heartbeat: Duration::from_millis(50),
    election_min: Duration::from_millis(500),
    election_max: Duration::from_millis(1_000),
};

/// Long enough for a server to get its place back, were it let.
const TRIED: Duration = Duration::from_secs(4);

fn plan(members: usize) -> Plan {
    let mut plan = Plan::new(members);
    plan.timing = QUICK;
    plan
}

fn start_all(plan: &mut Plan) -> Vec<Option<Server>> {
    plan.start_all().into_iter().map(Some).collect()
}

fn leader(servers: &[Option<Server>]) -> usize {
    eventually(|| servers.iter().position(|server| server.as_ref().is_some_and(|server| server.status().is_leader)))
}

/// Makes `to` the leader.
fn lead(servers: &[Option<Server>], to: usize) {
    let from = leader(servers);
    let (from, slot) = (servers[from].as_ref().unwrap(), servers[to].as_ref().unwrap().slot());
    let group = from.group().clone();
    from.run(async move { group.transfer_leader(slot).await }).unwrap();
    eventually(|| servers[to].as_ref().unwrap().status().is_leader.then_some(()));
}

fn kill(servers: &mut [Option<Server>], slot: usize) {
    servers[slot].take().unwrap().kill();
}

fn write(server: &Server, pair: &str) {
    eventually(|| server.propose(pair).ok());
}

fn has(server: &Server, key: &str) -> bool {
    server.pairs().iter().any(|(known, _)| known == key)
}

/// Everybody who runs sees every slot with a vote.
fn whole(servers: &[Option<Server>]) {
    for server in servers.iter().flatten() {
        eventually(|| (server.status().leader.is_some() && server.status().learners.is_empty()).then_some(()));
    }
}

#[test]
fn an_acknowledged_write_outlives_the_disk_that_acknowledged_it() {
    let mut plan = plan(3);
    let mut servers = start_all(&mut plan);
    lead(&servers, 0);
    // The second server never hears of the write; the third one is the other half of its majority.
    kill(&mut servers, 1);
    write(servers[0].as_ref().unwrap(), "acknowledged=1");
    let cluster = servers[0].as_ref().unwrap().node().cluster_id();
    let old = servers[2].as_ref().unwrap().node().id();
    kill(&mut servers, 0);
    kill(&mut servers, 2);
    plan.wipe(2);

    // Without the first one, the two would be a majority that does not know the write.
    servers[1] = Some(plan.start(1).unwrap());
    let rejoining = plan.rejoin(2);
    assert!(rejoining.recv_timeout(TRIED).is_err(), "the others are no majority");
    assert_eq!(servers[1].as_ref().unwrap().status().leader, None);

    servers[0] = Some(plan.start(0).unwrap());
    servers[2] = Some(rejoining.recv().unwrap().unwrap());
    let new = servers[2].as_ref().unwrap();
    assert_eq!((new.slot(), new.node().cluster_id()), (Slot(2), cluster));
    assert_ne!(new.node().id(), old);
    whole(&servers);
    assert!(servers.iter().flatten().all(|server| has(server, "acknowledged")));

    // It counts again: with either of the others it is a majority.
    for absent in [0, 1] {
        kill(&mut servers, absent);
        write(servers[2].as_ref().unwrap(), &format!("without{absent}=1"));
        servers[absent] = Some(plan.start(absent).unwrap());
    }
    // And once it is in, it starts like any other server.
    kill(&mut servers, 2);
    servers[2] = Some(plan.start(2).unwrap());
    assert!(has(servers[2].as_ref().unwrap(), "without1"));
}

#[test]
fn of_five_one_comes_back_while_another_is_down() {
    let mut plan = plan(5);
    let mut servers = start_all(&mut plan);
    lead(&servers, 0);
    kill(&mut servers, 3);
    kill(&mut servers, 4);
    // On the first three only.
    write(servers[0].as_ref().unwrap(), "acknowledged=1");
    kill(&mut servers, 0);
    kill(&mut servers, 2);
    plan.wipe(2);
    servers[3] = Some(plan.start(3).unwrap());
    let rejoining = plan.rejoin(2);
    // With the lost disk they would be three of five, of which one knows the write.
    assert!(rejoining.recv_timeout(TRIED).is_err(), "two of the four others are no majority of five");
    servers[4] = Some(plan.start(4).unwrap());
    servers[2] = Some(rejoining.recv().unwrap().unwrap());
    whole(&servers);
    assert!(servers.iter().flatten().all(|server| has(server, "acknowledged")));
}

#[test]
fn two_lost_disks_come_back_one_after_the_other() {
    let mut plan = plan(5);
    let mut servers = start_all(&mut plan);
    lead(&servers, 0);
    write(servers[0].as_ref().unwrap(), "a=1");
    for lost in [3, 4] {
        kill(&mut servers, lost);
        plan.wipe(lost);
    }
    let mut statuses = servers[0].as_ref().unwrap().group().status_changes();
    let (told, seen) = std::sync::mpsc::channel();
    servers[0].as_ref().unwrap().spawn(async move {
        while statuses.changed().await.is_ok() {
            let _ = told.send(statuses.borrow_and_update().learners.clone());
        }
    });
    let rejoining = [plan.rejoin(3), plan.rejoin(4)];
    for (slot, rejoining) in [3, 4].into_iter().zip(rejoining) {
        servers[slot] = Some(rejoining.recv().unwrap().unwrap());
    }
    whole(&servers);
    let seen: Vec<Vec<Slot>> = seen.try_iter().collect();
    assert!(seen.iter().all(|learners| learners.len() <= 1), "{seen:?}");
    for slot in [3, 4] {
        assert!(seen.contains(&vec![Slot(slot)]), "slot {slot} was no learner: {seen:?}");
        assert!(has(servers[usize::from(slot)].as_ref().unwrap(), "a"));
    }
}

#[test]
fn whoever_crashes_the_place_is_given_back() {
    let mut plan = plan(3);
    let mut servers = start_all(&mut plan);
    write(servers[0].as_ref().unwrap(), "a=1");
    let without_vote = |servers: &[Option<Server>]| {
        eventually(|| {
            let mut running = servers.iter().flatten();
            running.any(|server| server.status().learners == [Slot(2)]).then_some(())
        });
    };
    for round in 0..3 {
        kill(&mut servers, 2);
        plan.wipe(2);
        let rejoining = plan.rejoin(2);
        without_vote(&servers);
        if round == 0 {
            // The leader dies in between, and the other one goes on when there is a majority again.
            let led = leader(&servers);
            kill(&mut servers, led);
            servers[led] = Some(plan.start(led).unwrap());
            servers[2] = Some(rejoining.recv().unwrap().unwrap());
        } else {
            // The server dies in between; then the disk that was to learn is lost too.
            rejoining.recv().unwrap().unwrap().kill();
            if round == 2 {
                plan.wipe(2);
            }
            servers[2] = Some(plan.rejoin(2).recv().unwrap().unwrap());
        }
        whole(&servers);
        assert!(servers.iter().flatten().all(|server| has(server, "a")), "round {round}");
    }
}

#[test]
fn a_learner_that_hears_nothing_knows_that_it_is_one() {
    let mut plan = plan(3);
    plan.tls = false;
    let proxy = plan.proxy(2);
    let mut servers = start_all(&mut plan);
    write(servers[0].as_ref().unwrap(), "a=1");
    kill(&mut servers, 2);
    plan.wipe(2);
    proxy.hold();
    servers[2] = Some(plan.rejoin(2).recv().unwrap().unwrap());
    eventually(|| servers.iter().flatten().all(|server| server.status().learners == [Slot(2)]).then_some(()));
    assert!(servers[2].as_ref().unwrap().group().is_learner() && !servers[0].as_ref().unwrap().group().is_learner());
    // Leadership is not for it, not even when a server stops.
    let led = leader(&servers);
    servers[led].take().unwrap().stop();
    assert!(!servers[2].as_ref().unwrap().status().is_leader);
    servers[led] = Some(plan.start(led).unwrap());
    proxy.release();
    whole(&servers);
    assert!(has(servers[2].as_ref().unwrap(), "a"));
}

#[test]
fn what_the_log_has_no_more_comes_as_a_snapshot_in_every_group() {
    let mut plan = plan(3);
    let mut second = GroupConfig::flaredb();
    for group in [&mut plan.group, &mut second] {
        group.snapshot_every = 20;
        group.keep_entries = 0;
    }
    plan.second = Some(second);
    let mut servers = start_all(&mut plan);
    let propose_second = |server: &Server, pair: String| {
        let group = server.second().clone();
        eventually(|| {
            let (group, pair) = (group.clone(), pair.clone());
            server.run(async move { group.propose(pair.into_bytes()).await }).ok()
        })
    };
    for number in 0..60 {
        write(servers[0].as_ref().unwrap(), &format!("key{number}=1"));
        propose_second(servers[1].as_ref().unwrap(), format!("key{number}=2"));
    }
    kill(&mut servers, 2);
    plan.wipe(2);
    servers[2] = Some(plan.rejoin(2).recv().unwrap().unwrap());
    whole(&servers);
    let new = servers[2].as_ref().unwrap();
    assert_eq!(new.pairs(), servers[0].as_ref().unwrap().pairs());
    eventually(|| new.second().status().learners.is_empty().then_some(()));
    let last = propose_second(new, "last=2".into());
    eventually(|| (new.second().status().applied >= last.index).then_some(()));
    assert_eq!(last.answer, 61_u64.to_be_bytes());
}

#[test]
fn an_old_disk_has_no_place_any_more() {
    let mut plan = plan(3);
    let mut servers = start_all(&mut plan);
    write(servers[0].as_ref().unwrap(), "a=1");
    kill(&mut servers, 2);
    let (aside, back) = (plan.folder.path().join("old"), plan.folder.path().join("new"));
    fs::rename(plan.data_dir(2), &aside).unwrap();
    servers[2] = Some(plan.rejoin(2).recv().unwrap().unwrap());
    whole(&servers);
    let term = servers[leader(&servers)].as_ref().unwrap().status().term;
    kill(&mut servers, 2);
    // The disk that was lost is found again.
    fs::rename(plan.data_dir(2), &back).unwrap();
    fs::rename(&aside, plan.data_dir(2)).unwrap();
    let (told, reasons) = std::sync::mpsc::channel();
    let mut config = plan.config(2);
    config.on_fatal = FatalHook::new(move |reason| drop(told.send(reason.to_owned())));
    let old = plan.begin(2, config).recv().unwrap().unwrap();
    let reason = reasons.recv_timeout(Duration::from_secs(30)).unwrap();
    assert!(reason.contains("its disk was replaced: move its data folder aside"), "{reason}");
    write(servers[0].as_ref().unwrap(), "b=2");
    assert!(old.propose("c=3").is_err());
    assert_eq!(old.status().leader, None);
    old.kill();
    plan.wipe(2);
    fs::rename(&back, plan.data_dir(2)).unwrap();
    servers[2] = Some(plan.start(2).unwrap());
    let pairs = servers[2].as_ref().unwrap().pairs();
    assert_eq!(pairs.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["a", "b", "genesis"]);
    assert!(servers[leader(&servers)].as_ref().unwrap().status().term <= term + 1);
}

#[test]
fn a_server_that_is_told_to_rejoin_begins_nothing() {
    let mut alone = plan(1);
    let error = alone.rejoin(0).recv().unwrap().err().unwrap();
    assert!(matches!(&error, Error::Refused(text) if text.contains("only a restore helps")), "{error}");

    let mut plan = plan(3);
    let starting = [plan.begin(0, plan.config(0)), plan.begin(1, plan.config(1)), plan.rejoin(2)];
    assert!(starting.iter().all(|started| started.recv_timeout(TRIED / 3).is_err()));
}

#[test]
fn a_server_with_data_does_not_heed_the_flag() {
    let mut plan = plan(3);
    let mut servers = start_all(&mut plan);
    write(servers[0].as_ref().unwrap(), "a=1");
    let id = servers[2].as_ref().unwrap().node().id();
    kill(&mut servers, 2);
    servers[2] = Some(plan.rejoin(2).recv().unwrap().unwrap());
    assert_eq!(servers[2].as_ref().unwrap().node().id(), id);
    whole(&servers);
    assert!(has(servers[2].as_ref().unwrap(), "a"));
}
