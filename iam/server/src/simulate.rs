//! What a change of policies would have decided otherwise, of the decisions that this server made lately.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use iam_client::{Caller, Identity};
use iam_core::policy::{Circumstances, Policies, Verdict};
use parking_lot::Mutex;

use crate::{Error, Iam, iam::Inner};

/// Different decisions that are remembered at least; twice as many at most.
const REMEMBERED: usize = 10_000;
const MAX_CHANGES: usize = 100;
const MAX_SHOWN: usize = 1000;
/// The longest resource that is remembered, in bytes.
const LONGEST: usize = 512;
/// So long a simulation may take.
const TIME: Duration = Duration::from_secs(10);

/// A question that was decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Decision {
    pub(crate) principal: Caller,
    pub(crate) action: String,
    pub(crate) resource: String,
    pub(crate) source: Option<IpAddr>,
}

/// The decisions of late, each once. When there are too many, those go that were not made again for the longest time.
#[derive(Debug, Default)]
pub(crate) struct RecentDecisions {
    known: Mutex<Generations>,
    /// Held by whoever looks at them all.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Arc<Decision>, Times>,
    old: HashMap<Arc<Decision>, Times>,
}

#[derive(Clone, Debug)]
struct Times {
    first_ms: u64,
    last_ms: u64,
    count: u64,
    /// What was decided, if time does not matter for it, and the revision of all records at which it was.
    verdict: Option<(u64, Arc<Verdict>)>,
}

/// What a simulation found.
pub(crate) struct Simulated {
    /// How many decisions were looked at: the latest ones, if time was up.
    pub(crate) decisions: u64,
    /// When the first of them was made; 0 where there is none.
    pub(crate) since_ms: u64,
    /// The latest first.
    pub(crate) changed: Vec<Changed>,
    /// How many there are, whether shown or not.
    pub(crate) total: u64,
    /// Time was up before all were looked at.
    pub(crate) incomplete: bool,
}

pub(crate) struct Changed {
    pub(crate) decision: Arc<Decision>,
    pub(crate) times: u64,
    pub(crate) last_ms: u64,
    pub(crate) now: Verdict,
    pub(crate) then: Verdict,
}

impl Decision {
    /// None for what is longer than anything that has a meaning here, and for a narrowed token, which takes two decisions.
    pub(crate) fn of(identity: &Identity, action: &str, resource: &str) -> Option<Self> {
        (resource.len() <= LONGEST && identity.narrowed_to().is_none()).then(|| Self {
            principal: identity.principal.clone(),
            action: action.to_owned(),
            resource: resource.to_owned(),
            source: identity.source.map(|source| source.ip()),
        })
    }
}

impl RecentDecisions {
    /// What was decided about the same question at this revision of all records; it is counted.
    pub(crate) fn repeated(&self, decision: &Decision, revision: u64, now_ms: u64) -> Option<Arc<Verdict>> {
        let mut known = self.known.lock();
        let times = known.young.get_mut(decision)?;
        let (_, verdict) = times.verdict.as_ref().filter(|(at, _)| *at == revision)?;
        times.last_ms = now_ms;
        times.count += 1;
        Some(Arc::clone(verdict))
    }

    /// Remembers what was decided.
    pub(crate) fn note(&self, decision: Decision, verdict: &Arc<Verdict>, revision: u64, now_ms: u64) {
        let Generations { young, old } = &mut *self.known.lock();
        if young.len() >= REMEMBERED && !young.contains_key(&decision) {
            *old = std::mem::take(young);
        }
        let known =
            old.remove(&decision).unwrap_or(Times { first_ms: now_ms, last_ms: now_ms, count: 0, verdict: None });
        let times = young.entry(Arc::new(decision)).or_insert(known);
        times.last_ms = now_ms;
        times.count += 1;
        times.verdict = verdict.lasting.then(|| (revision, Arc::clone(verdict)));
    }

    fn all(&self) -> Vec<(Arc<Decision>, Times)> {
        let mut all: Vec<_> = {
            let Generations { young, old } = &*self.known.lock();
            young.iter().chain(old).map(|(decision, times)| (Arc::clone(decision), times.clone())).collect()
        };
        all.sort_by_key(|(_, times)| std::cmp::Reverse(times.last_ms));
        all
    }
}

