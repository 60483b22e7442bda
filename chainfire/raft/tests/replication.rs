//! Three servers over mutual TLS: what was acknowledged stays, whoever dies.

// A failed unwrap is a failed test.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::HashMap,
    fs,
    io::ErrorKind,
    net::TcpListener,
    path::Path,
    sync::{atomic::Ordering, mpsc},
    time::{Duration, Instant},
};

use chainfire_raft::{FatalHook, ProposeError, ReadError, Slot, Timing, TransferError, peer_ca};
use futures::future::join_all;
use holdfast_testkit::copy_folder;
use support::{Plan, Server, eventually};

fn leader(servers: &[Server]) -> usize {
    eventually(|| servers.iter().position(|server| server.status().is_leader))
}

/// Writes and returns the pair that must be there from now on. A write of unknown outcome is written again, as a
/// client would: setting a pair twice is setting it once.
fn write(server: &Server, number: u32) -> (String, String) {
    let (key, value) = (format!("key{number:03}"), format!("value{number}"));
    let committed = loop {
        match server.propose(format!("{key}={value}")) {
            Err(ProposeError::Unknown(_)) => {}
            proposed => break proposed.unwrap(),
        }
    };
    assert_eq!(committed.answer.len(), 8);
    (key, value)
}

#[test]
fn acknowledged_writes_survive_the_leader() {
    let mut plan = Plan::new(3);
    let mut servers = plan.start_all();
    let follower = (leader(&servers) + 1) % 3;
    let mut expected = vec![("genesis".to_owned(), "cp0,cp1,cp2".to_owned())];
    for number in 0..20 {
        expected.push(write(&servers[follower], number));
    }
    // The effects of a write through a follower are published there when it returns, in log order.
    let published = servers[follower].group().machine().published.lock().unwrap().clone();
    assert!(published.is_sorted_by_key(|(at, _)| at.index));
    assert_eq!(published.last().map(|(_, effect)| effect.as_str()), Some("key019=value19"));

    let dead = leader(&servers);
    let survivor = if dead == 0 { 1 } else { 0 };
    let killed = servers.remove(dead);
    killed.kill();
    for (at, number) in (20..40).enumerate() {
        expected.push(write(&servers[at % 2], number));
    }
    assert_eq!(servers[0].pairs(), expected);

    let revived = plan.start(dead).unwrap();
    assert_eq!(revived.pairs(), expected);
    servers.insert(dead, revived);
    expected.push(write(&servers[dead], 40));
    for server in &servers {
        assert_eq!(server.pairs(), expected);
        assert!(server.count() >= expected.len() as u64);
    }
    assert_eq!(servers[survivor].node().cluster_id(), servers[dead].node().cluster_id());

    // And all of it once more from disk alone.
    for server in servers {
        server.kill();
    }
    let servers = plan.start_all();
    assert_eq!(servers[1].pairs(), expected);
}

/// Commands that are applied together: whose answer is whose?
#[test]
fn everybody_has_the_answer_of_the_own_command() {
    let mut plan = Plan::new(3);
    let servers = plan.start_all();
    leader(&servers);
    for (at, server) in servers.iter().enumerate() {
        let commands: Vec<_> = (0..100).map(|number| format!("key{at}/{number}={number}")).collect();
        let proposals = commands.iter().cloned().map(|command| {
            let group = server.group().clone();
            async move { group.propose(command.into_bytes()).await }
        });
        let answers = server.run(join_all(proposals.collect::<Vec<_>>()));
        let published = server.group().machine().published.lock().unwrap().clone();
        // The ledger answers with a command's number among all.
        let numbers = published.iter().zip(1_u64..).map(|((at, command), number)| ((at.index, command), number));
        let numbers: HashMap<_, _> = numbers.collect();
        for (command, committed) in commands.iter().zip(answers) {
            let committed = committed.unwrap();
            let number = numbers[&(committed.index, command)];
            assert_eq!(committed.answer, number.to_be_bytes(), "{command}");
        }
    }
}

