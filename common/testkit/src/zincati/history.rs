use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use super::{http::Operation, reply::Failure};

/// One call as its client saw it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub id: String,
    pub operation: Operation,
    pub sent: Instant,
    /// When the answer was there, or given up on.
    pub ended: Instant,
    pub outcome: Result<(), Failure>,
}

/// Everything that the machines of one group saw, and what admins did.
#[derive(Debug, Default)]
pub struct History {
    asked: Mutex<Vec<Asked>>,
    /// Releases by an admin: the id, and when it was sent.
    released: Mutex<Vec<(String, Instant)>>,
}

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// These held at the same time.
    TooManyHolders(BTreeSet<String>),
    /// A holder was told no.
    HolderRefused { id: String, kind: String },
    /// A boot was told no.
    SteadyStateRefused { id: String, kind: String },
}

/// From when on, and until when, a machine knew that it held.
struct Held<'a> {
    id: &'a str,
    from: Instant,
    to: Option<Instant>,
}

impl History {
    pub fn note(&self, asked: Asked) {
        lock(&self.asked).push(asked);
    }

    /// An admin releases the slot of `id` now.
    pub fn note_release(&self, id: &str) {
        lock(&self.released).push((id.to_owned(), Instant::now()));
    }

    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.asked).clone()
    }

    /// How often `id` was told yes to a request for a slot.
    pub fn grants(&self, id: &str) -> usize {
        let granted =
            |asked: &&Asked| asked.id == id && asked.operation == Operation::PreReboot && asked.outcome.is_ok();
        lock(&self.asked).iter().filter(granted).count()
    }

    /// What the servers did that they must not. A machine holds from the answer to its request until it says that it is
    /// steady, or an admin takes the slot; what it cannot know proves nothing.
    pub fn violations(&self, slots: usize) -> Vec<Violation> {
        let asked = self.asked();
        let released = lock(&self.released).clone();
        let mut by_id: BTreeMap<&str, Vec<&Asked>> = BTreeMap::new();
        for asked in &asked {
            by_id.entry(&asked.id).or_default().push(asked);
        }
        let mut violations = Vec::new();
        let mut held = Vec::new();
        for (id, asked) in by_id {
            let taken = released.iter().filter(|(released, _)| released == id).map(|(_, at)| *at);
            held.extend(holdings(id, &asked, &taken.collect::<Vec<_>>(), &mut violations));
        }
        for one in &held {
            let others = held.iter().filter(|other| other.from <= one.from && other.to.is_none_or(|to| to > one.from));
            let holders: BTreeSet<_> = others.map(|other| other.id.to_owned()).collect();
            if holders.len() > slots {
                violations.push(Violation::TooManyHolders(holders));
            }
        }
        violations
    }
}

/// When one machine held, and what was wrong about its own calls. They are in the order in which they were sent.
fn holdings<'a>(id: &'a str, asked: &[&Asked], released: &[Instant], violations: &mut Vec<Violation>) -> Vec<Held<'a>> {
    let mut held: Vec<Held<'_>> = Vec::new();
    for asked in asked {
        let taken_away = |from: Instant| released.iter().copied().find(|at| *at >= from);
        if let Some(last) = held.last_mut().filter(|last| last.to.is_none()) {
            last.to = taken_away(last.from).filter(|at| *at <= asked.ended);
        }
        let holds = held.last().is_some_and(|last| last.to.is_none());
        let refusal = asked.outcome.as_ref().err().filter(|failure| failure.is_refusal());
        match (asked.operation, refusal) {
            (Operation::PreReboot, Some(failure)) if holds => {
                violations.push(Violation::HolderRefused { id: id.to_owned(), kind: failure.kind.clone() });
            }
            (Operation::PreReboot, _) => {
                if asked.outcome.is_ok() && !holds {
                    held.push(Held { id, from: asked.ended, to: None });
                }
            }
            (Operation::SteadyState, refusal) => {
                if let Some(failure) = refusal {
                    violations.push(Violation::SteadyStateRefused { id: id.to_owned(), kind: failure.kind.clone() });
                }
                if let Some(last) = held.last_mut().filter(|last| last.to.is_none()) {
                    last.to = Some(asked.sent);
                }
            }
        }
    }
    if let Some(last) = held.last_mut().filter(|last| last.to.is_none()) {
        last.to = released.iter().copied().find(|at| *at >= last.from);
    }
    held
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use Operation::{PreReboot, SteadyState};

    /// Calls of one millisecond each, a letter the machine: `+a` asks and gets, `!a` asks and is refused, `?a` asks and
    /// hears nothing, `-a` is steady, `x` is an admin's release of `a`.
    fn history(script: &str) -> History {
        let begun = Instant::now();
        let history = History::default();
        for (n, word) in script.split_whitespace().enumerate() {
            let sent = begun + Duration::from_millis(2 * n as u64);
            let (sign, id) = word.split_at(1);
            let failure = |status| Err(Failure { kind: "k".to_owned(), value: "v".to_owned(), status });
            let (operation, outcome) = match sign {
                "+" => (PreReboot, Ok(())),
                "!" => (PreReboot, failure(Some(423))),
                "?" => (PreReboot, failure(None)),
                "-" => (SteadyState, Ok(())),
                "_" => (SteadyState, failure(Some(503))),
                "=" => (SteadyState, failure(Some(423))),
                _ => {
                    lock(&history.released).push(("a".to_owned(), sent));
                    continue;
                }
            };
            history.note(Asked { id: id.to_owned(), operation, sent, ended: sent + Duration::from_millis(1), outcome });
        }
        history
    }

    #[test]
    fn kept_promises() {
        for script in ["-a +a !b +a -a +b", "+a x +b", "?a ?b +a -a +b", "+a _a +b", "+a x !a +b -b +a", "_a"] {
            assert_eq!(history(script).violations(1), [], "{script}");
        }
        assert_eq!(history("+a +b").violations(2), []);
    }

    #[test]
    fn broken_promises() {
        let both = || ["a".to_owned(), "b".to_owned()].into();
        assert_eq!(history("+a !c +b").violations(1), [Violation::TooManyHolders(both())]);
        let refused = Violation::HolderRefused { id: "a".to_owned(), kind: "k".to_owned() };
        assert_eq!(history("+a !a").violations(1), [refused]);
        let refused = Violation::SteadyStateRefused { id: "b".to_owned(), kind: "k".to_owned() };
        assert_eq!(history("+a =b").violations(1), [refused]);
    }
}
