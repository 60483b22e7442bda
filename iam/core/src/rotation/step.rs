use std::fmt;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Evidence, Item, Part, Rotates, Set, State, Verifier};

/// Longer than any time: what waits so long waits for words alone.
pub const FOREVER: u64 = u64::MAX;

/// How long things last; all in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// How long a verifier may keep what it fetched.
    pub cache_ms: u64,
    /// The longest life of what is made with an item.
    pub life_ms: u64,
    /// How long a server that is cut off may go on.
    pub stale_ms: u64,
    /// How far clocks may differ.
    pub leeway_ms: u64,
    /// How long a retired item is kept before it may be purged.
    pub retirement_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Activate,
    Retire,
    Purge,
    /// Retire at once and for good.
    Compromise,
}

/// What a step does not wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Waive {
    #[default]
    Nothing,
    /// Verifiers that say nothing about themselves.
    Caches,
    Everything,
}

/// What a step is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    pub windows: &'a Windows,
    pub evidence: &'a Evidence,
    pub now_ms: u64,
    pub waive: Waive,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    #[error("there is no {noun} {id:?}")]
    NotFound { noun: &'static str, id: String },
    #[error("there is a {noun} {id} already")]
    Duplicate { noun: &'static str, id: String },
    #[error("there are {capacity} of {noun}; purge retired ones first")]
    Full { noun: &'static str, capacity: usize },
    #[error("{id} is {state}; to {step} it, {missing}")]
    WrongState { id: String, state: &'static str, step: Step, missing: &'static str },
    /// The step is the right one and its time has not come.
    #[error(transparent)]
    NotYet(#[from] Box<NotYet>),
    /// The step is the right one, and what was made with the item has not been made anew yet.
    #[error("{id} is {state}; to {step} it, {left} first")]
    InUse { id: String, state: &'static str, step: Step, left: String },
}

/// What a step that is the right one still waits for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct NotYet {
    pub id: String,
    pub state: &'static str,
    pub step: Step,
    pub now_ms: u64,
    /// From then on it is possible, whoever says nothing; [`FOREVER`] if that is never so.
    pub possible_ms: u64,
    /// Verifiers without acknowledgement, each with the time of its last one. With theirs it may be possible earlier.
    pub waiting_for: Vec<(String, Option<u64>)>,
    /// What breaks if it is forced now.
    pub breaks: String,
}

/// What a step waits for; nothing if its time is past.
pub(super) struct Guard {
    pub(super) possible_ms: u64,
    pub(super) waiting_for: Vec<(String, Option<u64>)>,
}

impl<T: Rotates> Set<T> {
    /// The set after `step` with the item `id`. A step that is done already changes nothing.
    pub fn step(&self, id: &str, step: Step, terms: &Terms<'_>) -> Result<Self, StepError> {
        let item = self.get(id).ok_or_else(|| StepError::NotFound { noun: T::NOUN, id: id.to_owned() })?;
        let wrong = |missing| StepError::WrongState { id: id.to_owned(), state: item.word(), step, missing };
        match (step, item.state) {
            (Step::Activate, State::Active)
            | (Step::Retire, State::Retired | State::Compromised)
            | (Step::Compromise, State::Compromised) => return Ok(self.clone()),
            // Every verifier has known an item in overlap for long.
            (Step::Activate, State::Overlap) => {}
            // Nothing was ever made with a pending one.
            (Step::Retire, State::Pending) => {}
            (Step::Activate, State::Pending)
            | (Step::Retire, State::Overlap)
            | (Step::Purge, State::Retired | State::Compromised) => item.check(step, terms)?,
            (Step::Compromise, State::Pending | State::Overlap | State::Retired) => {}
            (Step::Activate, State::Retired | State::Compromised) => {
                return Err(wrong("add a new one: a retired one stays retired"));
            }
            (Step::Retire | Step::Compromise, State::Active) => return Err(wrong("activate another one first")),
            (Step::Purge, State::Pending | State::Active | State::Overlap) => return Err(wrong("retire it first")),
        }
        Ok(self.after(id, step, terms.now_ms))
    }

    fn after(&self, id: &str, step: Step, now_ms: u64) -> Self {
        let mut next = self.clone();
        if step == Step::Purge {
            next.items.retain(|item| item.id != id);
        }
        for item in &mut next.items {
            match step {
                Step::Activate if item.id == id => {
                    (item.state, item.activated_ms, item.superseded_ms) = (State::Active, Some(now_ms), None);
                }
                Step::Activate if item.state == State::Active => {
                    (item.state, item.superseded_ms) = (State::Overlap, Some(now_ms));
                }
                Step::Retire if item.id == id => {
                    (item.state, item.retired_ms) = (State::Retired, Some(now_ms));
                }
                Step::Compromise if item.id == id => {
                    (item.state, item.retired_ms) = (State::Compromised, Some(now_ms));
                }
                Step::Activate | Step::Retire | Step::Purge | Step::Compromise => {}
            }
        }
        next
    }
}

impl<T: Rotates> Item<T> {
    /// When the next step with it becomes possible, as far as is known now; none for the active one.
    pub fn next_step_ms(&self, terms: &Terms<'_>) -> Option<u64> {
        self.guard(terms).map(|guard| guard.possible_ms)
    }

    /// What breaks if its next step is forced now; nothing if it waits for nothing.
    pub fn breaks(&self, terms: &Terms<'_>) -> Option<String> {
        let guard = self.guard(&Terms { waive: Waive::Nothing, ..*terms })?;
        (terms.now_ms < guard.possible_ms).then(|| self.broken(&guard, terms))
    }

    fn check(&self, step: Step, terms: &Terms<'_>) -> Result<(), StepError> {
        match self.guard(terms) {
            Some(guard) if terms.now_ms < guard.possible_ms => {
                let breaks = self.broken(&guard, terms);
                let Guard { possible_ms, waiting_for } = guard;
                let (id, state, now_ms) = (self.id.clone(), self.word(), terms.now_ms);
                Err(Box::new(NotYet { id, state, step, now_ms, possible_ms, waiting_for, breaks }).into())
            }
            _ => Ok(()),
        }
    }

    /// What the next step on the way waits for.
    pub(super) fn guard(&self, terms: &Terms<'_>) -> Option<Guard> {
        let since_ms = match self.state {
            State::Active => return None,
            State::Pending => self.added_ms,
            State::Overlap => self.superseded_ms.unwrap_or_default(),
            State::Retired | State::Compromised => self.retired_ms.unwrap_or_default(),
        };
        Some(match (terms.waive, self.state) {
            (Waive::Everything, _) => Guard { possible_ms: since_ms, waiting_for: Vec::new() },
            (Waive::Nothing | Waive::Caches, State::Pending) => known(since_ms, terms),
            (Waive::Nothing | Waive::Caches, State::Overlap) => self.unused(since_ms, terms),
            (Waive::Nothing | Waive::Caches, State::Active | State::Retired | State::Compromised) => {
                Guard { possible_ms: since_ms.saturating_add(terms.windows.retirement_ms), waiting_for: Vec::new() }
            }
        })
    }

    /// Until nothing that was made with it can be good any more. A server that enforces the present version makes
    /// nothing with it, and says until when what it made lasts; of any other the worst is assumed.
    fn unused(&self, superseded_ms: u64, terms: &Terms<'_>) -> Guard {
        let windows = terms.windows;
        let worst_ms = superseded_ms.saturating_add(windows.stale_ms).saturating_add(windows.life_ms);
        let last_ms = |server: &Verifier| match terms.evidence.enforced_by(server) {
            true => server.in_use_until_ms(&self.id),
            false => Some(worst_ms),
        };
        let last_ms = match terms.evidence.servers().next() {
            None => Some(worst_ms),
            Some(_) => terms.evidence.servers().filter_map(last_ms).max(),
        };
        let possible_ms = last_ms.map_or(superseded_ms, |last_ms| last_ms.saturating_add(windows.leeway_ms));
        let missing = terms.evidence.missing().filter(|verifier| verifier.part == Part::Server);
        Guard { possible_ms, waiting_for: missing.map(Verifier::last_word).collect() }
    }

    fn broken(&self, guard: &Guard, terms: &Terms<'_>) -> String {
        let until = utc(guard.possible_ms);
        let latest = match guard.possible_ms {
            FOREVER => String::new(),
            _ => format!(", at the latest until {until}"),
        };
        match self.state {
            State::Pending if terms.waive == Waive::Caches || !guard.waiting_for.is_empty() => {
                let who = guard.waiting_for.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
                let who = if who.is_empty() { "verifiers" } else { who.as_str() };
                format!("what it makes is refused by {who} until they know it{latest}")
            }
            State::Pending => {
                format!("what it makes is refused by verifiers that fetched earlier{latest}")
            }
            State::Overlap => format!("what was made with it is void at once instead of at the latest {until}"),
            State::Active | State::Retired | State::Compromised => "the record of it is lost early".to_owned(),
        }
    }
}

/// Until every verifier knows an item: those that say so by their word, the others by time.
fn known(added_ms: u64, terms: &Terms<'_>) -> Guard {
    let windows = terms.windows;
    let fetched_ms = added_ms.saturating_add(windows.cache_ms);
    let silent = if terms.waive == Waive::Caches { added_ms } else { fetched_ms };
    let bound = |verifier: &Verifier| match verifier.part {
        Part::Server => fetched_ms.saturating_add(windows.stale_ms),
        Part::Client => fetched_ms,
    };
    let possible_ms = terms.evidence.missing().map(bound).chain([silent]).max().unwrap_or(silent);
    Guard { possible_ms, waiting_for: terms.evidence.behind() }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Activate => "activate",
            Self::Retire => "retire",
            Self::Purge => "purge",
            Self::Compromise => "give up",
        })
    }
}

impl fmt::Display for NotYet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, state, step, possible_ms, .. } = self;
        let seconds = |ms: u64| ms.div_ceil(1000);
        let wait_s = seconds(possible_ms.saturating_sub(self.now_ms));
        let first = match *possible_ms {
            FOREVER => {
                write!(out, "{id} is {state}; to {step} it becomes possible")?;
                " once these acknowledge: "
            }
            possible_ms => {
                write!(out, "{id} is {state}; to {step} it becomes possible in {wait_s} s, at {}", utc(possible_ms))?;
                ", or once these acknowledge: "
            }
        };
        for (at, (name, last_ms)) in self.waiting_for.iter().enumerate() {
            out.write_str(if at == 0 { first } else { ", " })?;
            match last_ms {
                None => write!(out, "{name} (never did)")?,
                Some(last_ms) => {
                    write!(out, "{name} (last {} s ago)", seconds(self.now_ms.saturating_sub(*last_ms)))?;
                }
            }
        }
        write!(out, "; forced, {}", self.breaks)
    }
}

/// As people and programs read it.
pub fn utc(unix_ms: u64) -> String {
    let at = i64::try_from(unix_ms.div_ceil(1000)).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
    at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{unix_ms} ms"))
}
