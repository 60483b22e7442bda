use std::{sync::Arc, time::Duration};

use chainfire_core::{
    Command as CoreCommand, Envelope, Origin, UserCommand, format,
    lease::{self, Clock, ExpiredLease, Inherited, LeaseExpire, LeaseId, Renewal},
};
use openraft::{ReadPolicy, ServerState, async_runtime::watch::WatchReceiver as _};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::server::Process;
use crate::{Timing, types::Command};

/// The leader's clocks of leases: chainfire's own clock, kept by its rules. A new leader gives all leases their whole
/// time, and nobody acts on a clock without having proven that it leads in the clock's term.
#[derive(Default)]
pub(super) struct Lessor(Mutex<Option<(u64, Clock)>>);

const SCAN: Duration = Duration::from_millis(200);

impl Lessor {
    pub(super) async fn run(self: Arc<Self>, process: Process, timing: Timing, extended: bool) {
        let mut changes = process.state.leases.subscribe();
        loop {
            sleep(SCAN).await;
            let (leads, term) = {
                let metrics = process.raft.metrics();
                let metrics = metrics.borrow_watched();
                (metrics.state == ServerState::Leader, metrics.current_term)
            };
            let reigns = self.0.lock().as_ref().is_some_and(|(reign, _)| leads && *reign == term);
            if !reigns {
                *self.0.lock() = None;
                changes = process.state.leases.subscribe();
                if leads && proven(&process, timing).await == Some(term) {
                    let mut clock = Clock::default();
                    let leases = process.state.read(|read| lease::leases(read, None, 10_000)).unwrap_or_default();
                    let leases = leases.into_iter().map(|(id, lease)| {
                        let whole = Inherited::whole(id, Duration::from_secs(lease.ttl.unsigned_abs()));
                        if extended { whole } else { Inherited { left: SCAN, ..whole } }
                    });
                    clock.adopt(Instant::now().into_std(), leases, timing.election_min);
                    *self.0.lock() = Some((term, clock));
                }
                continue;
            }
            while let Ok((id, ttl)) = changes.try_recv() {
                let mut reign = self.0.lock();
                let Some((_, clock)) = reign.as_mut() else { continue };
                match ttl {
                    Some(ttl) => clock.granted(Instant::now().into_std(), id, ttl),
                    None => clock.ended(id),
                }
            }
            self.end_due(&process, term, timing).await;
        }
    }

    /// Gives a lease its whole time again, if this server proves that it leads.
    pub(super) async fn renew(&self, process: &Process, id: LeaseId, timing: Timing) -> bool {
        let term = proven(process, timing).await;
        let mut reign = self.0.lock();
        let Some((_, clock)) = reign.as_mut().filter(|(reign, _)| Some(*reign) == term) else { return false };
        matches!(clock.renew(Instant::now().into_std(), id), Renewal::Renewed { .. })
    }

    async fn end_due(&self, process: &Process, term: u64, timing: Timing) {
        let due = |clock: &mut Option<(u64, Clock)>, now: std::time::Instant| {
            clock.as_mut().filter(|(_, clock)| clock.is_due(now)).map(|(_, clock)| clock.take_due(now, 50))
        };
        let is_due = self.0.lock().as_ref().is_some_and(|(_, clock)| clock.is_due(Instant::now().into_std()));
        if !is_due || proven(process, timing).await != Some(term) {
            return;
        }
        let ids = due(&mut self.0.lock(), Instant::now().into_std()).unwrap_or_default();
        let granted = |id: LeaseId| process.state.read(|read| lease::lease(read, id)).ok().flatten();
        let leases =
            ids.into_iter().filter_map(|id| granted(id).map(|lease| ExpiredLease { id, granted_at: lease.granted_at }));
        let expire = UserCommand::LeaseExpire(LeaseExpire { term, leases: leases.collect() });
        // What is not ended comes up again.
        let _ = timeout(timing.election_max, process.raft.client_write(command(expire))).await;
    }
}

/// A user's command as an entry of the log.
pub(super) fn command(command: UserCommand) -> Command {
    let envelope = Envelope { origin: Origin::system("sim", "sim"), time_ms: 1, command: CoreCommand::User(command) };
    Command(format::encode_command(&envelope).unwrap_or_default().into())
}

/// The term in which a server has proven to lead, with all that was committed before in its state.
async fn proven(process: &Process, timing: Timing) -> Option<u64> {
    let proving = async {
        let linearizer = process.raft.get_read_linearizer(ReadPolicy::ReadIndex).await.ok()?;
        let known = linearizer.read_log_id();
        process.state.applied(known.index()).await;
        Some(known.committed_leader_id().term)
    };
    timeout(timing.election_max, proving).await.ok()?
}
