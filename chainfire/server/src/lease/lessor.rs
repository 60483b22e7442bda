use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use chainfire_core::lease::{Clock, Inherited, LeaseId, Renewal};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The clocks of all leases while this server leads; nothing while it does not. Told of grants and ends by the apply
/// path, in log order.
#[derive(Debug, Default)]
pub(crate) struct Lessor {
    reign: Mutex<Option<Reign>>,
    ended: Notify,
}

#[derive(Debug)]
struct Reign {
    term: u64,
    clock: Clock,
    /// Leases that ended while the others were being read from the state; none once that is done.
    ended_meanwhile: Option<HashSet<LeaseId>>,
}

/// This server does not lead in the term it was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotPrimary;

impl Lessor {
    /// Begins to keep clocks. The leases of before are still to be read from the state, which
    /// [`Lessor::promoted`] brings; until then nobody is answered.
    pub(crate) fn promote(&self, term: u64) {
        *self.reign.lock() = Some(Reign { term, clock: Clock::default(), ended_meanwhile: Some(HashSet::new()) });
    }

    /// Starts the clocks of `leases`, which were read after [`Lessor::promote`], except of those that ended since.
    pub(crate) fn promoted(&self, term: u64, leases: Vec<Inherited>, extension: Duration) {
        let mut reign = self.reign.lock();
        let Some(reign) = reign.as_mut().filter(|reign| reign.term == term) else { return };
        let ended = reign.ended_meanwhile.take().unwrap_or_default();
        let leases = leases.into_iter().filter(|lease| !ended.contains(&lease.id));
        reign.clock.adopt(Instant::now(), leases, extension);
    }

    pub(crate) fn demote(&self) {
        *self.reign.lock() = None;
        self.ended.notify_waiters();
    }

    pub(crate) fn granted(&self, id: LeaseId, ttl: Duration) {
        if let Some(reign) = self.reign.lock().as_mut() {
            reign.clock.granted(Instant::now(), id, ttl);
        }
    }

    pub(crate) fn ended(&self, id: LeaseId) {
        if let Some(reign) = self.reign.lock().as_mut() {
            reign.clock.ended(id);
            if let Some(ended) = reign.ended_meanwhile.as_mut() {
                ended.insert(id);
            }
        }
        self.ended.notify_waiters();
    }

    /// Gives a lease its whole time again. The caller has proven that this server leads in `term`.
    pub(crate) fn renew(&self, term: u64, id: LeaseId) -> Result<Renewal, NotPrimary> {
        self.in_term(term, |clock| clock.renew(Instant::now(), id))
    }

    pub(crate) fn remaining(&self, term: u64, id: LeaseId) -> Result<Option<Duration>, NotPrimary> {
        self.in_term(term, |clock| clock.remaining(Instant::now(), id))
    }

    pub(crate) fn is_due(&self, term: u64) -> bool {
        self.in_term(term, |clock| clock.is_due(Instant::now())).unwrap_or(false)
    }

    pub(crate) fn take_due(&self, term: u64, limit: usize) -> Vec<LeaseId> {
        self.in_term(term, |clock| clock.take_due(Instant::now(), limit)).unwrap_or_default()
    }

    /// Leases that are granted for longer than `ttl`, and what they have left.
    pub(crate) fn longer_than(&self, term: u64, ttl: Duration) -> Vec<(LeaseId, Duration)> {
        self.in_term(term, |clock| clock.longer_than(Instant::now(), ttl)).unwrap_or_default()
    }

    /// All leases by the time they have left; none where this server does not lead.
    pub(crate) fn by_deadline(&self) -> Option<Vec<LeaseId>> {
        let reign = self.reign.lock();
        reign.as_ref().filter(|reign| reign.ended_meanwhile.is_none()).map(|reign| reign.clock.by_deadline())
    }

    /// Waits until `id` is gone from the clocks.
    pub(crate) async fn gone(self: &Arc<Self>, term: u64, id: LeaseId) {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if !matches!(self.remaining(term, id), Ok(Some(_))) {
                return;
            }
            ended.await;
        }
    }

    fn in_term<T>(&self, term: u64, act: impl FnOnce(&mut Clock) -> T) -> Result<T, NotPrimary> {
        match self.reign.lock().as_mut() {
            Some(reign) if reign.term == term && reign.ended_meanwhile.is_none() => Ok(act(&mut reign.clock)),
            Some(_) | None => Err(NotPrimary),
        }
    }
}

#[cfg(test)]
mod tests {
    //! §2.7: whoever does not lead must not answer from its own clock.

    use super::*;

    const A: LeaseId = LeaseId(7);
    const TTL: Duration = Duration::from_secs(60);

    fn leading(term: u64) -> Lessor {
        let lessor = Lessor::default();
        lessor.promote(term);
        lessor.promoted(term, vec![Inherited::whole(A, TTL)], Duration::ZERO);
        lessor
    }

    #[test]
    fn only_the_leader_of_the_term_answers() {
        let lessor = leading(3);
        assert_eq!(lessor.renew(3, A), Ok(Renewal::Renewed { ttl: TTL }));
        assert_eq!(lessor.renew(2, A), Err(NotPrimary));
        lessor.demote();
        assert_eq!(lessor.renew(3, A), Err(NotPrimary));
    }

    #[test]
    fn grants_and_ends_follow_the_log() {
        let lessor = leading(1);
        lessor.granted(LeaseId(8), TTL);
        assert!(matches!(lessor.remaining(1, LeaseId(8)), Ok(Some(_))));
        lessor.ended(A);
        assert_eq!(lessor.remaining(1, A), Ok(None));
    }

    #[test]
    fn what_happens_while_leases_are_read_is_not_lost() {
        let lessor = Lessor::default();
        lessor.promote(1);
        lessor.granted(LeaseId(8), TTL);
        lessor.ended(A);
        assert_eq!(lessor.renew(1, LeaseId(8)), Err(NotPrimary));
        lessor.promoted(1, [A, LeaseId(9)].map(|id| Inherited::whole(id, TTL)).into(), Duration::ZERO);
        assert_eq!(lessor.renew(1, A), Ok(Renewal::Unknown));
        assert_eq!(lessor.renew(1, LeaseId(8)), Ok(Renewal::Renewed { ttl: TTL }));
        assert_eq!(lessor.renew(1, LeaseId(9)), Ok(Renewal::Renewed { ttl: TTL }));
    }

    #[tokio::test]
    async fn waiting_ends_with_the_lease() {
        let lessor = Arc::new(leading(1));
        let waiting = tokio::spawn({
            let lessor = lessor.clone();
            async move { lessor.gone(1, A).await }
        });
        lessor.ended(A);
        waiting.await.unwrap();
    }
}
