//! §2.7: what the state machine does with leases.

use std::cell::Cell;

use chainfire_core::{
    Command, Effect, Envelope, LogPosition, UserAnswer, UserCommand, UserError, apply,
    cluster::{ClusterAnswer, ClusterCommand},
    format,
    kv::{Put, Revision},
    lease::{self, CheckpointedLease, ExpiredLease, Lease, LeaseCheckpoint, LeaseExpire, LeaseId},
};
use holdfast_keyspace::{self as keyspace, KeyRange, Memory, Order, Overlay, Read, Scan, Table};

use crate::store::{Store, TERM, bytes, mira, pair};

fn attach(store: &mut Store, key: &str, id: i64) {
    store.put(Put { lease: LeaseId(id), ..pair(key, "x") }).unwrap();
}

fn expire(store: &mut Store, term: u64, leases: &[(i64, u64)]) -> u64 {
    let leases = leases.iter().map(|(id, granted_at)| ExpiredLease { id: LeaseId(*id), granted_at: *granted_at });
    match store.user(UserCommand::LeaseExpire(LeaseExpire { term, leases: leases.collect() })).unwrap() {
        UserAnswer::LeaseExpire { expired, .. } => expired,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_short_time_is_raised_and_a_too_long_one_refused() {
    let mut store = Store::new();
    assert_eq!(store.grant(1, 1), Ok(2));
    assert_eq!(store.grant(2, -5), Ok(2));
    assert_eq!(store.grant(3, 9_000_000_000), Ok(9_000_000_000));
    assert_eq!(store.grant(4, 9_000_000_001), Err(UserError::LeaseTtlTooLarge));
}

#[test]
fn a_given_id_that_exists_is_refused() {
    let mut store = Store::new();
    store.grant(7, 60).unwrap();
    assert_eq!(store.effects, [Effect::LeaseGranted { id: LeaseId(7), ttl: 60 }]);
    assert_eq!(store.grant(7, 60), Err(UserError::LeaseExists));
    assert_eq!(store.grant(0, 60), Err(UserError::LeaseNotFound), "the proposer draws ids");
}

#[test]
fn a_grant_is_stored_as_granted() {
    let mut store = Store::new();
    store.time_ms = 42;
    store.grant(7, 60).unwrap();
    store.grant(-1, 60).unwrap();
    let lease = lease::lease(&store.state, LeaseId(7)).unwrap();
    assert_eq!(lease, Some(Lease { ttl: 60, granted_ms: 42, granted_at: 2 }));
    assert_eq!(lease::lease(&store.state, LeaseId(8)).unwrap(), None);
    let ids = |after, limit| {
        let leases = lease::leases(&store.state, after, limit).unwrap();
        leases.into_iter().map(|(id, _)| id.0).collect::<Vec<_>>()
    };
    assert_eq!(ids(None, 10), [7, -1]);
    assert_eq!(ids(None, 1), [7]);
    assert_eq!(ids(Some(LeaseId(7)), 10), [-1]);
}

#[test]
fn a_revocation_deletes_its_keys_sorted_in_one_revision() {
    let mut store = Store::new();
    store.grant(7, 60).unwrap();
    for key in ["c", "a", "b"] {
        attach(&mut store, key, 7);
    }
    store.set("d", "stays");
    assert_eq!(lease::keys(&store.state, LeaseId(7)).unwrap(), [bytes("a"), bytes("b"), bytes("c")]);
    store.revoke(7).unwrap();
    let changed = store.changed();
    assert_eq!((changed.len(), changed[0].revision), (1, Revision(6)));
    let keys: Vec<_> = changed[0].events.iter().map(|event| event.kv.key.clone()).collect();
    assert_eq!(keys, [bytes("a"), bytes("b"), bytes("c")]);
    assert!(store.effects.contains(&Effect::LeaseRevoked { id: LeaseId(7) }));
    assert_eq!(store.revoke(7), Err(UserError::LeaseNotFound));
    assert!(store.get("a").is_none() && store.get("d").is_some());
    assert_eq!(lease::keys(&store.state, LeaseId(7)).unwrap(), Vec::<bytes::Bytes>::new());
}

#[test]
fn expired_leases_have_a_revision_each_and_missing_ones_are_skipped() {
    let mut store = Store::new();
    store.grant(7, 60).unwrap();
    store.grant(8, 60).unwrap();
    attach(&mut store, "a", 7);
    attach(&mut store, "b", 8);
    assert_eq!(expire(&mut store, TERM, &[(7, 2), (9, 9), (8, 3)]), 2);
    let revisions: Vec<_> = store.changed().iter().map(|changed| changed.revision.0).collect();
    assert_eq!(revisions, [4, 5]);
}

#[test]
fn a_deposed_leader_cannot_expire_what_its_successor_renewed() {
    let mut store = Store::new();
    store.grant(7, 60).unwrap();
    assert_eq!(expire(&mut store, TERM - 1, &[(7, 2)]), 0);
    assert!(lease::lease(&store.state, LeaseId(7)).unwrap().is_some());
}

#[test]
fn an_expiry_means_the_grant_that_it_names() {
    let mut store = Store::new();
    store.grant(7, 60).unwrap();
    store.revoke(7).unwrap();
    store.grant(7, 60).unwrap();
    assert_eq!(expire(&mut store, TERM, &[(7, 2)]), 0);
    assert_eq!(expire(&mut store, TERM, &[(7, 4)]), 1);
}

fn checkpoint(store: &mut Store, term: u64, id: i64, granted_at: u64, remaining: Option<i64>) {
    let leases = vec![CheckpointedLease { id: LeaseId(id), granted_at, remaining }];
    let command = ClusterCommand::LeaseCheckpoint(LeaseCheckpoint { term, leases });
    let before = store.revision();
    assert_eq!(store.cluster(command), Ok(ClusterAnswer::Done));
    assert_eq!((store.revision(), store.effects.as_slice()), (before, [].as_slice()));
}

/// §2.7: what a lease has left survives a change of leaders where checkpoints are on.
#[test]
fn a_checkpoint_is_the_leaders_word_about_one_grant() {
    let mut store = Store::new();
    store.grant(7, 600).unwrap();
    let left = |store: &Store| lease::remaining(&store.state, LeaseId(7)).unwrap();
    checkpoint(&mut store, TERM - 1, 7, 2, Some(300));
    checkpoint(&mut store, TERM, 7, 1, Some(300));
    checkpoint(&mut store, TERM, 8, 2, Some(300));
    assert_eq!(left(&store), None);
    checkpoint(&mut store, TERM, 7, 2, Some(300));
    assert_eq!(left(&store), Some(300));
    checkpoint(&mut store, TERM, 7, 2, None);
    assert_eq!(left(&store), None);
    checkpoint(&mut store, TERM, 7, 2, Some(200));
    store.revoke(7).unwrap();
    store.grant(7, 600).unwrap();
    assert_eq!(left(&store), None);
}

/// A state that counts what is asked of it.
struct Counted<'a> {
    state: &'a Memory,
    /// Single reads, and pairs that scans gave.
    reads: Cell<usize>,
}

impl Read for Counted<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, keyspace::Error> {
        self.reads.set(self.reads.get() + 1);
        self.state.get(table, key)
    }

    fn scan(&self, table: Table, range: KeyRange, order: Order) -> Scan<'_> {
        Box::new(self.state.scan(table, range, order).inspect(|_| self.reads.set(self.reads.get() + 1)))
    }
}

