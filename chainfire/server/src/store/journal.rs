use async_trait::async_trait;
use chainfire_client::{JournalSource, StoreError};
use chainfire_core::{
    Command, Origin,
    cluster::ClusterCommand,
    journal::{self, JournalPosition, JournalRecord},
};
use tokio::sync::watch;

use super::Store;

#[async_trait]
impl JournalSource for Store {
    fn read(&self, after: Option<JournalPosition>, limit: usize) -> Result<Vec<JournalRecord>, StoreError> {
        Ok(journal::after(&self.view(), after, limit)?)
    }

    async fn shipped(&self, upto: JournalPosition) -> Result<(), StoreError> {
        let origin = Origin::system("journal-shipper", format!("shipped-{}-{}", upto.index, upto.sub));
        let command = Command::Cluster(ClusterCommand::AuditShipped { upto });
        StoreError::cluster_answer(self.submit_command(origin, command).await?).map(|_| ())
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.group.state().applied_changes()
    }
}
