//! Whether what clients were told and what the store's history shows are one and the same: the history is carried out
//! again, revision by revision, and each revision must be the whole effect of one call or of one lease's end.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    call::Call,
    revisions,
    writers::{Attempt, Outcome},
};
use crate::etcd::{Change, Done, Op};

/// A fresh store's revision.
const EMPTY: i64 = 1;

/// What the history turned out to be.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    pub(crate) contradictions: Vec<String>,
    /// Writes of unknown outcome that were carried out.
    pub(crate) unknown_applied: usize,
    /// Acknowledged deletions that rightly found nothing.
    pub(crate) found_nothing: usize,
    /// The leases that ended and took keys along, by the revision that did it.
    pub(crate) ended: BTreeMap<i64, i64>,
}

/// Carries out everything that was changed from the first revision to `last`.
pub(crate) fn replay(attempts: &[Attempt], changes: &[Change], last: i64) -> Replayed {
    let mut replay = Replay::new(attempts);
    let mut at = EMPTY;
    replay.check_idle(at);
    for revision in revisions(changes) {
        let Some(Change { revision: now, .. }) = revision.first() else { continue };
        if *now != at + 1 {
            replay.found.push(format!("the watch gives revision {now} where {} comes next", at + 1));
        }
        at = *now;
        replay.carry_out(at, revision);
        replay.check_idle(at);
    }
    if at != last {
        replay.found.push(format!("the watch ends at revision {at}; the store is at {last}"));
    }
    replay.finish()
}

/// Who made a revision.
#[derive(Clone, Copy)]
enum Author {
    /// The place of the attempt.
    Client(usize),
    /// The lease that ended.
    Lease(i64),
}

struct Pair<'a> {
    value: &'a str,
    lease: i64,
}

struct Replay<'a> {
    attempts: &'a [Attempt],
    state: BTreeMap<&'a str, Pair<'a>>,
    /// Attempts by a value that they alone write.
    by_value: HashMap<&'a str, usize>,
    /// Attempts that only delete and may have changed something.
    deletes: Vec<usize>,
    /// Acknowledged attempts that changed nothing, by the revision at which they did not.
    idle: BTreeMap<i64, Vec<usize>>,
    /// Attempts that made a revision.
    applied: HashMap<usize, i64>,
    found_nothing: usize,
    ended: BTreeMap<i64, i64>,
    found: Vec<String>,
}

impl<'a> Replay<'a> {
    fn new(attempts: &'a [Attempt]) -> Self {
        let mut replay = Self {
            attempts,
            state: BTreeMap::new(),
            by_value: HashMap::new(),
            deletes: Vec::new(),
            idle: BTreeMap::new(),
            applied: HashMap::new(),
            found_nothing: 0,
            ended: BTreeMap::new(),
            found: Vec::new(),
        };
        for (place, attempt) in attempts.iter().enumerate() {
            let Call::Write(ops) = &attempt.call else { continue };
            let values = ops.iter().filter_map(|op| match op {
                Op::Put { value, .. } => Some((value.as_str(), place)),
                Op::Delete { .. } => None,
            });
            let before = replay.by_value.len();
            replay.by_value.extend(values);
            if replay.by_value.len() > before {
                continue;
            }
            match &attempt.outcome {
                Outcome::Acknowledged(Done { revision, deleted: 0 }) => {
                    replay.idle.entry(*revision).or_default().push(place);
                }
                Outcome::Acknowledged(_) | Outcome::Unknown(_) | Outcome::Refused(_) => replay.deletes.push(place),
            }
        }
        replay
    }

    fn carry_out(&mut self, revision: i64, told: &'a [Change]) {
        match self.author(revision, told) {
            None => self.found.push(format!("revision {revision}: nobody asked for {told:?}")),
            Some(author) => {
                let effect = self.effect(author, revision);
                if effect != told {
                    self.found.push(format!("revision {revision} should be {effect:?}, but is {told:?}"));
                }
                match author {
                    Author::Client(place) => self.claim(place, revision, told),
                    Author::Lease(lease) => drop(self.ended.insert(revision, lease)),
                }
            }
        }
        for change in told {
            match &change.value {
                Some(value) => drop(self.state.insert(&change.key, Pair { value, lease: change.lease })),
                None => drop(self.state.remove(change.key.as_str())),
            }
        }
    }