impl Iam {
    /// Decides everything of late again, with these changes: text by name, empty for a policy that goes. One caller after
    /// the other, and away from where requests are answered: it occupies a processor.
    pub(crate) async fn simulate(&self, changes: BTreeMap<String, String>) -> Result<Simulated, Error> {
        let turn = Arc::clone(&self.0.recent.turn).lock_owned().await;
        let iam = self.clone();
        let simulated = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            iam.simulate_now(changes)
        });
        simulated.await.map_err(|error| Error::Corrupt(format!("a simulation ended: {error}")))?
    }

    /// Decides everything of late again, with the policies in force and with these changes: text by name, empty for a
    /// policy that goes.
    fn simulate_now(&self, changes: BTreeMap<String, String>) -> Result<Simulated, Error> {
        if changes.is_empty() || changes.len() > MAX_CHANGES {
            return Err(Error::Invalid(format!("name 1 to {MAX_CHANGES} policies that change")));
        }
        let now = self.0.policies()?;
        let compiled = changes.into_iter().map(|(id, text)| {
            let compiled = if text.is_empty() { None } else { Some(self.0.policies.compile_one(&id, &text)?) };
            Ok((id, compiled))
        });
        let then = now.changed(&compiled.collect::<Result<_, Error>>()?)?;
        let all = self.0.recent.all();
        let mut simulated = Simulated { decisions: 0, since_ms: 0, changed: Vec::new(), total: 0, incomplete: false };
        let begun = Instant::now();
        for (decision, times) in all {
            if begun.elapsed() > TIME {
                simulated.incomplete = true;
                break;
            }
            simulated.decisions += 1;
            simulated.since_ms = match simulated.since_ms {
                0 => times.first_ms,
                since_ms => since_ms.min(times.first_ms),
            };
            let (before, after) = self.0.decided(&decision, times.last_ms, [&now, &then])?;
            if before.allowed == after.allowed {
                continue;
            }
            simulated.total += 1;
            if simulated.changed.len() < MAX_SHOWN {
                let changed =
                    Changed { decision, times: times.count, last_ms: times.last_ms, now: before, then: after };
                simulated.changed.push(changed);
            }
        }
        Ok(simulated)
    }
}

impl Inner {
    /// What two sets of policies say of a decision, whose caller holds what it holds now.
    fn decided(
        &self,
        decision: &Decision,
        time_ms: u64,
        [one, other]: [&Policies; 2],
    ) -> Result<(Verdict, Verdict), Error> {
        let holdings = self.caller_holdings(&decision.principal)?;
        let asked = self.asked(&decision.principal, &holdings, &decision.action, &decision.resource)?;
        let circumstances = Circumstances { source: decision.source, time_ms };
        let decide =
            |policies: &Policies| policies.decide(asked.caller(), &decision.action, asked.target(), circumstances);
        Ok((decide(one), decide(other)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(resource: &str) -> Decision {
        let (action, resource) = ("kv.Read".to_owned(), resource.to_owned());
        Decision { principal: Caller::Bootstrap, action, resource, source: None }
    }

    fn verdict(lasting: bool) -> Arc<Verdict> {
        Arc::new(Verdict { allowed: true, lasting, ..Verdict::default() })
    }

    #[test]
    fn what_lasts_is_not_decided_again_until_something_changes() {
        let recent = RecentDecisions::default();
        assert!(recent.repeated(&read("keys/0"), 1, 5).is_none());
        recent.note(read("keys/0"), &verdict(false), 1, 5);
        assert!(recent.repeated(&read("keys/0"), 1, 5).is_none(), "time matters");
        recent.note(read("keys/0"), &verdict(true), 1, 6);
        assert!(recent.repeated(&read("keys/0"), 1, 7).is_some_and(|verdict| verdict.allowed));
        assert!(recent.repeated(&read("keys/0"), 2, 8).is_none() && recent.repeated(&read("keys/1"), 1, 8).is_none());
        assert_eq!((recent.all()[0].1.count, recent.all()[0].1.last_ms), (3, 7));
    }

    #[test]
    fn decisions_are_counted_and_the_oldest_go() {
        let recent = RecentDecisions::default();
        for time_ms in [5, 7] {
            recent.note(read("keys/0"), &verdict(false), 1, time_ms);
        }
        let [(decision, times)] = &recent.all()[..] else { panic!("one decision") };
        assert_eq!((decision.resource.as_str(), times.first_ms, times.last_ms, times.count), ("keys/0", 5, 7, 2));
        for number in 0..3 * REMEMBERED {
            recent.note(read(&format!("keys/{number}")), &verdict(false), 1, 10);
            // It is asked again and again, and stays.
            recent.note(read("keys/mine"), &verdict(false), 1, 11);
        }
        let all = recent.all();
        assert!(all.len() > REMEMBERED && all.len() <= 2 * REMEMBERED, "{}", all.len());
        assert_eq!((all[0].0.resource.as_str(), all[0].1.count), ("keys/mine", 3 * REMEMBERED as u64));
        assert!(all.iter().all(|(decision, _)| decision.resource != "keys/0"));
    }
}
