use async_trait::async_trait;
use chainfire_client::{Applied, Page, Record, Refused, StoreError, SystemStore};
use chainfire_core::{
    Answer, Command, Origin,
    cluster::{self, Lineage},
    format,
    system::{self, LockGroup, SystemAnswer, SystemCommand},
};
use chainfire_raft::{ProposeError, ReadError};
use tokio::sync::watch;

use super::{Store, replicated::NotEncoded};

impl Store {
    /// Proposes a command of an in-process service and says honestly what became of it.
    pub(super) async fn submit_command(&self, origin: Origin, command: Command) -> Result<Answer, StoreError> {
        let command = self.encode(origin, command)?;
        let committed = self.group.propose(command).await.map_err(|error| match error {
            ProposeError::NoLeader(reason) => StoreError::Unavailable(reason),
            ProposeError::Unknown(reason) => StoreError::Unknown(reason),
            ProposeError::TooLarge { size, limit } => Refused::TooLarge { size, limit }.into(),
            ProposeError::Stopped => StoreError::Unavailable(error.to_string()),
        })?;
        // It is applied; an answer that cannot be read leaves its outcome open.
        format::decode_answer(&committed.answer).map_err(|error| StoreError::Unknown(error.to_string()))
    }
}

#[async_trait]
impl SystemStore for Store {
    async fn submit(&self, origin: Origin, command: SystemCommand) -> Result<SystemAnswer, StoreError> {
        StoreError::system_answer(self.submit_command(origin, Command::System(command)).await?)
    }

    async fn barrier(&self) -> Result<Applied, StoreError> {
        self.group.read_index().await.map_err(|error| match error {
            ReadError::NoLeader(reason) => StoreError::Unavailable(reason),
            ReadError::Timeout | ReadError::LeaderChanged | ReadError::Behind | ReadError::Stopped => {
                StoreError::Unavailable(error.to_string())
            }
        })?;
        Ok(self.applied())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Record>, StoreError> {
        Ok(system::get(self.group.state(), key)?)
    }

    fn list(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Page, StoreError> {
        Ok(system::list(&self.view(), prefix, after, limit)?)
    }

    fn lock_group(&self, group: &str) -> Result<Option<LockGroup>, StoreError> {
        Ok(system::lock_group(&self.view(), group)?)
    }

    fn lock_groups(&self, after: Option<&str>, limit: usize) -> Result<Vec<LockGroup>, StoreError> {
        Ok(system::lock_groups(&self.view(), after, limit)?)
    }

    fn lineage(&self) -> Result<Option<Lineage>, StoreError> {
        Ok(cluster::lineages(&self.view())?.pop())
    }

    fn applied(&self) -> Applied {
        // The revision is read first: what it names is then surely within the index.
        let system_revision = *self.machine().system_changes().borrow();
        Applied { index: self.group.state().applied(), system_revision }
    }

    fn progress(&self) -> watch::Receiver<u64> {
        self.group.state().applied_changes()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.machine().system_changes()
    }
}

impl From<NotEncoded> for StoreError {
    fn from(error: NotEncoded) -> Self {
        match error {
            NotEncoded::Level { needed, level } => Refused::Level { needed, level }.into(),
            NotEncoded::Failed(detail) => Self::Storage(detail),
        }
    }
}
