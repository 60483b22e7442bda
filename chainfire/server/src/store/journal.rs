use async_trait::async_trait;
use chainfire_client::{JournalSource, StoreError};
use chainfire_core::{
    Answer, Command, Origin,
    cluster::ClusterCommand,
    journal::{self, JournalPosition, JournalRecord},
};
use tokio::sync::watch;

use super::{
    Store,
    system::{unavailable, unreadable},
};

#[async_trait]
impl JournalSource for Store {
    fn read(&self, after: Option<JournalPosition>, limit: usize) -> Result<Vec<JournalRecord>, StoreError> {
        journal::after(&self.view(), after, limit).map_err(unreadable)
    }

    async fn shipped(&self, upto: JournalPosition) -> Result<(), StoreError> {
        let origin = Origin::system("journal-shipper", format!("shipped-{}-{}", upto.index, upto.sub));
        let command = Command::Cluster(ClusterCommand::AuditShipped { upto });
        match self.submit_command(origin, command).await? {
            Answer::Cluster(Ok(_)) => Ok(()),
            Answer::Cluster(Err(error)) => Err(StoreError::Refused(error.to_string())),
            other => Err(unavailable(&other)),
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.group.state().applied_changes()
    }
}