#[test]
fn leadership_moves_on_request_and_on_stop() {
    let mut plan = Plan::new(3);
    // Long enough to tell an election from a hand-over on any machine.
    let patience = Duration::from_secs(5);
    plan.timing = Timing { election_min: patience, election_max: patience * 2, ..plan.timing };
    let mut servers = plan.start_all();
    servers[0].propose("a=1").unwrap();
    let first = leader(&servers);
    let next = (first + 1) % 3;
    let to = servers[next].slot();
    let (group, other) = (servers[first].group().clone(), servers[next].group().clone());
    assert_eq!(servers[next].run(async move { other.transfer_leader(Slot(9)).await }), Err(TransferError::NotLeader));
    let nobody = group.clone();
    let missing = servers[first].run(async move { nobody.transfer_leader(Slot(9)).await });
    assert_eq!(missing, Err(TransferError::NoSuchMember(Slot(9))));
    servers[first].run(async move { group.transfer_leader(to).await }).unwrap();
    eventually(|| servers[next].status().is_leader.then_some(()));

    let stopping = servers.remove(next);
    stopping.stop();
    // The leader has handed over before it went: nobody waits for an election.
    let began = Instant::now();
    servers[0].propose("b=2").unwrap();
    assert!(began.elapsed() < patience, "{:?}", began.elapsed());
}

#[test]
fn a_state_that_cannot_be_written_ends_the_server() {
    let mut plan = Plan::new(1);
    plan.group.flush_every = Duration::from_millis(50);
    let (told, reasons) = mpsc::channel();
    let mut config = plan.config(0);
    config.on_fatal = FatalHook::new(move |reason| drop(told.send(reason.to_owned())));
    let server = plan.begin(0, config).recv().unwrap().unwrap();
    fs::remove_dir_all(plan.data_dir(0).join("chainfire-state/generation-1")).unwrap();
    // Whether it is answered does not matter: the log has it.
    let _ = server.propose("a=1");
    let reason = reasons.recv_timeout(Duration::from_secs(30)).unwrap();
    assert!(reason.contains("the state cannot be written to disk"), "{reason}");
}

#[test]
fn a_state_that_does_not_move_holds_up_no_proof() {
    let mut plan = Plan::new(1);
    let server = plan.start(0).unwrap();
    server.propose("a=1").unwrap();
    let group = server.group().clone();
    let asked = group.clone();
    assert!(server.run(async move { asked.prove_leadership().await }).is_ok());

    // Effects are published under this lock before an entry counts as applied.
    let machine = group.machine().clone();
    let stalled = machine.published.lock().unwrap();
    let before = server.status().committed;
    let proposed = group.clone();
    server.spawn(async move { drop(proposed.propose(b"b=2".to_vec()).await) });
    eventually(|| (server.status().committed > before).then_some(()));
    let (done, proven) = mpsc::channel();
    server.spawn(async move { done.send(group.prove_leadership().await).unwrap() });
    assert_eq!(proven.recv_timeout(Duration::from_secs(30)), Ok(Err(ReadError::Behind)));
    drop(stalled);
}

#[test]
fn without_a_quorum_nothing_is_acknowledged() {
    let mut plan = Plan::new(3);
    let mut servers = plan.start_all();
    servers[0].propose("a=1").unwrap();
    let last = servers.remove(leader(&servers));
    for server in servers {
        server.kill();
    }
    // The leader does not know yet that it is alone: the first command may be in its log.
    let first = last.propose("b=2").unwrap_err();
    assert!(matches!(first, ProposeError::Unknown(_) | ProposeError::NoLeader(_)), "{first}");
    let second = last.propose("c=3").unwrap_err();
    assert!(matches!(second, ProposeError::NoLeader(_)), "{second}");
    assert_eq!(last.count(), 2);
}

/// §0 "Wiped member": "a disk rolled back in time is detected and stopped with the same instruction".
#[test]
fn a_disk_that_went_back_in_time_ends_its_server_and_nobody_elses() {
    let mut plan = Plan::new(3);
    // What a server acknowledged is known to the leader that it told; on a busy machine that one must stay.
    let patience = Duration::from_secs(5);
    plan.timing = Timing { election_min: patience, election_max: patience * 2, ..plan.timing };
    let servers = plan.start_all();
    write(&servers[0], 0);
    let first = leader(&servers);
    let (old, third, saved) = ((first + 1) % 3, (first + 2) % 3, plan.folder.path().join("saved"));
    let mut servers: Vec<_> = servers.into_iter().map(Some).collect();
    servers[old].take().unwrap().kill();
    copy_folder(&plan.data_dir(old), &saved).unwrap();
    let again = plan.start(old).unwrap();
    // Without the third one, nothing is committed that this one has not acknowledged.
    servers[third].take().unwrap().kill();
    write(&again, 1);
    again.kill();
    fs::remove_dir_all(plan.data_dir(old)).unwrap();
    copy_folder(&saved, &plan.data_dir(old)).unwrap();
    let _third = plan.start(third).unwrap();
    let lead = servers[first].take().unwrap();

    let term = lead.status().term;
    let (told, reasons) = mpsc::channel();
    let mut config = plan.config(old);
    config.on_fatal = FatalHook::new(move |reason| drop(told.send(reason.to_owned())));
    let _reverted = plan.begin(old, config).recv().unwrap().unwrap();
    let reason = reasons.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(reason.contains("its disk went back in time"), "{reason}");
    write(&lead, 2);
    assert_eq!(lead.status().term, term);
}

