use std::time::Duration;

use openraft::{Raft, ServerState, async_runtime::watch::WatchReceiver as _, storage::RaftStateMachine};
use tokio::time::timeout;

use super::successor::{matched, successor};
use crate::{RaftId, rejoin::Roster, types::TypeConfig};

/// Keeps a server whose disk hangs from leading one group.
#[derive(Debug, Default)]
pub(crate) struct StepDown {
    /// How far the log had been written when the stall was noticed.
    written: Option<u64>,
    /// The last term that was handed over. Once is enough: openraft stops heartbeats with it, so that the others elect
    /// if whom it went to cannot.
    term: Option<u64>,
}

impl StepDown {
    /// Stands for election only while the disk is well, and hands the group over if it is not and another one can lead.
    /// Returns whom it was handed to just now; who leads then is the others' to say.
    pub(crate) async fn look<SM>(
        &mut self,
        raft: &Raft<TypeConfig, SM>,
        stalled: bool,
        patience: Duration,
    ) -> Option<RaftId>
    where
        SM: RaftStateMachine<TypeConfig>,
    {
        raft.runtime_config().elect(!stalled);
        if !stalled {
            self.written = None;
            return None;
        }
        let (term, to) = {
            // Nothing is awaited while it is borrowed: that blocks openraft.
            let metrics = raft.metrics();
            let seen = metrics.borrow_watched();
            let written = *self.written.get_or_insert(seen.last_log_index.unwrap_or(0));
            if seen.state != ServerState::Leader || self.term == Some(seen.current_term) {
                return None;
            }
            let roster = Roster::of(&seen.membership_config);
            (seen.current_term, successor(&roster, RaftId::from_u64(seen.id), &matched(&seen), written)?)
        };
        self.term = Some(term);
        // A core that hangs in a write hears nothing; it sends no heartbeats either.
        let told = timeout(patience, raft.trigger().transfer_leader(to.to_u64())).await;
        matches!(told, Ok(Ok(()))).then_some(to)
    }
}
