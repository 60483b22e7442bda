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
        let turn = OpLock::acquire(&self.layout).await;
        let _turn = turn.inspect_err(|error| self.agent.failed_to_look(error))?;
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
                self.agent.found_nothing(skip.is_some());
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
                self.agent.failed_to_look(&error);
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
                let sealed = Sealed::parse(&bytes).ok();
                let failed_before = sealed.as_ref().is_some_and(|sealed| self.agent.has_failed(sealed));
                ended(&error, sealed.map(|sealed| sealed.version()), failed_before)
            }
        }
    }

    fn interval(&self) -> Option<Duration> {
        self.interval.or_else(|| self.agent.poll_interval())
    }
}

/// What an error means for the `version` that was looked at, whose content may have failed here before. Only what is said
/// against the version itself makes the node skip it: whatever keeps it from being taken now passes.
fn ended(error: &Error, version: Option<Version>, failed_before: bool) -> Ended {
    match error {
        Error::Usage(_) | Error::Replay(_) | Error::Untrusted(_) | Error::RolledBack(_) => Ended::Refused { version },
        Error::State(_) if failed_before => Ended::Refused { version },
        Error::State(_) => Ended::Waiting,
        Error::UnknownNode(_) | Error::Unexpected(_) | Error::Unreachable(_) | Error::Configuration(_) => Ended::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Refusal;

    #[test]
    fn a_version_is_skipped_for_what_it_is_and_not_for_what_is_in_its_way() {
        let two = Version::new(2).unwrap();
        let after = |error: Error, failed_before| ended(&error, Some(two), failed_before);
        for waits in [
            Error::State("another flor command has been at work for too long".into()),
            Refusal::AlreadyPending { version: two }.into(),
            Error::State("files were changed here".into()),
        ] {
            assert_eq!(after(waits.clone(), false), Ended::Waiting, "{waits}");
        }
        let rejected = Error::from(Refusal::Rejected { version: two, reason: "it failed".into() });
        assert_eq!(after(rejected, true), Ended::Refused { version: Some(two) });
        for against in [
            Error::Untrusted("not signed".into()),
            Refusal::SameNumber(two).into(),
            Error::Usage("nothing could confirm this version".into()),
            Error::RolledBack("the hook said no".into()),
        ] {
            assert_eq!(after(against.clone(), false), Ended::Refused { version: Some(two) }, "{against}");
        }
        for trouble in [Error::Unexpected("disk full".into()), Error::Unreachable("no answer".into())] {
            assert_eq!(after(trouble.clone(), false), Ended::Failed, "{trouble}");
        }
    }
}