    /// A value names its author. A revision that only deletes is that of a call or of a lease: of whichever would
    /// have deleted just these keys.
    fn author(&self, revision: i64, told: &[Change]) -> Option<Author> {
        if let Some(place) = told.iter().find_map(|change| self.by_value.get(change.value.as_deref()?)) {
            return Some(Author::Client(*place));
        }
        let calls = self.deletes.iter().copied().map(Author::Client);
        let leases: BTreeSet<i64> =
            told.iter().filter_map(|change| Some(self.state.get(change.key.as_str())?.lease)).collect();
        let leases = leases.into_iter().filter(|lease| *lease != 0).map(Author::Lease);
        calls.chain(leases).find(|author| self.effect(*author, revision) == told)
    }

    /// What the author changes, given what there is now.
    fn effect(&self, author: Author, revision: i64) -> Vec<Change> {
        let gone = |key: &str, pair: &Pair<'_>| Change {
            revision,
            key: key.to_owned(),
            value: None,
            before: Some(pair.value.to_owned()),
            lease: 0,
        };
        match author {
            Author::Lease(lease) => {
                self.state.iter().filter(|(_, pair)| pair.lease == lease).map(|(key, pair)| gone(key, pair)).collect()
            }
            Author::Client(place) => {
                let mut changes = Vec::new();
                for op in self.ops(place) {
                    match op {
                        Op::Put { key, value, lease } => changes.push(Change {
                            revision,
                            key: key.clone(),
                            value: Some(value.clone()),
                            before: self.state.get(key.as_str()).map(|pair| pair.value.to_owned()),
                            lease: *lease,
                        }),
                        Op::Delete { from, to } => {
                            let range = self.state.range(from.as_str()..to.as_str());
                            changes.extend(range.map(|(key, pair)| gone(key, pair)));
                        }
                    }
                }
                changes
            }
        }
    }

    fn ops(&self, place: usize) -> &'a [Op] {
        match self.attempts.get(place).map(|attempt| &attempt.call) {
            Some(Call::Write(ops)) => ops,
            Some(Call::Grant(_)) | None => &[],
        }
    }

    /// The attempt made this revision: its answer must not say otherwise.
    fn claim(&mut self, place: usize, revision: i64, told: &[Change]) {
        let Some(Attempt { call, outcome }) = self.attempts.get(place) else { return };
        if let Some(before) = self.applied.insert(place, revision) {
            self.found.push(format!("{call:?} was carried out twice: at revisions {before} and {revision}"));
        }
        let deleted = told.iter().filter(|change| change.value.is_none()).count();
        match outcome {
            Outcome::Acknowledged(done) if done.revision != revision => {
                self.found.push(format!("{call:?} was acknowledged as {done:?}, but is at revision {revision}"));
            }
            Outcome::Acknowledged(done) if usize::try_from(done.deleted) != Ok(deleted) => {
                self.found.push(format!("{call:?} was acknowledged as {done:?}, but deleted {deleted}"));
            }
            Outcome::Refused(reason) => {
                self.found.push(format!("{call:?} was refused ({reason}), but is at revision {revision}"));
            }
            Outcome::Acknowledged(_) | Outcome::Unknown(_) => {}
        }
    }

    /// Calls that were told they found nothing at this revision.
    fn check_idle(&mut self, revision: i64) {
        for place in self.idle.remove(&revision).unwrap_or_default() {
            let missed = self.effect(Author::Client(place), revision);
            if missed.is_empty() {
                self.found_nothing += 1;
            } else {
                self.found.push(format!("revision {revision}: a call was told that it found nothing, not {missed:?}"));
            }
        }
    }

    fn finish(mut self) -> Replayed {
        let mut unknown_applied = 0;
        for (place, Attempt { call, outcome }) in self.attempts.iter().enumerate() {
            let is_applied = self.applied.contains_key(&place);
            match (call, outcome) {
                (Call::Write(_), Outcome::Unknown(_)) if is_applied => unknown_applied += 1,
                (Call::Write(ops), Outcome::Acknowledged(done)) if !is_applied => {
                    let changes = done.deleted > 0 || ops.iter().any(|op| matches!(op, Op::Put { .. }));
                    if changes {
                        self.found.push(format!("LOST: {call:?} was acknowledged as {done:?}"));
                    }
                }
                _ => {}
            }
        }
        for revision in self.idle.keys() {
            self.found.push(format!("a call was told of revision {revision}, which the history does not have"));
        }
        Replayed { contradictions: self.found, unknown_applied, found_nothing: self.found_nothing, ended: self.ended }
    }
}
