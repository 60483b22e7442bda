use async_trait::async_trait;
use chainfire_client::{Applied, Page, Record, StoreError, SystemStore};
use chainfire_core::{
    Answer, Command, Origin,
    system::{self, LockGroup, SystemAnswer, SystemCommand},
};
use chainfire_raft::{ProposeError, ReadError};
use tokio::sync::watch;

use super::Store;
use crate::Error;

impl Store {
    /// Proposes a command of an in-process service and says honestly what became of it.
    pub(super) async fn submit_command(&self, origin: Origin, command: Command) -> Result<Answer, StoreError> {
        let command = self.encode(origin, command).map_err(not_proposed)?;
        let answered = self.propose(command).await.map_err(|error| match error {
            ProposeError::NoLeader(reason) => StoreError::Unavailable(reason),
            ProposeError::Unknown(reason) => StoreError::Unknown(reason),
            ProposeError::TooLarge { .. } => StoreError::Refused(error.to_string()),
            ProposeError::Stopped => StoreError::Unavailable(error.to_string()),
        })?;
        // It is applied; an answer that cannot be read leaves its outcome open.
        answered.map_err(|error| StoreError::Unknown(error.to_string()))
    }
}

#[async_trait]
impl SystemStore for Store {
    async fn submit(&self, origin: Origin, command: SystemCommand) -> Result<SystemAnswer, StoreError> {
        match self.submit_command(origin, Command::System(command)).await? {
            Answer::System(Ok(answer)) => Ok(answer),
            Answer::System(Err(error)) => Err(StoreError::Refused(error.to_string())),
            other => Err(unavailable(&other)),
        }
    }

    async fn barrier(&self) -> Result<Applied, StoreError> {
        self.group.read_index().await.map_err(|error| match error {
            ReadError::NoLeader(reason) => StoreError::Unavailable(reason),
            ReadError::Timeout | ReadError::Stopped => StoreError::Unavailable(error.to_string()),
        })?;
        Ok(self.applied())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Record>, StoreError> {
        system::get(self.group.state(), key).map_err(unreadable)
    }

    fn list(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Page, StoreError> {
        system::list(&self.view(), prefix, after, limit).map_err(unreadable)
    }

    fn lock_group(&self, group: &str) -> Result<Option<LockGroup>, StoreError> {
        system::lock_group(&self.view(), group).map_err(unreadable)
    }

    fn lock_groups(&self, after: Option<&str>, limit: usize) -> Result<Vec<LockGroup>, StoreError> {
        system::lock_groups(&self.view(), after, limit).map_err(unreadable)
    }

    fn applied(&self) -> Applied {
        // The revision is read first: what it names is then surely within the index.
        let system_revision = *self.machine().system_changes().borrow();
        Applied { index: self.group.state().applied(), system_revision }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.machine().system_changes()
    }
}

pub(super) fn unreadable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Storage(error.to_string())
}

fn not_proposed(error: Error) -> StoreError {
    match error {
        Error::Storage(detail) => StoreError::Storage(detail),
        other => StoreError::Refused(other.to_string()),
    }
}

/// An answer that is not the command's own: it had no effect.
pub(super) fn unavailable(answer: &Answer) -> StoreError {
    match answer {
        Answer::BeforeGenesis => StoreError::Unavailable("the cluster is not founded yet".to_owned()),
        Answer::LevelTooLow { needed, level } => StoreError::Refused(format!(
            "feature level {needed} is needed, the cluster is at {level}: upgrade all servers first"
        )),
        Answer::User(_) | Answer::System(_) | Answer::Cluster(_) => {
            StoreError::Unknown("the answer belongs to another command".to_owned())
        }
    }
}
