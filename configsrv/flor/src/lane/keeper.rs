use std::{sync::Arc, time::Duration};

use configsrv_fleet::{Sequence, Signer, Version};

use super::{LaneRecord, LaneView, record::RefusedLane};
use crate::{
    Error, activate::Activator, clock::Clock, cluster::Cluster, home::Layout, machine::World, op_lock::OpLock,
    server::Server, store::Store,
};

/// The lane on this node. It remembers nothing between calls.
#[derive(Clone)]
pub(crate) struct Lane {
    cluster: Cluster,
    store: Store,
    activator: Activator,
    server: Arc<dyn Server>,
    clock: Arc<dyn Clock>,
}

impl Lane {
    pub(crate) fn new(
        cluster: Cluster,
        store: Store,
        activator: Activator,
        server: Arc<dyn Server>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { cluster, store, activator, server, clock }
    }

    pub(crate) fn node(&self) -> &str {
        self.cluster.node.as_str()
    }

    /// Makes the data plane as narrow as what is written down.
    pub(crate) async fn narrow(&self) -> Result<(), Error> {
        let revoked = self.store.lane()?.effective(self.confirmed()?)?;
        self.activator.narrow(revoked).await;
        Ok(())
    }

    /// Waits for newer revocations and lets them count; says whether there were any. What is refused is an error, and
    /// changes nothing but what the status shows.
    pub(crate) async fn look(&self, layout: &Layout, patience: Duration) -> Result<bool, Error> {
        let have = self.store.lane()?.sequence()?;
        let news = self.server.revocations(have, patience).await?;
        let taken = match news {
            Some(bytes) => self.take(layout, &bytes).await?,
            None => false,
        };
        // Also because a version may have been confirmed that somebody is settled with.
        self.narrow().await?;
        Ok(taken)
    }

    /// One look, for a command that somebody waits for.
    pub(crate) async fn once(&self, layout: &Layout) {
        if let Err(error) = self.look(layout, Duration::ZERO).await {
            tracing::warn!(%error, "revocations were not taken");
        }
        if let Err(error) = self.tell(Sequence::NONE).await {
            tracing::debug!(%error, "the servers were not told which revocations count here");
        }
    }

    async fn take(&self, layout: &Layout, bytes: &[u8]) -> Result<bool, Error> {
        let world = self.store.load()?;
        let signers = self.signers(&world);
        if signers.is_empty() {
            return Err(Error::State("the first version says whose revocations count; sync it".into()));
        }
        let _alone = OpLock::lane(layout).await?;
        let record = self.store.lane()?;
        let now_ms = self.clock.now()?.wall_ms;
        match record.after(bytes, &self.cluster.cluster, signers, confirmed(&world), now_ms) {
            Ok(None) => Ok(false),
            Ok(Some(next)) => {
                // Durable before it counts: whatever happens after this ends with it in force.
                self.store.save_lane(&next)?;
                tracing::warn!(sequence = %next.sequence()?, "revocations count from now on");
                Ok(true)
            }
            Err(error) => {
                self.note(record, &error, now_ms)?;
                Err(error)
            }
        }
    }

    /// The same refusal is written down once.
    fn note(&self, record: LaneRecord, error: &Error, at_ms: u64) -> Result<(), Error> {
        let reason = error.to_string();
        if record.refused.as_ref().is_some_and(|known| known.reason == reason) {
            return Ok(());
        }
        self.store.save_lane(&LaneRecord { refused: Some(RefusedLane { reason, at_ms }), ..record })
    }

    /// Tells the servers which sequence counts here, unless they were `told`; says which one it is.
    pub(crate) async fn tell(&self, told: Sequence) -> Result<Sequence, Error> {
        let sequence = self.store.lane()?.sequence()?;
        if sequence != told {
            self.server.revoked(sequence).await?;
        }
        Ok(sequence)
    }

    pub(crate) fn view(&self) -> Result<LaneView, Error> {
        LaneView::of(&self.store.lane()?, self.confirmed()?)
    }

    fn confirmed(&self) -> Result<Version, Error> {
        Ok(confirmed(&self.store.load()?))
    }

    /// Whom this node trusts already; before anything is confirmed, whom the version under guard pinned.
    fn signers<'a>(&'a self, world: &'a World) -> &'a [Signer] {
        let pending = world.pending.as_ref().map(|pending| pending.signers.as_slice()).unwrap_or_default();
        let known = [world.state.signers.as_slice(), self.cluster.signers.as_slice(), pending];
        known.into_iter().find(|signers| !signers.is_empty()).unwrap_or_default()
    }
}

/// What this node cannot go back behind.
fn confirmed(world: &World) -> Version {
    world.state.confirmed.map_or(Version::NONE, |confirmed| confirmed.version)
}
