use chainfire_core::{
    Answer, ClusterError, Command, Effect, Halt, LogPosition, UserCommand, apply,
    cluster::{self, ClusterAnswer, ClusterCommand, Limits, Member, NewLineage},
    journal::{self, AuditLevel, AuditPolicy},
};
use uuid::Uuid;

use crate::store::{Store, genesis, pair};

#[test]
fn nothing_comes_before_genesis() {
    let mut store = Store::empty();
    assert_eq!(store.commit(Command::User(UserCommand::Put(pair("a", "1")))), Answer::BeforeGenesis);
    assert_eq!(cluster::genesis(&store.state).unwrap(), None);
    assert_eq!(cluster::state(&store.state).unwrap(), None);
}

#[test]
fn a_cluster_begins_once() {
    let mut store = Store::empty();
    let member = Member { slot: 0, name: "n1".into(), peer_urls: vec!["https://n1:2380".into()] };
    let mut first = genesis(true, Limits::default(), AuditPolicy::all(AuditLevel::Digest));
    first.members.push(member.clone());
    let Ok(ClusterAnswer::Genesis(answer)) = store.cluster(ClusterCommand::Genesis(first)) else { panic!() };
    assert_eq!(store.effects[0], Effect::ClusterChanged);
    assert_eq!(
        (answer.cluster, answer.members.as_slice(), answer.time_ms),
        (Uuid::from_u128(1), [member].as_slice(), 1_000)
    );
    let mut second = genesis(false, Limits::default(), AuditPolicy::default());
    second.cluster = Uuid::from_u128(5);
    let refused = store.cluster(ClusterCommand::Genesis(second));
    assert_eq!(refused, Err(ClusterError::GenesisExists { cluster: Uuid::from_u128(1) }));
    assert_eq!(cluster::genesis(&store.state).unwrap(), Some(answer));
    assert_eq!(journal::policy(&store.state).unwrap(), AuditPolicy::all(AuditLevel::Digest));
    assert_eq!(store.journal().len(), 1);
}

#[test]
fn a_lineage_begins_where_its_parent_was_cut_and_repeating_it_does_nothing() {
    let mut store = Store::digesting();
    let new = NewLineage { id: Uuid::from_u128(3), parent: Uuid::from_u128(2), cut: 17 };
    store.time_ms = 5_000;
    for _ in 0..2 {
        assert_eq!(store.cluster(ClusterCommand::NewLineage(new)), Ok(ClusterAnswer::Done));
    }
    let lineages = cluster::lineages(&store.state).unwrap();
    assert_eq!(lineages.len(), 2);
    let begun = &lineages[1];
    assert_eq!(
        (begun.id, begun.ordinal, begun.parent, begun.cut, begun.begun_ms),
        (new.id, 1, Some(new.parent), 17, 5_000)
    );
    assert_eq!(cluster::state(&store.state).unwrap().unwrap().lineage, new.id);
    let wrong = NewLineage { id: Uuid::from_u128(4), ..new };
    assert_eq!(store.cluster(ClusterCommand::NewLineage(wrong)), Err(ClusterError::WrongParent { current: new.id }));
}

#[test]
fn the_feature_level_never_falls_and_one_that_is_too_new_halts() {
    let mut store = Store::digesting();
    let raise = |level| ClusterCommand::RaiseFeatureLevel { level };
    assert_eq!(store.cluster(raise(1)), Err(ClusterError::LevelTooLow { current: 1 }));
    let halt = store.try_commit(Command::Cluster(raise(2))).unwrap_err();
    assert!(halt.to_string().contains("upgrade this server"), "{halt}");
}

#[test]
fn limits_and_policy_change_for_all_and_are_recorded() {
    let mut store = Store::digesting();
    let limits = Limits { lock_groups: 5, ..Limits::default() };
    store.cluster(ClusterCommand::SetLimits(limits)).unwrap();
    assert_eq!(cluster::state(&store.state).unwrap().unwrap().limits, limits);
    store.cluster(ClusterCommand::AuditPolicySet(AuditPolicy::default())).unwrap();
    store.set("a", "1");
    let actions: Vec<_> = store.journal().into_iter().map(|record| record.action).collect();
    assert_eq!(actions, ["cluster.Genesis", "cluster.SetLimits", "audit.PolicySet"]);
}

#[test]
fn damaged_and_newer_entries_halt() {
    let mut store = Store::new();
    let at = LogPosition { index: 9, term: 1 };
    for entry in [b"".as_slice(), b"garbage", &holdfast_format::encode(holdfast_format::kind::COMMAND, 2, b"x")] {
        let halt = apply(&mut store.state, at, entry).unwrap_err();
        assert!(matches!(halt, Halt::Command(_)), "{halt}");
    }
}
