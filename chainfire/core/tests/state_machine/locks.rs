use chainfire_core::{
    SystemError,
    cluster::Limits,
    journal::AuditPolicy,
    system::{
        LockAcquire, LockAnswer, LockAsker, LockGroup, LockPolicy, LockRefusal, LockRelease, SystemAnswer,
        SystemCommand, current_revision, lock_group, lock_groups, lock_holder,
    },
};

use crate::store::Store;

fn lock(store: &mut Store, command: SystemCommand) -> Result<LockAnswer, SystemError> {
    match store.system(command)? {
        SystemAnswer::Lock(answer) => Ok(answer),
        SystemAnswer::Txn(answer) => panic!("{answer:?}"),
    }
}

fn wanted(group: &str, id: &str) -> LockAcquire {
    LockAcquire { group: group.into(), id: id.into(), asker: LockAsker::Anybody, default_slots: 1, listed: false }
}

fn take(store: &mut Store, group: &str, id: &str) -> LockAnswer {
    lock(store, SystemCommand::LockAcquire(wanted(group, id))).unwrap()
}

fn take_as(store: &mut Store, asker: LockAsker, id: &str) -> LockAnswer {
    let acquire = LockAcquire { asker, default_slots: 9, ..wanted("default", id) };
    lock(store, SystemCommand::LockAcquire(acquire)).unwrap()
}

fn give_as(store: &mut Store, asker: LockAsker, id: &str) -> LockAnswer {
    let release = LockRelease { group: "default".into(), id: id.into(), asker, reason: None };
    lock(store, SystemCommand::LockRelease(release)).unwrap()
}

fn give(store: &mut Store, group: &str, id: &str) -> bool {
    let release = LockRelease { group: group.into(), id: id.into(), asker: LockAsker::Anybody, reason: None };
    match lock(store, SystemCommand::LockRelease(release)).unwrap() {
        LockAnswer::Released { held } => held,
        other => panic!("{other:?}"),
    }
}

fn policy(store: &mut Store, slots: u32, frozen: Option<&str>) {
    let policy =
        LockPolicy { group: "default".into(), slots, frozen: frozen.map(Into::into), reason: "maintenance".into() };
    assert!(matches!(lock(store, SystemCommand::LockPolicy(policy)), Ok(LockAnswer::PolicySet { .. })));
}

fn is_granted(answer: &LockAnswer) -> bool {
    matches!(answer, LockAnswer::Granted { .. })
}

#[test]
fn an_id_holds_one_slot_however_often_it_asks() {
    let mut store = Store::digesting();
    let LockAnswer::Granted { holder, new: true } = take(&mut store, "default", "n1") else { panic!() };
    assert_eq!((holder.granted_at_ms, holder.grant), (1_000, 1));
    let revision = current_revision(&store.state).unwrap();
    let records = store.journal().len();
    let before = store.state.clone();
    store.time_ms = 2_000;
    let LockAnswer::Granted { holder, new: false } = take(&mut store, "default", "n1") else { panic!() };
    assert_eq!(holder.granted_at_ms, 1_000);
    assert_eq!(store.state, before);
    assert_eq!(current_revision(&store.state).unwrap(), revision);
    assert_eq!(store.journal().len(), records, "a repeat is not news");
    assert!(give(&mut store, "default", "n1"));
    assert!(!give(&mut store, "default", "n1"));
}

#[test]
fn a_full_group_refuses_and_names_the_holders_oldest_first() {
    let mut store = Store::digesting();
    policy(&mut store, 2, None);
    take(&mut store, "default", "z");
    take(&mut store, "default", "a");
    let LockAnswer::Refused(LockRefusal::SemaphoreFull { slots, holders }) = take(&mut store, "default", "n3") else {
        panic!()
    };
    let ids: Vec<_> = holders.iter().map(|holder| holder.id.as_str()).collect();
    assert_eq!((slots, ids), (2, vec!["z", "a"]));
    assert_eq!(store.journal().last().unwrap().resource, "lock/default/a", "a refusal writes no history");
}

#[test]
fn releasing_what_is_not_held_is_a_success_and_changes_nothing() {
    let mut store = Store::digesting();
    take(&mut store, "default", "n1");
    let before = store.state.clone();
    assert!(!give(&mut store, "default", "n2"));
    assert!(!give(&mut store, "other", "n1"));
    assert_eq!(store.state, before);
    assert_eq!(store.effects, []);
}

