//! Whether the audit rows are chainfire's journal, and the journal is the store's history: row by row, nothing missing,
//! nothing twice, nothing else.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    call::Call,
    revisions,
    writers::{Attempt, Outcome},
};
use crate::{
    digest,
    etcd::Change,
    history::{AuditRow, Position},
};

/// Everything that the rows are compared with.
#[derive(Debug)]
pub(crate) struct Journal<'a> {
    /// In their order: by log index, then by place in the entry.
    pub(crate) rows: &'a [AuditRow],
    pub(crate) positions: &'a [Position],
    /// Every change of a user key since the store was empty.
    pub(crate) changes: &'a [Change],
    pub(crate) attempts: &'a [Attempt],
    /// Revisions that the end of a lease made, and the lease.
    pub(crate) ended: &'a BTreeMap<i64, i64>,
}

/// What one record says of a change.
#[derive(Debug, PartialEq, Eq)]
struct Line<'a> {
    action: &'a str,
    resource: String,
    outcome: &'a str,
    before: Option<String>,
    after: Option<String>,
}

impl<'a> Journal<'a> {
    /// Each way in which they disagree.
    pub(crate) fn contradictions(&self) -> Vec<String> {
        let mut found = self.streams_have_brought_all_rows();
        found.extend(self.entries_are_whole());
        found.extend(self.revisions_are_the_history());
        found.extend(self.digests_are_a_chain());
        found.extend(self.leases_begin_and_end());
        found.extend(self.ends_take_their_keys_along());
        found.extend(self.counts_agree());
        found.extend(self.system_revisions_are_whole());
        found
    }

