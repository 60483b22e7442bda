//! Whether what clients were told, what the store says and what the history says are one and the same.

use std::collections::{BTreeMap, HashMap};

use super::writers::{Outcome, Write};
use crate::{digest, etcd::Change, history::AuditRow};

/// Everything that is known after the last write.
#[derive(Debug)]
pub(crate) struct Observed<'a> {
    /// First and last revision that the writers can have created.
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) writes: &'a [Write],
    pub(crate) changes: &'a [Change],
    pub(crate) audit: &'a [AuditRow],
}

impl Observed<'_> {
    /// Each way in which the three disagree.
    pub(crate) fn contradictions(&self) -> Vec<String> {
        let mut found = self.history_has_every_revision_once();
        found.extend(self.writes_match_the_history());
        found.extend(self.audit_matches_the_history());
        found
    }

    /// Writes of unknown outcome that turned out to be applied.
    pub(crate) fn unknown_applied(&self) -> usize {
        let applied = self.by_value();
        let unknown = |write: &&Write| matches!(write.outcome, Outcome::Unknown(_));
        self.writes.iter().filter(unknown).filter(|write| applied.contains_key(write.value.as_slice())).count()
    }

    fn by_value(&self) -> HashMap<&[u8], &Change> {
        self.changes.iter().map(|change| (change.value.as_slice(), change)).collect()
    }

    fn history_has_every_revision_once(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut expected = self.first;
        for change in self.changes {
            if change.revision != expected {
                found.push(format!("the watch gives revision {} where {expected} comes next", change.revision));
            }
            expected = change.revision + 1;
        }
        if expected != self.last + 1 {
            found.push(format!("the watch ends before revision {expected}; the store is at {}", self.last));
        }
        found
    }

    fn writes_match_the_history(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut applied = self.by_value();
        if applied.len() != self.changes.len() {
            found.push(format!(
                "{} changes have only {} values: a write was applied twice",
                self.changes.len(),
                applied.len()
            ));
        }
        for write in self.writes {
            let change = applied.remove(write.value.as_slice());
            let what = || format!("{} = {:?}", write.key, String::from_utf8_lossy(&write.value));
            match (&write.outcome, change) {
                (Outcome::Acknowledged(revision), None) => {
                    found.push(format!("LOST: {} was acknowledged at revision {revision}", what()));
                }
                (Outcome::Acknowledged(revision), Some(change)) if change.revision != *revision => {
                    let there = change.revision;
                    found.push(format!("{} was acknowledged at revision {revision}, but is at {there}", what()));
                }
                (Outcome::Refused(reason), Some(change)) => {
                    found.push(format!("{} was refused ({reason}), but is at revision {}", what(), change.revision));
                }
                (_, Some(change)) if change.key != write.key => {
                    found.push(format!("{} went to the key {}", what(), change.key));
                }
                _ => {}
            }
        }
        found.extend(applied.values().map(|change| format!("revision {}: nobody wrote it", change.revision)));
        found
    }

    fn audit_matches_the_history(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut rows: BTreeMap<i64, &AuditRow> = BTreeMap::new();
        for row in self.audit {
            if rows.insert(row.revision, row).is_some() {
                found.push(format!("revision {} is in the audit history twice", row.revision));
            }
        }
        for change in self.changes {
            let revision = change.revision;
            let Some(row) = rows.remove(&revision) else {
                found.push(format!("revision {revision} is not in the audit history"));
                continue;
            };
            let resource = format!("key/{}", change.key);
            if row.resource != resource {
                found.push(format!("revision {revision} changed {resource}; the audit history says {}", row.resource));
            }
            if row.after.as_deref() != Some(digest::of_bytes(&change.value).as_str()) {
                found.push(format!("revision {revision}: the audit history has the digest {:?}", row.after));
            }
            if row.outcome != "done" {
                found.push(format!("revision {revision}: the audit history says {}", row.outcome));
            }
        }
        found.extend(rows.keys().map(|revision| format!("revision {revision} is in the audit history only")));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(number: u8, outcome: Outcome) -> Write {
        Write { key: format!("k{number}"), value: vec![number], outcome }
    }

    fn change(revision: i64, number: u8) -> Change {
        Change { revision, key: format!("k{number}"), value: vec![number] }
    }

    fn row(change: &Change) -> AuditRow {
        AuditRow {
            revision: change.revision,
            resource: format!("key/{}", change.key),
            outcome: "done".into(),
            after: Some(digest::of_bytes(&change.value)),
        }
    }

    fn check(writes: &[Write], changes: &[Change], audit: &[AuditRow]) -> Vec<String> {
        let last = changes.iter().map(|change| change.revision).max().unwrap_or(1);
        Observed { first: 2, last, writes, changes, audit }.contradictions()
    }

    fn agreeing() -> (Vec<Write>, Vec<Change>, Vec<AuditRow>) {
        let writes = vec![
            write(1, Outcome::Acknowledged(2)),
            write(2, Outcome::Unknown("lost connection".into())),
            write(3, Outcome::Unknown("lost connection".into())),
            write(4, Outcome::Refused("full".into())),
        ];
        let changes = vec![change(2, 1), change(3, 3)];
        let audit = changes.iter().map(row).collect();
        (writes, changes, audit)
    }

    #[test]
    fn unknown_writes_may_be_there_or_not() {
        let (writes, changes, audit) = agreeing();
        assert_eq!(check(&writes, &changes, &audit), Vec::<String>::new());
        let observed = Observed { first: 2, last: 3, writes: &writes, changes: &changes, audit: &audit };
        assert_eq!(observed.unknown_applied(), 1);
    }

    #[test]
    fn a_lost_a_moved_and_a_refused_write_are_told() {
        let (mut writes, changes, audit) = agreeing();
        for (number, outcome) in
            [(2, Outcome::Acknowledged(9)), (3, Outcome::Acknowledged(7)), (3, Outcome::Refused("full".into()))]
        {
            let right = std::mem::replace(&mut writes[number - 1].outcome, outcome);
            assert_eq!(check(&writes, &changes, &audit).len(), 1, "{number}");
            writes[number - 1].outcome = right;
        }
    }

    #[test]
    fn a_write_that_is_applied_twice_is_told() {
        let (writes, mut changes, mut audit) = agreeing();
        changes.push(change(4, 1));
        audit.push(row(&changes[2]));
        assert!(!check(&writes, &changes, &audit).is_empty());
    }

    #[test]
    fn a_gap_in_the_watch_is_told() {
        let (writes, changes, audit) = agreeing();
        let observed = Observed { first: 2, last: 5, writes: &writes, changes: &changes, audit: &audit };
        assert_eq!(observed.contradictions(), ["the watch ends before revision 4; the store is at 5"]);
    }

    #[test]
    fn every_kind_of_wrong_audit_row_is_told() {
        let (writes, changes, audit) = agreeing();
        let wrong: [fn(&mut Vec<AuditRow>); 6] = [
            |rows| drop(rows.pop()),
            |rows| rows.push(rows[0].clone()),
            |rows| rows.push(AuditRow { revision: 9, ..rows[0].clone() }),
            |rows| rows[0].resource = "key/other".into(),
            |rows| rows[0].after = None,
            |rows| rows[0].outcome = "refused".into(),
        ];
        for (number, spoil) in wrong.into_iter().enumerate() {
            let mut rows = audit.clone();
            spoil(&mut rows);
            assert_eq!(check(&writes, &changes, &rows).len(), 1, "{number}");
        }
    }
}
