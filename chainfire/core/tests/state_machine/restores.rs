//! A backed-up state goes on in another cluster (§0 Backup, §2.1 "not after restore").

use chainfire_core::{
    Answer, Command, Effect, UserCommand, UserError,
    cluster::{self, ClusterAnswer, ClusterCommand, GenesisCommand, Limits},
    journal::{AuditLevel, AuditPolicy},
    kv::{self, Range, Revision},
    lease::{self, LeaseId},
    quota, table,
};
use holdfast_keyspace::{KeyRange, Memory, Order, Read as _, Write as _};
use uuid::Uuid;

use crate::store::{Store, genesis, one, pair};

const BUMP: u64 = 1_000_000;

/// The genesis of the cluster that takes the state over.
fn successor() -> GenesisCommand {
    GenesisCommand {
        cluster: Uuid::from_u128(7),
        lineage: Uuid::from_u128(8),
        ..genesis(true, Limits { lock_groups: 1, ..Limits::default() }, AuditPolicy::default())
    }
}

#[test]
fn a_restored_state_goes_on_in_a_lineage_of_its_own() {
    let mut store = Store::digesting();
    store.set("a", "1");
    store.set("b", "2");
    store.grant(7, 60).unwrap();
    let (cut, old) = (store.index, cluster::genesis(&store.state).unwrap());
    cluster::prepare(&mut store.state, BUMP, cut).unwrap();
    assert_eq!(store.commit(Command::User(UserCommand::Put(pair("a", "3")))), Answer::BeforeGenesis);
    // A backup of something that is no cluster's yet is not taken for one.
    assert!(cluster::genesis(&store.state).unwrap().is_none());

    let Ok(ClusterAnswer::Genesis(begun)) = store.cluster(ClusterCommand::Genesis(successor())) else { panic!() };
    assert_ne!(Some(&begun), old.as_ref());
    let restored = Revision(3 + BUMP as i64);
    assert!(store.effects.contains(&Effect::Restored(restored)), "{:?}", store.effects);
    assert_eq!((store.revision(), kv::compacted_revision(&store.state).unwrap()), (restored, Some(restored)));
    assert_eq!(store.get("b").unwrap().mod_revision, Revision(3));
    assert_eq!(lease::lease(&store.state, LeaseId(7)).unwrap().unwrap().ttl, 60);
    assert_eq!(kv::revision_at(&store.state, store.time_ms).unwrap(), restored);
    let past = Range { at: Some(Revision(3)), ..Range::of(one("a")) };
    assert_eq!(store.range(&past), Err(UserError::Compacted));
    assert_eq!(store.set("a", "3"), restored.0 + 1);

    let lineages = cluster::lineages(&store.state).unwrap();
    let last = lineages.last().unwrap();
    assert_eq!(
        (lineages.len(), last.id, last.parent, last.cut),
        (2, Uuid::from_u128(8), Some(Uuid::from_u128(2)), cut)
    );
    let state = cluster::state(&store.state).unwrap().unwrap();
    assert_eq!((state.limits, state.lineage_ordinal), (Limits::default(), 1), "limits come with the backup");
    let record = store.journal().into_iter().find(|record| record.action == "cluster.Restore").unwrap();
    assert_eq!((record.position.lineage, record.revision), (last.id, Some(restored.0.cast_unsigned())));
    let last = store.journal().pop().unwrap();
    assert_eq!((last.action.as_str(), last.position.lineage), ("kv.Put", Uuid::from_u128(8)));
}

#[test]
fn a_restored_state_can_be_restored_again() {
    let mut store = Store::digesting();
    for (generation, id) in (1..4).zip(10..) {
        let before = store.revision();
        cluster::prepare(&mut store.state, BUMP, store.index).unwrap();
        let genesis = GenesisCommand { lineage: Uuid::from_u128(id), ..successor() };
        store.cluster(ClusterCommand::Genesis(genesis)).unwrap();
        assert_eq!(store.revision(), Revision(before.0 + BUMP as i64));
        assert_eq!(cluster::state(&store.state).unwrap().unwrap().lineage_ordinal, generation);
    }
}

