use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use configsrv_fleet::{Sealed, Version};
use tokio::sync::mpsc;

use super::{Ended, Looks};
use crate::{
    Error,
    agent::{Agent, News},
    home::Layout,
    op_lock::OpLock,
    outcome::SyncRequest,
};

/// Looks with the daemon's agent. It takes its turn only to act, never to wait.
pub(crate) struct AgentLooks {
    agent: Agent,
    layout: Layout,
    request: SyncRequest,
    interval: Option<Duration>,
    /// Tells the daemon that a deadline may have come up.
    wake: mpsc::Sender<()>,
    /// What was said last: the same trouble is said once.
    trouble: Mutex<Option<String>>,
}

impl AgentLooks {
    /// An `interval` of the command line goes before the artifact's.
    pub(crate) fn new(
        agent: Agent,
        layout: Layout,
        request: SyncRequest,
        interval: Option<Duration>,
        wake: mpsc::Sender<()>,
    ) -> Self {
        Self { agent, layout, request, interval, wake, trouble: Mutex::default() }
    }

    async fn act(&self, bytes: &[u8]) -> Result<(), Error> {
        let _turn = OpLock::acquire(&self.layout).await?;
        let outcome = self.agent.take(bytes, &self.request).await;
        let _ = self.wake.try_send(());
        tracing::info!("{}", outcome?);
        Ok(())
    }

    fn say(&self, error: &Error) {
        let text = error.to_string();
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.as_ref() != Some(&text) {
            tracing::warn!(%error, "not synced");
            *trouble = Some(text);
        }
    }

    fn well(&self) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[async_trait]
impl Looks for AgentLooks {
    async fn look(&self, skip: Option<Version>, patience: Duration) -> Ended {
        let bytes = match self.agent.news(skip, patience).await {
            Ok(News::Nothing) => {
                self.well();
                return Ended::Same;
            }
            Ok(News::Pending) => return Ended::Waiting,
            Ok(News::Frozen(error)) => {
                self.say(&error);
                return Ended::Waiting;
            }
            Ok(News::Artifact(bytes)) => bytes,
            Err(error) => {
                self.say(&error);
                return Ended::Failed;
            }
        };
        match self.act(&bytes).await {
            Ok(()) => {
                self.well();
                Ended::Done
            }
            Err(error) => {
                self.say(&error);
                match error {
                    // It is not the version's fault: it is taken once somebody has decided.
                    Error::State(_) if self.agent.is_frozen() => Ended::Waiting,
                    Error::Unexpected(_) | Error::Unreachable(_) | Error::Configuration(_) => Ended::Failed,
                    Error::Usage(_)
                    | Error::Replay(_)
                    | Error::Untrusted(_)
                    | Error::State(_)
                    | Error::RolledBack(_) => {
                        Ended::Refused { version: Sealed::parse(&bytes).ok().map(|sealed| sealed.version()) }
                    }
                }
            }
        }
    }

    fn interval(&self) -> Option<Duration> {
        self.interval.or_else(|| self.agent.poll_interval())
    }
}
