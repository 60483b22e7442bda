//! A run in which nothing happens but that disks hang.

use std::time::Duration;

use chainfire_core::lease::LeaseId;
use tokio::time::{Instant, sleep};

use super::{
    clients::Client,
    invariants::Verdict,
    server::Process,
    world::{TIMING, World},
};

/// A leader may take this long to give up and another one to lead, in the shortest time-outs of an election.
const SOON: u32 = 8;

impl World {
    /// The leader's disk hangs and another server leads; then all disks hang, and nobody else does.
    pub(super) async fn hang_disks(&self) -> Verdict {
        let slow = self.leads(|_| true).await.ok_or("liveness: nobody leads")?;
        self.fleet.hang(slow.id.slot(), true);
        // Clients write, so that the others show that their disks work.
        let next = self.leads(|leader| leader.id != slow.id).await;
        let next = next.ok_or_else(|| format!("liveness: {} leads on although its disk hangs", slow.id))?;
        self.fleet.hang(slow.id.slot(), false);
        let caught_up = self.within(|| slow.applied() >= next.applied()).await;
        caught_up.then_some(()).ok_or_else(|| format!("liveness: {} does not follow again", slow.id))?;

        for slot in self.fleet.slots() {
            self.fleet.hang(slot, true);
        }
        sleep(TIMING.election_min * SOON).await;
        for slot in self.fleet.slots() {
            self.fleet.hang(slot, false);
        }
        let goes_on = self.leads(|_| true).await;
        goes_on.map(drop).ok_or_else(|| "liveness: nobody leads after all disks have hung".to_owned())?;
        let step_downs = self.record.lock().step_downs;
        if step_downs == 1 { Ok(()) } else { Err(format!("liveness: {step_downs} step-downs where one could help")) }
    }

    /// The leader, once it is such a one and acknowledges a write.
    async fn leads(&self, such: impl Fn(&Process) -> bool) -> Option<Process> {
        let client = Client { fleet: self.fleet.clone(), number: 0 };
        let end = Instant::now() + TIMING.election_min * SOON;
        while Instant::now() < end {
            if let Some(leader) = self.fleet.leader().filter(&such)
                && client.put_at(&leader, "last".into(), format!("hung at {:?}", Instant::now()), LeaseId::NONE).await
            {
                return Some(leader);
            }
            sleep(Duration::from_millis(10)).await;
        }
        None
    }

    async fn within(&self, reached: impl Fn() -> bool) -> bool {
        let end = Instant::now() + TIMING.election_min * SOON;
        while !reached() && Instant::now() < end {
            sleep(TIMING.heartbeat).await;
        }
        reached()
    }
}