    pub(crate) fn rows_by_action(&self) -> BTreeMap<&'a str, usize> {
        let mut counts = BTreeMap::new();
        for row in self.rows {
            *counts.entry(row.action.as_str()).or_default() += 1;
        }
        counts
    }

    /// The cursor of the stream counts just these rows, and the journal holds none that the stream does not have.
    fn streams_have_brought_all_rows(&self) -> Vec<String> {
        let mut found = Vec::new();
        for position in self.positions {
            if position.unshipped_bytes > 0 {
                found.push(format!("{}'s journal holds what was not shipped: {position:?}", position.member));
            }
            if usize::try_from(position.rows) != Ok(self.rows.len()) {
                found.push(format!(
                    "{} rows, where {}'s cursor counts {}",
                    self.rows.len(),
                    position.member,
                    position.rows
                ));
            }
            if let Some(row) = self.rows.iter().find(|row| position.stream != format!("journal/{}", row.lineage)) {
                found.push(format!("{} has a row of the lineage {}", position.stream, row.lineage));
            }
        }
        found
    }

    /// The records of an entry are numbered from 0 without a gap.
    fn entries_are_whole(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in self.rows.chunk_by(|one, next| (&one.lineage, one.index) == (&next.lineage, next.index)) {
            for (row, expected) in entry.iter().zip(0..) {
                let event_id = format!("{}/{}/{}", row.lineage, row.index, row.sub);
                if row.sub != expected || row.sequence != row.index || row.event_id != event_id || row.count != 1 {
                    found.push(format!("record {expected} of an entry is {row:?}"));
                }
            }
        }
        let orderly = self.rows.is_sorted_by(|one, next| (one.index, one.sub) < (next.index, next.sub));
        if !orderly {
            found.push("the rows are not in the order of the log".to_owned());
        }
        found
    }

    /// Each revision's records are its changes in their order, side by side in one entry.
    fn revisions_are_the_history(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut recorded: BTreeMap<i64, Vec<&AuditRow>> = BTreeMap::new();
        let mut newest = 0;
        for row in self.rows.iter().filter(|row| is_of_a_key(row)) {
            let Some(revision) = row.revision else {
                found.push(format!("a change of a key without revision: {row:?}"));
                continue;
            };
            if revision < newest {
                found.push(format!("revision {revision} comes after revision {newest} in the log"));
            }
            newest = newest.max(revision);
            recorded.entry(revision).or_default().push(row);
        }
        for told in revisions(self.changes) {
            let revision = told.first().map_or(0, |change| change.revision);
            let rows = recorded.remove(&revision).unwrap_or_default();
            let history: Vec<_> = told.iter().map(line_of_change).collect();
            let audit: Vec<_> = rows.iter().map(|row| line_of_row(row)).collect();
            if history != audit {
                found.push(format!("revision {revision}: the history has {history:?}, the audit rows {audit:?}"));
            }
            let together = rows.is_sorted_by(|one, next| (one.index, one.sub + 1) == (next.index, next.sub));
            if !together {
                found.push(format!("revision {revision} is in several entries, or not side by side"));
            }
        }
        found.extend(recorded.keys().map(|revision| format!("revision {revision} is in the audit rows only")));
        found
    }

    /// What a key was before is what the record before left, whatever the history says.
    fn digests_are_a_chain(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut left: HashMap<&str, Option<&str>> = HashMap::new();
        for row in self.rows.iter().filter(|row| is_of_a_key(row)) {
            let before = left.insert(&row.resource, row.after.as_deref()).flatten();
            if row.before.as_deref() != before {
                found.push(format!("the record before left {before:?}, but this one found {row:?}"));
            }
        }
        found
    }

    /// Every lease that was granted is recorded once, was asked for, and has ended once; no key hung on it but in
    /// between.
    fn leases_begin_and_end(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut asked = BTreeMap::new();
        for attempt in self.attempts {
            if let Call::Grant(lease) = attempt.call {
                asked.insert(resource_of_lease(lease), &attempt.outcome);
            }
        }
        let hangs_on: HashMap<(Option<i64>, String), i64> = self
            .changes
            .iter()
            .filter(|change| change.lease != 0)
            .map(|change| ((Some(change.revision), format!("key/{}", change.key)), change.lease))
            .collect();
        let mut live = BTreeSet::new();
        for row in self.rows {
            let wrong = match row.action.as_str() {
                // Taken out of the asked: a second grant was asked for by nobody.
                "lease.Grant" => match asked.remove(&row.resource) {
                    Some(Outcome::Acknowledged(_) | Outcome::Unknown(_)) => !live.insert(row.resource.clone()),
                    Some(Outcome::Refused(_)) | None => true,
                },
                "lease.Expire" => !live.remove(&row.resource),
                "kv.Put" => {
                    let lease = hangs_on.get(&(row.revision, row.resource.clone()));
                    lease.is_some_and(|lease| !live.contains(&resource_of_lease(*lease)))
                }
                _ => false,
            };
            if wrong || (is_of_a_lease(row) && (row.outcome != "done" || row.revision.is_some())) {
                found.push(format!("not what became of this lease: {row:?}"));
            }
        }
        let lost = asked.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Acknowledged(_)));
        found.extend(lost.map(|(lease, _)| format!("LOST: {lease} was granted, but is not in the audit rows")));
        found.extend(live.iter().map(|lease| format!("the end of {lease} is not in the audit rows")));
        found
    }

    /// The keys that a lease took along are recorded right after its end.
    fn ends_take_their_keys_along(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut before: Option<&AuditRow> = None;
        let mut seen = BTreeSet::new();
        for row in self.rows {
            let ended =
                row.revision.filter(|_| is_of_a_key(row)).and_then(|revision| self.ended.get_key_value(&revision));
            if let Some((revision, lease)) = ended
                && seen.insert(revision)
            {
                let end = ("lease.Expire", resource_of_lease(*lease), row.index);
                if before.is_none_or(|row| (row.action.as_str(), row.resource.clone(), row.index) != end) {
                    found.push(format!("revision {revision} does not follow the end of lease {lease:x}: {before:?}"));
                }
            }
            before = Some(row);
        }
        found
    }

    /// As many rows of each action as there was cause for, and no action without cause.
    fn counts_agree(&self) -> Vec<String> {
        let counts = self.rows_by_action();
        let count = |action| counts.get(action).copied().unwrap_or_default();
        let puts = self.changes.iter().filter(|change| change.value.is_some()).count();
        let caused = [
            ("kv.Put", puts),
            ("kv.Delete", self.changes.len() - puts),
            ("lease.Expire", count("lease.Grant")),
            // The proof's own preparation.
            ("cluster.Genesis", 1),
            ("audit.PolicySet", 1),
        ];
        let mut found = Vec::new();
        for (action, caused) in caused {
            if count(action) != caused {
                found.push(format!("{} rows of {action}, where there was cause for {caused}", count(action)));
            }
        }
        let known = |action: &str| action == "lease.Grant" || caused.iter().any(|(caused, _)| *caused == action);
        let strange = self.rows.iter().filter(|row| (is_of_a_key(row) || is_of_a_lease(row)) && !known(&row.action));
        found.extend(strange.map(|row| format!("nobody caused {row:?}")));
        found
    }

    /// Whatever else has a revision changed the system keyspace, whose revisions are numbered on their own.
    fn system_revisions_are_whole(&self) -> Vec<String> {
        let system = self.rows.iter().filter(|row| !is_of_a_key(row));
        let mut found = Vec::new();
        let mut at = 0;
        for (row, revision) in system.filter_map(|row| Some((row, row.revision?))) {
            if revision != at + 1 {
                found.push(format!("the system's revision {} is missing before {row:?}", at + 1));
            }
            at = revision;
        }
        found
    }
}

fn is_of_a_key(row: &AuditRow) -> bool {
    row.action.starts_with("kv.")
}

fn is_of_a_lease(row: &AuditRow) -> bool {
    row.action.starts_with("lease.")
}

fn resource_of_lease(lease: i64) -> String {
    format!("lease/{lease:x}")
}

fn line_of_change(change: &Change) -> Line<'_> {
    let digest = |value: &Option<String>| value.as_ref().map(|value| digest::of_bytes(value.as_bytes()));
    Line {
        action: if change.value.is_some() { "kv.Put" } else { "kv.Delete" },
        resource: format!("key/{}", change.key),
        outcome: "done",
        before: digest(&change.before),
        after: digest(&change.value),
    }
}

fn line_of_row(row: &AuditRow) -> Line<'_> {
    Line {
        action: &row.action,
        resource: row.resource.clone(),
        outcome: &row.outcome,
        before: row.before.clone(),
        after: row.after.clone(),
    }
}
