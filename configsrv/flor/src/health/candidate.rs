use async_trait::async_trait;
use configsrv_fleet::Payload;
use tokio::sync::mpsc;

use super::{Watched, probes::Prober};
use crate::{Error, agent::Agent, home::Layout, machine::Target, op_lock::OpLock};

/// A version that waits for its confirmation.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub target: Target,
    pub payload: Payload,
}

/// The daemon's agent.
pub(crate) struct AgentWatched {
    agent: Agent,
    layout: Layout,
    prober: Prober,
    /// Tells the daemon that a deadline is gone.
    wake: mpsc::Sender<()>,
}

impl AgentWatched {
    pub(crate) fn new(agent: Agent, layout: Layout, wake: mpsc::Sender<()>) -> Result<Self, Error> {
        Ok(Self { agent, layout, prober: Prober::new()?, wake })
    }
}

#[async_trait]
impl Watched for AgentWatched {
    fn candidate(&self) -> Result<Option<Candidate>, Error> {
        self.agent.candidate()
    }

    async fn check(&self, candidate: &Candidate) -> Result<(), Error> {
        self.agent.prove(candidate.target).await?;
        self.prober.all(&candidate.payload, self.agent.plane_runs()).await
    }

    async fn confirm(&self, target: Target, evidence: String) -> Result<(), Error> {
        let _turn = OpLock::acquire(&self.layout).await?;
        let outcome = self.agent.keep(target, evidence).await?;
        let _ = self.wake.try_send(());
        tracing::info!("{outcome}");
        Ok(())
    }
}
