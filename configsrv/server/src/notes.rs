//! Notes of what nodes were served. They are written beside the answers, so that no node waits for a disk or a quorum;
//! one that is lost is made again at the node's next look.

use std::{sync::Arc, time::Duration};

use chainfire_core::Origin;
use configsrv_fleet::{NodeName, Version};
use iam_client::Identity;
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    ConfigService, Error,
    artifacts::Intent,
    keys,
    record::{Fetch, Fetched},
    service::now_ms,
    store::{Loaded, Txn},
};

/// Notes that are replicated at a time.
const AT_ONCE: usize = 64;
/// Notes that wait for their turn; further ones are left to the nodes' next looks.
const MOST: usize = 16_384;
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Notes {
    turns: Semaphore,
    room: Arc<Semaphore>,
}

impl Default for Notes {
    fn default() -> Self {
        Self { turns: Semaphore::new(AT_ONCE), room: Arc::new(Semaphore::new(MOST)) }
    }
}

impl ConfigService {
    /// Remembers what was served to the node itself, soon and if it is news.
    pub(crate) fn note_fetch(&self, by: &Identity, node: &NodeName, version: Version, intent: Intent) {
        if !self.readers().is_news(node, version, intent) {
            return;
        }
        let Ok(place) = Arc::clone(&self.notes().room).try_acquire_owned() else {
            tracing::debug!(%node, "a fetch was not noted: too many wait");
            return;
        };
        let (service, origin, node) = (self.clone(), by.origin(), node.clone());
        tokio::spawn(async move {
            let _place = place;
            // The semaphore is never closed.
            let Ok(_turn) = service.notes().turns.acquire().await else { return };
            match timeout(PATIENCE, service.write_note(&origin, &node, version, intent)).await {
                Ok(Ok(())) => service.readers().noted(&node, version, intent),
                Ok(Err(error)) => tracing::debug!(%node, ?error, "a fetch was not noted"),
                Err(_) => tracing::debug!(%node, "a fetch was not noted in time"),
            }
        });
    }

    async fn write_note(&self, by: &Origin, node: &NodeName, version: Version, intent: Intent) -> Result<(), Error> {
        // Another server may note the other intent at the same time.
        while !self.try_to_note(by, node, version, intent).await? {}
        Ok(())
    }

    /// Stores the note when it is news; false when the stored one has changed meanwhile.
    async fn try_to_note(&self, by: &Origin, node: &NodeName, version: Version, intent: Intent) -> Result<bool, Error> {
        let key = keys::fetched(node);
        let known: Option<Loaded<Fetched>> = self.records().load(&key)?;
        let mut fetched = known.as_ref().map(|known| known.value.clone()).unwrap_or_default();
        let slot = match intent {
            Intent::Sync => &mut fetched.sync,
            Intent::DryRun => &mut fetched.dry_run,
        };
        if slot.is_some_and(|known| known.version >= version) {
            return Ok(true);
        }
        *slot = Some(Fetch { version, at_ms: now_ms() });
        let mut txn = Txn::default();
        txn.unchanged(key.clone(), known.as_ref());
        txn.put(key, &fetched)?;
        self.records().commit(by.clone(), "config.Fetch", format!("node/{node}"), txn).await
    }
}
