use std::{sync::Arc, time::Duration};

use chainfire_client::{JournalSource, Refused, StoreError};
use chainfire_core::{
    Origin,
    journal::{JournalPosition, JournalRecord},
};
use flaredb_core::SqlState;
use flaredb_sql::Error;
use holdfast_service::Stop;
use tokio::sync::watch::error::RecvError;

use super::{BATCH, BackOff, batch_length, rows};
use crate::Flaredb;

/// How long records are gathered before they are shipped: a batch costs two commands, however many are in it.
const GATHERING: Duration = Duration::from_millis(100);

impl Flaredb {
    /// Ships this server's copy of chainfire's audit journal whenever this server leads flaredb. Ends with `stop`.
    pub async fn ship_journal(self, journal: Arc<dyn JournalSource>, stop: Stop) {
        tokio::select! {
            () = stop.requested() => return,
            () = self.ready() => {}
        }
        let mut back_off = BackOff::new();
        loop {
            let mut leading = self.group().status_changes();
            // Marked before the journal is read: what is applied meanwhile wakes the wait below.
            let mut changes = journal.changes();
            changes.mark_unchanged();
            tokio::select! {
                () = stop.requested() => return,
                led = leading.wait_for(|status| status.is_leader) => if led.is_err() { return },
            }
            match self.ship_journal_batch(journal.as_ref()).await {
                Ok(true) => back_off = BackOff::new(),
                Ok(false) => {
                    back_off = BackOff::new();
                    let more = async {
                        changes.changed().await?;
                        tokio::time::sleep(GATHERING).await;
                        Ok::<_, RecvError>(())
                    };
                    tokio::select! {
                        () = stop.requested() => return,
                        more = more => if more.is_err() { return },
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, state = %error.state, "the audit journal is not shipped; it is kept");
                    if !back_off.wait(&stop).await {
                        return;
                    }
                }
            }
        }
    }

    /// Ships the oldest records; whether there are more than fit into one batch.
    ///
    /// It always begins where the journal begins, so it needs no memory of its own: what an interrupted attempt has
    /// ingested already is recognized by the stream's cursor and only dropped from the journal.
    pub(crate) async fn ship_journal_batch(&self, journal: &dyn JournalSource) -> Result<bool, Error> {
        let mut records = journal.read(None, BATCH).map_err(|error| source(&error))?;
        let read = records.len();
        let Some(lineage) = records.first().map(|record| record.position.lineage) else { return Ok(false) };
        // One stream at a time: a restored journal may hold the end of one lineage and the beginning of the next.
        records.truncate(records.iter().take_while(|record| record.position.lineage == lineage).count());
        let stream = rows::journal_stream(lineage);
        let stored = self.cursor(&stream).await?;
        let at = match &stored {
            Some(text) => Some(parse_cursor(text).ok_or_else(|| bad_cursor(&stream, text))?),
            None => None,
        };
        let place = |record: &JournalRecord| (record.position.index, record.position.sub);
        let known = records.iter().take_while(|record| at.is_some_and(|at| place(record) <= at)).count();
        let new = records.split_off(known);
        if let Some(last) = records.last() {
            // An attempt that was interrupted between ingesting and forgetting.
            journal.shipped(last.position).await.map_err(|error| source(&error))?;
        }
        let mut events: Vec<_> = new.iter().map(|record| rows::from_journal(&stream, record)).collect();
        events.truncate(batch_length(&events));
        let more = read == BATCH || known + events.len() < read;
        let Some(last) = events.len().checked_sub(1).and_then(|at| new.get(at)).map(|record| record.position) else {
            return Ok(more);
        };
        let origin = Origin::system("shipper", format!("{stream}/{}/{}", last.index, last.sub));
        self.ingest(&origin, &stream, stored, cursor(last), events).await?;
        journal.shipped(last).await.map_err(|error| source(&error))?;
        Ok(more)
    }
}

fn cursor(position: JournalPosition) -> String {
    format!("{}/{}", position.index, position.sub)
}

fn parse_cursor(text: &str) -> Option<(u64, u32)> {
    let (index, sub) = text.split_once('/')?;
    Some((index.parse().ok()?, sub.parse().ok()?))
}

fn bad_cursor(stream: &str, text: &str) -> Error {
    Error::new(SqlState::DataCorrupted, format!("stream {stream} stands at \"{text}\", which is no journal position"))
}

fn source(error: &StoreError) -> Error {
    let state = match error {
        // Refused as invalid: the cursor names a lineage that this cluster never had.
        StoreError::Storage(_) | StoreError::Refused(Refused::Invalid(_)) => SqlState::DataCorrupted,
        _ => SqlState::CannotConnectNow,
    };
    Error::new(state, format!("chainfire's journal: {error}"))
}