#[test]
fn half_a_cluster_is_damage() {
    let mut store = Store::new();
    store.state.delete(table::META, b"cluster.genesis".to_vec());
    assert!(cluster::prepare(&mut store.state, BUMP, 1).is_err());
}

/// The rows of a store as an etcd keeps them, taken over by an empty state.
fn imported(from: &Memory, leases: &[(i64, i64)]) -> Memory {
    let mut state = Memory::new();
    for (id, ttl) in leases {
        lease::import(&mut state, LeaseId(*id), *ttl, None, 5).unwrap();
    }
    let mut newest = Revision::FRESH;
    for row in from.scan(table::ROWS, KeyRange::all(), Order::Ascending) {
        let (key, value) = row.unwrap();
        newest = kv::import(&mut state, &key, value).unwrap();
    }
    kv::imported(&mut state, newest, kv::compacted_revision(from).unwrap());
    state
}

#[test]
fn the_rows_of_an_etcd_make_the_same_keyspace() {
    let mut store = Store::new();
    store.grant(7, 60).unwrap();
    store.grant(8, 60).unwrap();
    let leased = |key, lease| kv::Put { lease: LeaseId(lease), ..pair(key, "x") };
    store.put(leased("a", 7)).unwrap();
    store.put(leased("b", 7)).unwrap();
    store.put(leased("b", 8)).unwrap();
    store.put(leased("c", 8)).unwrap();
    store.set("c", "free");
    store.put(leased("d", 7)).unwrap();
    store.delete(one("d"));
    store.set("e", "1");
    store.set("e", "2");
    store.compact(6).unwrap();
    let state = imported(&store.state, &[(7, 60), (8, 60)]);
    for at in [None, Some(Revision(6)), Some(Revision(8))] {
        assert_eq!(kv::hash(&state, at).unwrap(), kv::hash(&store.state, at).unwrap(), "{at:?}");
    }
    assert_eq!(quota::size(&state).unwrap(), quota::size(&store.state).unwrap());
    for table in [table::ROWS, table::INDEX, table::LEASE_KEYS] {
        let rows = |state: &Memory| -> Vec<_> {
            state.scan(table, KeyRange::all(), Order::Ascending).map(Result::unwrap).collect()
        };
        assert_eq!(rows(&state), rows(&store.state), "{table:?}");
    }
    // A key whose lease is gone hangs on nothing.
    let without = imported(&store.state, &[(8, 60)]);
    assert!(lease::keys(&without, LeaseId(7)).unwrap().is_empty());
}

#[test]
fn what_comes_from_an_etcd_has_no_lineage_before_it() {
    let mut store = Store::empty();
    store.state = imported(&Store::new().state, &[]);
    cluster::prepare(&mut store.state, BUMP, 9).unwrap();
    let audit = AuditPolicy::all(AuditLevel::Metadata);
    store.cluster(ClusterCommand::Genesis(GenesisCommand { audit: audit.clone(), ..successor() })).unwrap();
    let lineages = cluster::lineages(&store.state).unwrap();
    assert_eq!((lineages.len(), lineages[0].parent, lineages[0].cut), (1, None, 0));
    assert_eq!(chainfire_core::journal::policy(&store.state).unwrap(), audit);
}

#[test]
fn damaged_rows_are_refused() {
    let mut state = Memory::new();
    let row = |main: i64| [&main.to_be_bytes()[..], b"_", &[0; 8]].concat();
    let value = kv::KeyValue { key: "a".into(), mod_revision: Revision(2), ..kv::KeyValue::default() }.encode();
    assert!(kv::import(&mut state, b"short", value.clone()).is_err());
    assert!(kv::import(&mut state, &row(3), value.clone()).is_err(), "another revision");
    assert!(kv::import(&mut state, &row(2), b"\xff".to_vec()).is_err());
    assert_eq!(kv::import(&mut state, &row(9), Vec::new()).unwrap(), Revision(9), "etcd's own way to skip revisions");
    assert_eq!(kv::import(&mut state, &row(2), value).unwrap(), Revision(2));
}
