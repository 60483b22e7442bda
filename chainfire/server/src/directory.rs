use std::{sync::Arc, time::Duration};

use chainfire_client::SystemStore as _;
use chainfire_core::{
    Origin,
    system::{SystemCommand, SystemOp, SystemTxn},
};
use chainfire_raft::Slot;
use holdfast_format::{from_json, kind, to_json};
use holdfast_service::Stop;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::{Error, members::Members, request::request_id, store::Store};

/// Who the members are, and where clients reach them. Peer URLs come from the configuration; each member publishes
/// its own client URLs in the system keyspace, because the others are not configured with them.
pub(crate) struct Directory {
    members: Members,
    store: Arc<Store>,
    /// This member's.
    client_urls: Vec<String>,
}

/// What a member says of itself.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct MemberRecord {
    name: String,
    client_urls: Vec<String>,
    /// Which disk it has come back with, if it ever lost one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    disk: Option<String>,
}

const VERSION: u16 = 1;
const PREFIX: &str = "chainfire/members/";
const RETRY: Duration = Duration::from_secs(1);

impl Directory {
    pub(crate) fn new(members: Members, store: Arc<Store>, client_urls: Vec<String>) -> Self {
        Self { members, store, client_urls }
    }

    pub(crate) fn members(&self) -> &Members {
        &self.members
    }

    /// Where clients reach the member in `slot`; nothing if it has never started.
    pub(crate) fn client_urls(&self, slot: Slot) -> Result<Vec<String>, Error> {
        if slot == self.members.own() {
            return Ok(self.client_urls.clone());
        }
        Ok(self.stored(slot)?.map_or_else(Vec::new, |record| record.client_urls))
    }

    /// Makes this member's client URLs known, if they are not, and has it recorded when it is back with another disk.
    /// Tries until it succeeds or `stop` is requested.
    pub(crate) async fn publish(&self, stop: Stop) {
        loop {
            match self.publish_once().await {
                Ok(()) => break tracing::info!(id = %self.members.own_id(), "published local member to cluster"),
                Err(reason) => tracing::debug!(reason, "local member not published yet"),
            }
            tokio::select! {
                () = stop.requested() => return,
                () = sleep(RETRY) => {}
            }
        }
    }

    async fn publish_once(&self) -> Result<(), String> {
        let own = self.members.by_slot(self.members.own()).ok_or("this server is not in its own configuration")?;
        self.store.barrier().await.map_err(|error| error.to_string())?;
        let disk = self.store.group().replaced_disk().map(|disk| disk.to_string());
        let stored = self.stored(own.slot).map_err(|error| error.to_string())?;
        let is_back = disk.is_some() && stored.as_ref().and_then(|stored| stored.disk.as_ref()) != disk.as_ref();
        let record = MemberRecord { name: own.name.clone(), client_urls: self.client_urls.clone(), disk };
        if stored.as_ref() == Some(&record) {
            return Ok(());
        }
        let value = to_json(kind::MEMBER_RECORD, VERSION, &record).map_err(|error| error.to_string())?;
        let command = SystemCommand::Txn(SystemTxn {
            guards: Vec::new(),
            ops: vec![SystemOp::Put { key: key(own.slot), value }],
            action: if is_back { "cluster.MemberRejoin" } else { "cluster.MemberPublish" }.to_owned(),
            resource: format!("member/{}", own.name),
        });
        let origin = Origin::system("members", request_id());
        self.store.submit(origin, command).await.map(|_| ()).map_err(|error| error.to_string())
    }

    fn stored(&self, slot: Slot) -> Result<Option<MemberRecord>, Error> {
        let found = self.store.get(&key(slot)).map_err(|error| Error::Storage(error.to_string()))?;
        let Some(found) = found else { return Ok(None) };
        let record = from_json(kind::MEMBER_RECORD, VERSION, &found.value);
        record.map(Some).map_err(|error| Error::Storage(error.to_string()))
    }
}

fn key(slot: Slot) -> Vec<u8> {
    format!("{PREFIX}{slot}").into_bytes()
}