#[test]
fn the_ca_can_be_replaced_while_all_run() {
    let mut plan = Plan::new(3);
    let certificates = plan.folder.path().join("certificates");
    let next = plan.folder.path().join("next");
    let ca = peer_ca::init(&next).unwrap();
    let (old, new) = (fs::read(certificates.join("peer-ca.pem")).unwrap(), fs::read(ca).unwrap());
    let names = ["cp0", "cp1", "cp2"];
    let replace = |path: &Path, bytes: &[u8]| {
        let temporary = path.with_extension("new");
        fs::write(&temporary, bytes).unwrap();
        fs::rename(temporary, path).unwrap();
    };
    for name in names {
        replace(plan.tls(name).trust.authority().unwrap(), &[old.as_slice(), &new].concat());
    }
    let mut servers = plan.start_all();
    write(&servers[0], 0);
    for (number, name) in (1..).zip(names) {
        let issued = peer_ca::issue(&next, name, &[], &next.join(name)).unwrap();
        let own = plan.tls(name);
        replace(&own.certificate, &fs::read(issued.certificate).unwrap());
        replace(&own.key, &fs::read(issued.key).unwrap());
        write(&servers[0], number);
    }
    for name in names {
        replace(plan.tls(name).trust.authority().unwrap(), &new);
    }
    // A server that starts now knows the new CA only: it reaches the leader and is reached by it, or has no answer.
    for (slot, number) in (0..3).zip(10..) {
        servers.remove(0).kill();
        servers.push(plan.start(slot).unwrap());
        let restarted = servers.last().unwrap();
        let command = format!("key{number:03}=value{number}");
        eventually(|| restarted.propose(command.clone()).ok());
    }
    assert_eq!(servers[0].pairs().len(), 1 + 4 + 3);
}

#[test]
fn a_follower_that_was_away_gets_a_snapshot() {
    let mut plan = Plan::new(3);
    plan.group.snapshot_every = 20;
    plan.group.keep_entries = 0;
    let mut servers = plan.start_all();
    servers[0].propose("before=1").unwrap();
    let away = (leader(&servers) + 1) % 3;
    servers.remove(away).kill();
    let value = "x".repeat(100_000);
    for number in 0..100 {
        servers[0].propose(format!("key{number:03}={value}")).unwrap();
    }
    let back = plan.start(away).unwrap();
    let expected = servers[0].pairs();
    assert_eq!(expected.len(), 102);
    assert_eq!(back.pairs(), expected);
    assert!(back.group().machine().restored.load(Ordering::SeqCst) > 0, "it came by snapshot, not by log");

    // The received state is the one that a restart finds.
    back.propose("after=2").unwrap();
    back.kill();
    let back = plan.start(away).unwrap();
    assert_eq!(back.pairs().len(), 103);
}

#[test]
fn one_server_needs_no_peers_and_no_certificates() {
    let mut plan = Plan::new(1);
    let server = plan.start(0).unwrap();
    assert_eq!(server.propose("a=1").unwrap().answer, 2_u64.to_be_bytes());
    let limit = 8 << 20;
    assert_eq!(server.propose(vec![b'x'; limit + 1]).unwrap_err(), ProposeError::TooLarge { size: limit + 1, limit });
    let cluster = server.node().cluster_id();
    server.stop();
    let server = plan.start(0).unwrap();
    assert_eq!(server.pairs(), [("a".into(), "1".into()), ("genesis".into(), "cp0".into())]);
    assert_eq!(server.node().cluster_id(), cluster);
    server.propose("b=2").unwrap();
    // The port that it names as its own is not to be had.
    let address = plan.cluster.members[0].address.clone();
    assert_eq!(TcpListener::bind(&address).err().map(|error| error.kind()), Some(ErrorKind::AddrInUse));
    server.kill();
    let server = plan.start(0).unwrap();
    assert_eq!(server.pairs().len(), 3);
}
