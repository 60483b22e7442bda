//! One story that agrees with itself, and every way to spoil it.

use super::{
    call::Call,
    journal::Journal,
    replay::{Replayed, replay},
    writers::{Attempt, Outcome},
};
use crate::{
    digest,
    etcd::{Change, Done, Op},
    history::{AuditRow, Position},
};

const LINEAGE: &str = "l";
const LEASE: i64 = 0x1_0000_0000;

#[derive(Clone)]
struct Story {
    attempts: Vec<Attempt>,
    changes: Vec<Change>,
    rows: Vec<AuditRow>,
    positions: Vec<Position>,
    last: i64,
}

fn put(key: &str, value: &str, lease: i64) -> Op {
    Op::Put { key: key.into(), value: value.into(), lease }
}

fn delete(from: &str, to: &str) -> Op {
    Op::Delete { from: from.into(), to: to.into() }
}

fn done(revision: i64, deleted: i64) -> Outcome {
    Outcome::Acknowledged(Done { revision, deleted })
}

fn attempt(ops: &[Op], outcome: Outcome) -> Attempt {
    Attempt { call: Call::Write(ops.to_vec()), outcome }
}

fn change(revision: i64, key: &str, value: Option<&str>, before: Option<&str>, lease: i64) -> Change {
    Change { revision, key: key.into(), value: value.map(str::to_owned), before: before.map(str::to_owned), lease }
}

fn row(index: i64, sub: i64, action: &str, resource: &str) -> AuditRow {
    AuditRow {
        lineage: LINEAGE.into(),
        index,
        sub,
        sequence: index,
        event_id: format!("{LINEAGE}/{index}/{sub}"),
        revision: None,
        action: action.into(),
        resource: resource.into(),
        outcome: "done".into(),
        before: None,
        after: None,
        count: 1,
    }
}

fn row_of(index: i64, sub: i64, change: &Change) -> AuditRow {
    let digest = |value: &Option<String>| value.as_ref().map(|value| digest::of_bytes(value.as_bytes()));
    let action = if change.value.is_some() { "kv.Put" } else { "kv.Delete" };
    AuditRow {
        revision: Some(change.revision),
        before: digest(&change.before),
        after: digest(&change.value),
        ..row(index, sub, action, &format!("key/{}", change.key))
    }
}

fn story() -> Story {
    let lost = || Outcome::Unknown("lost connection".into());
    let attempts = vec![
        attempt(&[put("a", "1", 0)], done(2, 0)),
        attempt(&[put("x/a", "2", 0)], lost()),
        attempt(&[put("x/b", "3", 0)], lost()),
        attempt(&[put("a", "4", 0), put("x/c", "5", 0), delete("d", "e")], done(4, 0)),
        attempt(&[delete("x/", "x0")], lost()),
        attempt(&[delete("y/", "y0")], done(5, 0)),
        Attempt { call: Call::Grant(LEASE), outcome: lost() },
        attempt(&[put("l", "6", LEASE), put("m", "7", LEASE)], done(6, 0)),
        attempt(&[put("m", "8", 0), delete("a", "b")], done(7, 1)),
        attempt(&[put("n", "9", LEASE)], Outcome::Refused("no such lease".into())),
    ];
    let changes = vec![
        change(2, "a", Some("1"), None, 0),
        change(3, "x/a", Some("2"), None, 0),
        change(4, "a", Some("4"), Some("1"), 0),
        change(4, "x/c", Some("5"), None, 0),
        change(5, "x/a", None, Some("2"), 0),
        change(5, "x/c", None, Some("5"), 0),
        change(6, "l", Some("6"), None, LEASE),
        change(6, "m", Some("7"), None, LEASE),
        change(7, "m", Some("8"), Some("7"), 0),
        change(7, "a", None, Some("4"), 0),
        change(8, "l", None, Some("6"), 0),
    ];
    let mut rows = vec![
        row(1, 0, "cluster.Genesis", "cluster/c"),
        AuditRow { revision: Some(1), ..row(3, 0, "iam.GrantRole", "principal/admin") },
        row(4, 0, "audit.PolicySet", "audit-policy"),
    ];
    let places = [(5, 0), (6, 0), (8, 0), (8, 1), (9, 0), (9, 1), (12, 0), (12, 1), (13, 0), (13, 1), (15, 1)];
    rows.extend(changes.iter().zip(places).map(|(change, (index, sub))| row_of(index, sub, change)));
    rows.push(row(11, 0, "lease.Grant", "lease/100000000"));
    rows.push(row(15, 0, "lease.Expire", "lease/100000000"));
    rows.sort_by_key(|row| (row.index, row.sub));
    let position = Position { member: "s1".into(), stream: format!("journal/{LINEAGE}"), rows: 16, unshipped_bytes: 0 };
    Story { attempts, changes, rows, positions: vec![position], last: 8 }
}

impl Story {
    fn replay(&self) -> Replayed {
        replay(&self.attempts, &self.changes, self.last)
    }

