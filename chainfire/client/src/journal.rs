use async_trait::async_trait;
use chainfire_core::journal::{JournalPosition, JournalRecord};
use tokio::sync::watch;

use crate::StoreError;

/// The local audit journal as its shipper sees it. The shipper keeps its cursor where it keeps the records: it reads
/// after the cursor, stores records and cursor as one, and only then reports them as shipped, so that a crash at any
/// point neither loses nor doubles a record.
#[async_trait]
pub trait JournalSource: Send + Sync + 'static {
    /// Records after `after` in order (all of them if none), at most `limit`: lineage by lineage as they began, then by
    /// log index. Refused if this cluster never had the lineage of `after`.
    fn read(&self, after: Option<JournalPosition>, limit: usize) -> Result<Vec<JournalRecord>, StoreError>;

    /// Replicates that everything up to `upto` is safe in flaredb, so that every server drops it. Repeating it is harmless.
    async fn shipped(&self, upto: JournalPosition) -> Result<(), StoreError>;

    /// Wakes at each applied entry; the value is the applied log index.
    fn changes(&self) -> watch::Receiver<u64>;
}