#[test]
fn fewer_slots_revoke_nobody_and_holders_always_succeed() {
    let mut store = Store::digesting();
    policy(&mut store, 2, None);
    take(&mut store, "default", "n1");
    take(&mut store, "default", "n2");
    policy(&mut store, 0, None);
    assert!(is_granted(&take(&mut store, "default", "n1")));
    policy(&mut store, 1, Some("storm"));
    assert!(is_granted(&take(&mut store, "default", "n2")));
    assert_eq!(lock_group(&store.state, "default").unwrap().unwrap().holders.len(), 2);
    assert!(give(&mut store, "default", "n1"));
    let refused = take(&mut store, "default", "n3");
    assert_eq!(refused, LockAnswer::Refused(LockRefusal::Frozen { reason: "storm".into() }));
    policy(&mut store, 1, None);
    assert!(!is_granted(&take(&mut store, "default", "n3")), "still one holder of one slot");
    assert!(give(&mut store, "default", "n2"));
    assert!(is_granted(&take(&mut store, "default", "n3")));
}

#[test]
fn a_group_without_policy_has_the_askers_default() {
    let mut store = Store::digesting();
    for (id, default_slots, granted) in [("n1", 1, true), ("n2", 1, false), ("n2", 2, true)] {
        let acquire = LockAcquire { default_slots, ..wanted("g", id) };
        assert_eq!(is_granted(&lock(&mut store, SystemCommand::LockAcquire(acquire)).unwrap()), granted);
    }
    assert_eq!(lock_group(&store.state, "g").unwrap().unwrap().slots, None);
}

#[test]
fn groups_made_by_asking_are_bounded_and_idle_ones_make_room() {
    let limits = Limits { lock_groups: 2, ..Limits::default() };
    let mut store = Store::audited(limits, AuditPolicy::default());
    assert!(is_granted(&take(&mut store, "g1", "n")));
    assert!(is_granted(&take(&mut store, "g2", "n")));
    assert_eq!(take(&mut store, "g3", "n"), LockAnswer::Refused(LockRefusal::TooManyGroups { limit: 2 }));
    policy(&mut store, 1, None);
    assert!(is_granted(&take(&mut store, "default", "n")), "groups with a policy do not count");
    give(&mut store, "g1", "n");
    let LockAnswer::Granted { holder, .. } = take(&mut store, "g3", "n") else { panic!() };
    assert_eq!(holder.grant, 4, "the fencing number goes on");
    assert!(!is_granted(&take(&mut store, "g1", "n")));
}

#[test]
fn a_slot_is_the_principal_s_who_took_it() {
    let principal = |name: &str| LockAsker::Principal(name.into());
    let mut store = Store::digesting();
    let LockAnswer::Granted { holder, new: true } = take_as(&mut store, principal("node/a"), "x") else { panic!() };
    assert_eq!(holder.owner.as_deref(), Some("node/a"));
    let before = store.state.clone();
    let foreign = LockAnswer::Refused(LockRefusal::Foreign { holder: holder.clone() });
    assert_eq!(take_as(&mut store, principal("node/b"), "x"), foreign);
    assert_eq!(give_as(&mut store, principal("node/b"), "x"), foreign);
    let another = LockAnswer::Refused(LockRefusal::HoldsAnother { holder });
    assert_eq!(take_as(&mut store, principal("node/a"), "y"), another);
    assert_eq!(store.state, before);

    let admin = LockAsker::Admin("user/mira".into());
    for id in ["x", "y", "z"] {
        assert!(is_granted(&take_as(&mut store, admin.clone(), id)), "{id}");
    }
    assert_eq!(lock_holder(&store.state, "default", "x").unwrap().unwrap().owner.as_deref(), Some("node/a"));
    assert_eq!(give_as(&mut store, admin, "x"), LockAnswer::Released { held: true });
    assert!(is_granted(&take_as(&mut store, principal("node/a"), "w")));
    // Whoever demands no proof goes by the id alone, as the protocol does.
    assert_eq!(give_as(&mut store, LockAsker::Anybody, "w"), LockAnswer::Released { held: true });
    assert!(is_granted(&take_as(&mut store, LockAsker::Anybody, "v")));
    assert_eq!(give_as(&mut store, principal("node/b"), "v"), LockAnswer::Released { held: true });
}

#[test]
fn a_read_answers_as_the_state_machine_would() {
    let mut store = Store::digesting();
    policy(&mut store, 2, None);
    let stands = |store: &Store| lock_group(&store.state, "default").unwrap().unwrap_or_default();
    let asked = |asker: &LockAsker, id: &str| LockAcquire { asker: asker.clone(), ..wanted("default", id) };
    let askers = [LockAsker::Anybody, LockAsker::Principal("node/a".into()), LockAsker::Principal("node/b".into())];
    let mut granted = 0;
    for (id, asker) in ["x", "y", "z"].iter().flat_map(|id| askers.iter().map(move |asker| (id, asker))) {
        let acquire = asked(asker, id);
        let read = stands(&store).answer(&acquire);
        let applied = lock(&mut store, SystemCommand::LockAcquire(acquire)).unwrap();
        match read {
            Some(read) => assert_eq!(read, applied),
            None => {
                assert!(matches!(applied, LockAnswer::Granted { new: true, .. }), "{applied:?}");
                granted += 1;
            }
        }
    }
    assert_eq!(granted, 2);
    assert_eq!(LockGroup::default().answer(&asked(&askers[0], "x")), None);
}