/// What it costs to hang another key on lease 7, or to write one that hangs there: reads and changes.
fn cost(store: &Store, key: &str) -> (usize, usize) {
    let put = UserCommand::Put(Put { lease: LeaseId(7), ..pair(key, "x") });
    let envelope = Envelope { origin: mira(), time_ms: store.time_ms, command: Command::User(put) };
    let counted = Counted { state: &store.state, reads: Cell::new(0) };
    let mut overlay = Overlay::new(&counted);
    let at = LogPosition { index: store.index + 1, term: TERM };
    apply(&mut overlay, at, &format::encode_command(&envelope).unwrap()).unwrap();
    let changes = overlay.into_changes().count();
    (counted.reads.get(), changes)
}

/// "put-with-lease must be O(1) in attached keys".
#[test]
fn a_key_costs_the_same_whatever_else_hangs_on_its_lease() {
    let mut store = Store::new();
    store.grant(7, 60).unwrap();
    attach(&mut store, "a", 7);
    let (new, again) = (cost(&store, "m"), cost(&store, "a"));
    assert!(new.0 > 0 && new.1 > 0);
    for number in 0..1_000 {
        attach(&mut store, &format!("k{number}"), 7);
    }
    assert_eq!((cost(&store, "m"), cost(&store, "a")), (new, again));
}
