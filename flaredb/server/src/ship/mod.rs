//! Shippers: every audit event reaches `audit.events` exactly once.
//!
//! A shipper reads where its source stands, asks flaredb where the stream stands, and proposes the difference as one
//! command that names the cursor it builds on. Whatever crashes in between, the next attempt sees either the cursor
//! before the batch or the cursor after it. Only then is the source told to forget.

mod decisions;
mod journal;
mod rows;

use std::time::Duration;

use chainfire_core::Origin;
use flaredb_core::{
    Answer, Command, Ingest, SqlState,
    audit::{self, Event},
    store,
};
use flaredb_sql::Error;
use holdfast_service::Stop;

use crate::{Consistency, Flaredb, database::unexpected};

/// Events of one command at most.
const BATCH: usize = 500;
/// And their bytes, roughly; far below what a log entry may have.
const BATCH_BYTES: usize = 1 << 20;

/// The pause after a failure: doubled each time, and bounded.
struct BackOff(Duration);

impl BackOff {
    const FIRST: Duration = Duration::from_millis(200);
    const LAST: Duration = Duration::from_secs(15);

    fn new() -> Self {
        Self(Self::FIRST)
    }

    /// Waits; false if a stop was requested meanwhile.
    async fn wait(&mut self, stop: &Stop) -> bool {
        let pause = self.0;
        self.0 = (pause * 2).min(Self::LAST);
        tokio::select! {
            () = stop.requested() => false,
            () = tokio::time::sleep(pause) => true,
        }
    }
}

impl Flaredb {
    /// Where `stream` stands, with everything that was acknowledged anywhere.
    async fn cursor(&self, stream: &str) -> Result<Option<String>, Error> {
        let view = self.view(Consistency::Strong).await?;
        Ok(store::cursor(&view, stream)?.map(|record| record.cursor))
    }

    /// Adds events to `stream` if it stands at `expected`. A stream that stands elsewhere is an error: the caller
    /// looks again.
    async fn ingest(
        &self,
        origin: &Origin,
        stream: &str,
        expected: Option<String>,
        next: String,
        events: Vec<Event>,
    ) -> Result<(), Error> {
        let command = Command::Ingest(Ingest {
            stream: stream.to_owned(),
            expected_cursor: expected,
            next_cursor: next,
            table: audit::events(),
            columns: audit::COLUMNS.map(str::to_owned).to_vec(),
            rows: events.into_iter().map(Event::into_row).collect(),
        });
        match self.propose(origin, command).await? {
            Answer::Ingested { .. } => Ok(()),
            Answer::CursorMismatch { stored } => {
                let at = stored.unwrap_or_else(|| "its beginning".to_owned());
                Err(Error::new(SqlState::ObjectNotInPrerequisiteState, format!("stream {stream} stands at {at}")))
            }
            Answer::Refused(refusal) => Err(refusal.into()),
            other @ Answer::Migrated { .. } => Err(unexpected(&other)),
        }
    }
}

/// Roughly what an event takes in a command.
fn size(event: &Event) -> usize {
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    256 + event.stream.len()
        + event.actor.len()
        + event.resource.len()
        + event.action.len()
        + event.request_id.len()
        + optional(&event.reason)
        + optional(&event.source)
        + optional(&event.token_id)
}

/// How many of `events` one command takes: at least one.
fn batch_length<'a>(events: impl IntoIterator<Item = &'a Event>) -> usize {
    let mut bytes = 0;
    let fits = events.into_iter().take(BATCH).take_while(|event| {
        bytes += size(event);
        bytes <= BATCH_BYTES
    });
    fits.count().max(1)
}
