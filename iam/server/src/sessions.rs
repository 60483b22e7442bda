//! The open connections of known callers, and the end of those whose callers may not go on.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use holdfast_rpc::Standing;
use holdfast_service::Stop;
use iam_client::{Caller, Evidence, Identity, Kind};
use tokio::time::sleep;

use crate::{Iam, iam::Inner};

/// Between two looks at all connections, at least; and the second look after a change, for callers that were established
/// before it and came in after the first.
const PAUSE: Duration = Duration::from_millis(250);
/// Looks take at most one part in so many of a thread's time.
const SHARE: u32 = 5;

/// Open connections of one node, over all doors: an agent has a few, and whoever has stolen a node's key must not take
/// the places of all others.
const OF_A_NODE: usize = 64;
/// Of anybody else: programs that share a user have one each, or a pool.
const OF_OTHERS: usize = 1024;

/// A caller of an open connection.
#[derive(Clone, PartialEq)]
pub(crate) struct Guest {
    caller: Caller,
    evidence: Evidence,
}

impl holdfast_rpc::Guest for Guest {
    type Name = Caller;

    fn name(&self) -> &Caller {
        &self.caller
    }

    fn most(&self) -> usize {
        match &self.caller {
            Caller::Principal(id) if id.kind() == Kind::Node => OF_A_NODE,
            Caller::Principal(_) | Caller::Bootstrap | Caller::BreakGlass(_) => OF_OTHERS,
            // They are not one caller, but all who show nothing.
            Caller::Anonymous => usize::MAX,
        }
    }
}

impl Iam {
    /// Follows the store, and closes connections as soon as nobody who may go on is behind them.
    pub(crate) async fn keep_sessions(&self, stop: Stop) {
        let mut changes = self.0.records.store().changes();
        let mut settled = true;
        loop {
            tokio::select! {
                () = stop.requested() => return,
                changed = changes.changed() => match changed {
                    Ok(()) => settled = false,
                    Err(_) => return,
                },
                () = sleep(PAUSE), if !settled => settled = true,
            }
            let began = Instant::now();
            let inner = Arc::clone(&self.0);
            // Chains may have to be verified again: not on a thread that serves.
            if let Err(error) = tokio::task::spawn_blocking(move || inner.cut_ended()).await {
                tracing::error!(%error, "open connections were not looked at");
            }
            tokio::select! {
                () = stop.requested() => return,
                () = sleep(PAUSE.max(began.elapsed() * (SHARE - 1))) => {}
            }
        }
    }
}

impl Inner {
    pub(crate) fn admitted(&self, identity: &Identity, standing: &Standing) {
        let guest = Guest { caller: identity.principal.clone(), evidence: identity.evidence.clone() };
        self.sessions.enter(standing, guest);
    }

    /// Closes the connections whose certificate is not trusted any more, and those all of whose callers have ended.
    pub(crate) fn cut_ended(&self) -> usize {
        // Whoever comes second finds everything cut and counted.
        let _turn = self.cutting.lock();
        let cut = self.sessions.cut(|guests| {
            let shown = guests.iter().find(|guest| matches!(guest.evidence, Evidence::Certificate(_)));
            shown.is_some_and(|guest| self.is_over(guest)) || guests.iter().all(|guest| self.is_over(guest))
        });
        if cut > 0 {
            let count = u64::try_from(cut).unwrap_or(u64::MAX);
            self.metrics.cut.inc_by(count);
            self.closed.fetch_add(count, Ordering::Relaxed);
            tracing::info!(connections = cut, "connections are closed: their callers may not go on");
        }
        cut
    }

    /// A server that cannot tell lets them go on.
    fn is_over(&self, guest: &Guest) -> bool {
        matches!(self.ended(&guest.caller, &guest.evidence), Ok(Some(_)))
    }
}
