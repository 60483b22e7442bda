use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use super::LeaseId;

/// When each lease ends, as the leader measures it; no part of the replicated state. The present is an argument.
#[derive(Debug, Default)]
pub struct Clock {
    leases: HashMap<LeaseId, Running>,
    /// When something is to be done about a lease: its deadline, or the next attempt to end it.
    agenda: BTreeSet<(Instant, LeaseId)>,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    ttl: Duration,
    deadline: Instant,
    next: Instant,
}

/// A lease that a predecessor has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inherited {
    pub id: LeaseId,
    pub ttl: Duration,
    /// Its whole time, unless the predecessor has said how much of it there is.
    pub left: Duration,
}

impl Inherited {
    pub fn whole(id: LeaseId, ttl: Duration) -> Self {
        Self { id, ttl, left: ttl }
    }
}

/// What became of a request to keep a lease alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It runs for its whole time again.
    Renewed {
        ttl: Duration,
    },
    /// Its time is over, and the command that ends it may be on its way: too late.
    Expired,
    Unknown,
}

/// An expiry that has not shown up in the state by then is proposed again.
const RETRY: Duration = Duration::from_secs(3);

/// A new leader gives all leases their whole time, so that they would end together. This much apart they cannot
/// crowd out the clients' writes.
const SPACING: Duration = Duration::from_micros(1_500);

impl Clock {
    /// Takes over the leases of a predecessor, each with what it has left and `extension` on top: what a new leader
    /// cannot know is how much of it was already given away. Leases that are known already are newer.
    pub fn adopt(&mut self, now: Instant, leases: impl IntoIterator<Item = Inherited>, extension: Duration) {
        let unknown = leases.into_iter().filter(|lease| !self.leases.contains_key(&lease.id));
        let mut sorted: Vec<_> = unknown.map(|lease| (lease.left, lease.id, lease.ttl)).collect();
        sorted.sort_unstable();
        let mut free = now;
        for (left, id, ttl) in sorted {
            let deadline = later(now, left + extension).max(free);
            free = deadline + SPACING;
            self.set(id, Running { ttl, deadline, next: deadline });
        }
    }

    pub fn granted(&mut self, now: Instant, id: LeaseId, ttl: Duration) {
        let deadline = later(now, ttl);
        self.set(id, Running { ttl, deadline, next: deadline });
    }

    pub fn ended(&mut self, id: LeaseId) {
        if let Some(running) = self.leases.remove(&id) {
            self.agenda.remove(&(running.next, id));
        }
    }

    pub fn renew(&mut self, now: Instant, id: LeaseId) -> Renewal {
        let Some(running) = self.leases.get(&id).copied() else { return Renewal::Unknown };
        if running.deadline <= now {
            return Renewal::Expired;
        }
        self.granted(now, id, running.ttl);
        Renewal::Renewed { ttl: running.ttl }
    }

    /// How long the lease still runs; zero while it waits to be ended.
    pub fn remaining(&self, now: Instant, id: LeaseId) -> Option<Duration> {
        self.leases.get(&id).map(|running| running.deadline.saturating_duration_since(now))
    }

    /// Whether a lease has to be ended now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.agenda.first().is_some_and(|(next, _)| *next <= now)
    }

    /// Leases whose time is over, at most `limit`, the oldest first. They come again after [`RETRY`] unless
    /// [`Clock::ended`] is told of them.
    pub fn take_due(&mut self, now: Instant, limit: usize) -> Vec<LeaseId> {
        let due: Vec<LeaseId> =
            self.agenda.iter().take_while(|(next, _)| *next <= now).take(limit).map(|(_, id)| *id).collect();
        for id in &due {
            if let Some(running) = self.leases.get(id).copied() {
                self.set(*id, Running { next: later(now, RETRY), ..running });
            }
        }
        due
    }

    /// Leases that are granted for longer than `ttl`, and what they have left.
    pub fn longer_than(&self, now: Instant, ttl: Duration) -> Vec<(LeaseId, Duration)> {
        let long = self.leases.iter().filter(|(_, running)| running.ttl > ttl);
        long.map(|(id, running)| (*id, running.deadline.saturating_duration_since(now))).collect()
    }

    /// Leases by the time that they have left.
    pub fn by_deadline(&self) -> Vec<LeaseId> {
        let mut leases: Vec<_> = self.leases.iter().map(|(id, running)| (running.deadline, *id)).collect();
        leases.sort_unstable();
        leases.into_iter().map(|(_, id)| id).collect()
    }

    fn set(&mut self, id: LeaseId, running: Running) {
        self.ended(id);
        self.agenda.insert((running.next, id));
        self.leases.insert(id, running);
    }
}