    fn journal(&self) -> Vec<String> {
        let Self { rows, positions, changes, attempts, .. } = self;
        Journal { rows, positions, changes, attempts, ended: &self.replay().ended }.contradictions()
    }

    /// The row of an action that has only one.
    fn row(&mut self, action: &str) -> &mut AuditRow {
        self.rows.iter_mut().find(|row| row.action == action).unwrap()
    }
}

/// A change of the story that has to be noticed.
type Spoiled = (&'static str, fn(&mut Story));

#[test]
fn a_story_that_agrees_is_believed() {
    let replayed = story().replay();
    assert_eq!(replayed.contradictions, Vec::<String>::new());
    assert_eq!((replayed.unknown_applied, replayed.found_nothing), (2, 1));
    assert_eq!(replayed.ended, [(8, LEASE)].into());
    assert_eq!(story().journal(), Vec::<String>::new());
}

#[test]
fn every_contradiction_between_clients_and_history_is_told() {
    let spoils: [Spoiled; 14] = [
        ("a lost put", |story| story.attempts[2].outcome = done(9, 0)),
        ("a lost deletion", |story| story.attempts[5].outcome = done(6, 2)),
        ("a put elsewhere", |story| story.attempts[0].outcome = done(9, 0)),
        ("a refused put", |story| story.attempts[1].outcome = Outcome::Refused("full".into())),
        ("a refused deletion", |story| story.attempts[4].outcome = Outcome::Refused("full".into())),
        ("a wrong count", |story| story.attempts[8].outcome = done(7, 2)),
        ("a deletion that should have found something", |story| story.attempts[4].outcome = done(4, 0)),
        ("half a transaction", |story| drop(story.changes.remove(3))),
        ("half a range", |story| drop(story.changes.remove(5))),
        ("another value before", |story| story.changes[2].before = None),
        ("another key", |story| story.changes[0].key = "z".into()),
        ("a lease that was not asked for", |story| story.changes[0].lease = LEASE),
        ("a gap", |story| drop(story.changes.remove(1))),
        ("an early end", |story| story.last = 9),
    ];
    for (what, spoil) in spoils {
        let mut story = story();
        spoil(&mut story);
        assert!(!story.replay().contradictions.is_empty(), "{what}");
    }
}

#[test]
fn a_write_that_is_applied_twice_is_told() {
    let mut story = story();
    story.last = 9;
    story.changes.push(change(9, "a", Some("1"), None, 0));
    assert_eq!(story.replay().contradictions.len(), 2, "twice, and not where it was acknowledged");
}

#[test]
fn every_contradiction_between_history_and_audit_rows_is_told() {
    let spoils: [Spoiled; 23] = [
        ("a row too few", |story| drop(story.rows.remove(3))),
        ("a row too many", |story| story.rows.push(row(16, 0, "kv.Compact", "revision/3"))),
        ("a row twice", |story| story.rows.push(AuditRow { index: 16, ..story.rows[3].clone() })),
        ("another lineage", |story| story.rows[3].lineage = "k".into()),
        ("a gap in an entry", |story| story.rows[6].sub = 2),
        ("another entry", |story| story.rows[6].index = 9),
        ("another sequence", |story| story.rows[3].sequence = 4),
        ("another event", |story| story.rows[3].event_id = "l/4/0".into()),
        ("more than one event", |story| story.rows[3].count = 2),
        ("another revision", |story| story.rows[3].revision = Some(9)),
        ("no revision", |story| story.rows[3].revision = None),
        ("another key", |story| story.rows[3].resource = "key/other".into()),
        ("another action", |story| story.row("kv.Delete").action = "kv.Put".into()),
        ("another outcome", |story| story.rows[3].outcome = "refused".into()),
        ("no digest after", |story| story.rows[3].after = None),
        ("no digest before", |story| story.row("kv.Delete").before = None),
        ("a lease too few", |story| story.row("lease.Expire").resource = "lease/2".into()),
        ("a lease that nobody asked for", |story| story.row("lease.Grant").resource = "lease/2".into()),
        ("a lease that was given back", |story| story.row("lease.Expire").action = "lease.Revoke".into()),
        ("a lease after its keys", |story| story.rows.swap(14, 15)),
        ("a gap in the system's revisions", |story| story.row("iam.GrantRole").revision = Some(2)),
        ("a cursor elsewhere", |story| story.positions[0].rows = 15),
        ("a journal that is not empty", |story| story.positions[0].unshipped_bytes = 1),
    ];
    for (what, spoil) in spoils {
        let mut story = story();
        spoil(&mut story);
        assert!(!story.journal().is_empty(), "{what}");
    }
}

#[test]
fn a_lease_that_was_granted_and_not_recorded_is_lost() {
    let mut story = story();
    story.attempts.push(Attempt { call: Call::Grant(7), outcome: done(8, 0) });
    assert_eq!(story.journal(), ["LOST: lease/7 was granted, but is not in the audit rows"]);
}
