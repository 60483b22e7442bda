//! A cluster that begins with the state of another one (§0 "a new static membership plus restore").

// A failed unwrap is a failed test.
#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, path::Path};

use bytes::Bytes;
use chainfire_raft::{Error, GroupConfig, Machine as _, Position, Restore};
use holdfast_testkit::copy_folder;
use support::{Ledger, Plan, Server, eventually};

type Pairs = Vec<(String, String)>;

/// What a cluster of `members` leaves behind: its frames, its pairs, and where its log ended.
fn backup(members: usize, commands: usize) -> (Vec<Bytes>, Pairs, Position) {
    let mut plan = Plan::new(members);
    let servers = plan.start_all();
    for number in 0..commands {
        // Through all of them.
        servers[number % members].propose(format!("key{number:03}={number}")).unwrap();
    }
    let pairs = servers[0].pairs();
    let view = servers[0].group().state().snapshot();
    let frames = view.frames().unwrap().map(Result::unwrap).collect();
    (frames, pairs, view.position().unwrap().unwrap())
}

fn restore(folder: &Path, frames: &[Bytes]) -> Result<(), Error> {
    let restore = Restore::begin(folder)?;
    let mut group = restore.group(&GroupConfig::chainfire(), Ledger::default().tables())?;
    for frame in frames {
        group.accept(frame)?;
    }
    group.finish(Position { index: 1, term: 1 })?;
    restore.finish()
}

/// The pairs of the old cluster, and the first command of the new one.
fn with_genesis(mut pairs: Pairs, genesis: &str) -> Pairs {
    pairs.retain(|(key, _)| key != "genesis");
    pairs.push(("genesis".to_owned(), genesis.to_owned()));
    pairs.sort();
    pairs
}

fn check_goes_on(servers: &[Server], mut expected: Pairs, old: Position) {
    for server in servers {
        assert_eq!(server.pairs(), expected);
    }
    let last = servers.last().unwrap().propose("later=1").unwrap();
    assert!(last.index > old.index && last.term > old.term, "{} {} after {old:?}", last.index, last.term);
    expected.push(("later".to_owned(), "1".to_owned()));
    for server in servers {
        assert_eq!(server.pairs(), expected);
    }
}

#[test]
fn three_servers_go_on_with_what_one_of_them_was_given() {
    let (frames, pairs, old) = backup(3, 30);
    let mut plan = Plan::new(3);
    restore(&plan.data_dir(0), &frames).unwrap();
    let servers = plan.start_all();
    let expected = with_genesis(pairs, "cp0,cp1,cp2");
    check_goes_on(&servers, expected, old);

    // All of it once more from disk, and each of them is a member like any other.
    servers.into_iter().for_each(Server::kill);
    let mut servers = plan.start_all();
    servers.remove(0).kill();
    servers[1].propose("last=1").unwrap();
    let first = plan.start(0).unwrap();
    assert_eq!(first.pairs(), servers[0].pairs());
    assert!(first.pairs().contains(&("last".to_owned(), "1".to_owned())));
}

#[test]
fn the_members_may_be_others_than_before() {
    let (frames, pairs, old) = backup(3, 5);
    let mut alone = Plan::new(1);
    restore(&alone.data_dir(0), &frames).unwrap();
    let servers = alone.start_all();
    check_goes_on(&servers, with_genesis(pairs, "cp0"), old);
    let again = servers[0].group().state().snapshot().frames().unwrap().map(Result::unwrap).collect::<Vec<_>>();
    let (pairs, old) = (servers[0].pairs(), servers[0].group().state().snapshot().position().unwrap().unwrap());
    drop(servers);

    let mut five = Plan::new(5);
    restore(&five.data_dir(0), &again).unwrap();
    let pairs = with_genesis(pairs, "cp0,cp1,cp2,cp3,cp4");
    let servers = five.start_all();
    for server in &servers {
        assert_eq!(server.pairs(), pairs);
    }
    assert!(servers[4].propose("later=2").unwrap().index > old.index);
}

#[test]
fn a_restore_never_writes_over_data() {
    let (frames, ..) = backup(1, 1);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("something"), "").unwrap();
    let error = restore(folder.path(), &frames).unwrap_err().to_string();
    assert!(error.contains("is not empty"), "{error}");
}

#[test]
fn frames_that_are_not_whole_are_refused_and_so_is_their_folder() {
    let (frames, ..) = backup(1, 5);
    let mut touched = frames.clone();
    let middle = touched[1].len() / 2;
    let mut bytes = touched[1].to_vec();
    bytes[middle] ^= 1;
    touched[1] = bytes.into();
    let short = frames[..frames.len() - 1].to_vec();
    let without = [&frames[..1], &frames[2..]].concat();
    for (broken, why) in [(touched, "damaged"), (short, "has no end"), (without, "damaged")] {
        let mut plan = Plan::new(1);
        let error = restore(&plan.data_dir(0), &broken).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        let error = plan.start(0).err().unwrap().to_string();
        assert!(error.contains("did not finish"), "{error}");
    }
}

#[test]
fn only_the_first_member_begins_with_a_restored_folder() {
    let (frames, ..) = backup(1, 1);
    let mut plan = Plan::new(3);
    restore(&plan.data_dir(1), &frames).unwrap();
    let error = plan.start(1).err().unwrap();
    assert!(
        matches!(error, Error::Config(_)) && error.to_string().contains("the first of the members, cp0"),
        "{error}"
    );
}

#[test]
fn a_restored_member_meets_only_empty_ones() {
    let (frames, ..) = backup(1, 1);
    let mut plan = Plan::new(3);
    let mut servers = plan.start_all();
    servers[1].propose("a=1").unwrap();
    servers.remove(0).kill();
    fs::remove_dir_all(plan.data_dir(0)).unwrap();
    restore(&plan.data_dir(0), &frames).unwrap();
    let error = plan.start(0).err().unwrap().to_string();
    assert!(error.contains("all others begin with empty folders"), "{error}");
}

#[test]
fn a_state_without_identity_and_log_is_refused() {
    let mut plan = Plan::new(1);
    let server = plan.start(0).unwrap();
    server.propose("a=1").unwrap();
    server.stop();
    let kept = plan.folder.path().join("kept");
    copy_folder(&plan.data_dir(0).join("chainfire-state"), &kept).unwrap();
    fs::remove_dir_all(plan.data_dir(0)).unwrap();
    fs::create_dir_all(plan.data_dir(0)).unwrap();
    copy_folder(&kept, &plan.data_dir(0).join("chainfire-state")).unwrap();
    let error = eventually(|| plan.start(0).err()).to_string();
    assert!(error.contains("a part of a data folder"), "{error}");
}