/// `now + wait`, which for leases of centuries may not be representable; such a lease just never ends.
fn later(now: Instant, wait: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    now.checked_add(wait).or_else(|| now.checked_add(CENTURY)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    //! §2.7: never early, extended for a new leader, spread, and asked for again.

    use super::*;

    const A: LeaseId = LeaseId(1);
    const B: LeaseId = LeaseId(2);
    const TTL: Duration = Duration::from_secs(10);
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_lease_never_ends_early() {
        let t0 = Instant::now();
        let mut clock = Clock::default();
        clock.granted(t0, A, TTL);
        assert!(clock.take_due(t0 + TTL - MS, 10).is_empty());
        assert_eq!(clock.renew(t0 + TTL - MS, A), Renewal::Renewed { ttl: TTL });
        assert!(clock.take_due(t0 + TTL * 2 - 2 * MS, 10).is_empty());
        assert_eq!(clock.take_due(t0 + TTL * 2, 10), [A]);
    }

    #[test]
    fn an_expired_lease_is_not_renewed_while_it_waits_for_its_end() {
        let t0 = Instant::now();
        let mut clock = Clock::default();
        clock.granted(t0, A, TTL);
        assert_eq!(clock.renew(t0 + TTL, A), Renewal::Expired);
        assert_eq!(clock.remaining(t0 + TTL, A), Some(Duration::ZERO));
        clock.ended(A);
        assert_eq!(clock.renew(t0 + TTL, A), Renewal::Unknown);
    }

    #[test]
    fn an_end_that_does_not_happen_is_asked_for_again() {
        let t0 = Instant::now();
        let mut clock = Clock::default();
        clock.granted(t0, A, TTL);
        assert_eq!(clock.take_due(t0 + TTL, 10), [A]);
        assert!(!clock.is_due(t0 + TTL + RETRY - MS));
        assert_eq!(clock.take_due(t0 + TTL + RETRY, 10), [A]);
        clock.ended(A);
        assert!(!clock.is_due(t0 + TTL * 100));
    }

    #[test]
    fn a_scan_is_bounded_and_takes_the_oldest_first() {
        let t0 = Instant::now();
        let mut clock = Clock::default();
        clock.granted(t0, B, TTL);
        clock.granted(t0, A, TTL + MS);
        assert_eq!(clock.take_due(t0 + TTL * 2, 1), [B]);
        assert_eq!(clock.take_due(t0 + TTL * 2, 1), [A]);
    }

    #[test]
    fn a_new_leader_extends_and_spreads() {
        let t0 = Instant::now();
        let election = Duration::from_secs(1);
        let leases = (1..=2_000).map(|id| Inherited::whole(LeaseId(id), TTL));
        let mut clock = Clock::default();
        clock.adopt(t0, leases, election);
        assert!(!clock.is_due(t0 + TTL + election - MS));
        let in_the_first_second = clock.take_due(t0 + TTL + election * 2, 2_000).len();
        assert!((600..=700).contains(&in_the_first_second), "{in_the_first_second}");
    }

    #[test]
    fn a_lease_that_was_granted_meanwhile_is_not_adopted() {
        let t0 = Instant::now();
        let mut clock = Clock::default();
        clock.granted(t0, A, TTL);
        clock.adopt(t0, [Inherited::whole(A, TTL * 5)], TTL);
        assert_eq!(clock.remaining(t0, A), Some(TTL));
    }

    #[test]
    fn a_lease_with_a_checkpoint_goes_on_from_there() {
        let t0 = Instant::now();
        let mut clock = Clock::default();
        clock.adopt(t0, [Inherited { id: A, ttl: TTL * 5, left: TTL }, Inherited::whole(B, TTL)], MS);
        assert_eq!(clock.remaining(t0, A), Some(TTL + MS));
        assert_eq!(clock.longer_than(t0, TTL), [(A, TTL + MS)]);
        assert_eq!(clock.renew(t0, A), Renewal::Renewed { ttl: TTL * 5 });
        assert_eq!(clock.remaining(t0, A), Some(TTL * 5));
    }

    #[test]
    fn the_longest_lease_is_representable() {
        let t0 = Instant::now();
        let mut clock = Clock::default();
        clock.granted(t0, A, Duration::from_secs(9_000_000_000));
        assert!(!clock.is_due(t0 + TTL));
    }
}