#[test]
fn unlisted_groups_fill_no_more_than_their_share() {
    let limits = Limits { system_bytes: 16 * 2_000, ..Limits::default() };
    let mut store = Store::audited(limits, AuditPolicy::default());
    let id = |n: u32| format!("{n:0>200}");
    let many = |group: &str, id: String, listed: bool| {
        SystemCommand::LockAcquire(LockAcquire { default_slots: 1_000, listed, ..wanted(group, &id) })
    };
    let full = |answer: &LockAnswer| matches!(answer, LockAnswer::Refused(LockRefusal::UnlistedFull { bytes: 2_000 }));
    let took = (0..50).take_while(|n| is_granted(&lock(&mut store, many("g", id(*n), false)).unwrap())).count();
    assert!((2..10).contains(&took), "{took}");
    assert!(full(&lock(&mut store, many("other", id(0), false)).unwrap()));
    // Nobody else's room is spent, and whoever lists the group takes it out of the share.
    for n in 0..20 {
        assert!(is_granted(&lock(&mut store, many("listed", id(n), true)).unwrap()), "{n}");
    }
    assert!(is_granted(&lock(&mut store, many("g", id(60), true)).unwrap()));
    assert!(is_granted(&lock(&mut store, many("other", id(0), false)).unwrap()));
}

#[test]
fn what_is_given_back_is_room_again() {
    let limits = Limits { system_bytes: 16 * 2_000, ..Limits::default() };
    let mut store = Store::audited(limits, AuditPolicy::default());
    let id = "i".repeat(253);
    for round in 0..20 {
        assert!(is_granted(&take(&mut store, "g", &id)), "{round}");
        assert!(give(&mut store, "g", &id));
    }
}

#[test]
fn listings_show_groups_with_a_policy_or_a_holder() {
    let mut store = Store::digesting();
    policy(&mut store, 3, Some("storm"));
    take(&mut store, "a", "n1");
    take(&mut store, "b", "n1");
    give(&mut store, "b", "n1");
    let names = |after, limit| {
        let groups = lock_groups(&store.state, after, limit).unwrap();
        groups.into_iter().map(|group| group.group).collect::<Vec<_>>()
    };
    assert_eq!(names(None, 10), ["a", "default"]);
    assert_eq!(names(None, 1), ["a"]);
    assert_eq!(names(Some("a"), 10), ["default"]);
    assert_eq!(lock_group(&store.state, "b").unwrap(), None);
    assert_eq!(lock_holder(&store.state, "a", "n1").unwrap().unwrap().id, "n1");
    let group = lock_group(&store.state, "default").unwrap().unwrap();
    assert_eq!((group.slots, group.frozen.as_deref()), (Some(3), Some("storm")));
}

#[test]
fn similar_names_do_not_mix() {
    let mut store = Store::digesting();
    assert!(is_granted(&take(&mut store, "a", "b/c")));
    assert!(is_granted(&take(&mut store, "a/b", "c")));
    assert!(is_granted(&take(&mut store, "A", "B/C")));
    assert!(!is_granted(&take(&mut store, "a", "B/c")), "ids are case-sensitive");
}

#[test]
fn names_that_would_break_logs_are_refused() {
    let mut store = Store::digesting();
    let long = "x".repeat(254);
    for (group, id) in [("", "n"), ("g", ""), ("default\n", "n"), ("g", "n\0"), (long.as_str(), "n")] {
        let acquire = SystemCommand::LockAcquire(wanted(group, id));
        assert_eq!(lock(&mut store, acquire), Err(SystemError::InvalidName));
    }
}

#[test]
fn an_admins_release_leaves_its_reason() {
    let mut store = Store::digesting();
    take(&mut store, "default", "n1");
    let asker = LockAsker::Admin("user/mira".into());
    let release = LockRelease { group: "default".into(), id: "n1".into(), asker, reason: Some("node is gone".into()) };
    lock(&mut store, SystemCommand::LockRelease(release)).unwrap();
    let record = store.journal().pop().unwrap();
    assert_eq!((record.action.as_str(), record.resource.as_str()), ("lock.Release", "lock/default/n1"));
    assert_eq!((record.reason.as_deref(), record.revision), (Some("node is gone"), Some(2)));
}
