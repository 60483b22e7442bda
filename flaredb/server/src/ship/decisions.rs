use std::{fmt, sync::Arc};

use chainfire_core::Origin;
use flaredb_core::{SqlState, audit::Event, store::CURSORS};
use flaredb_sql::Error;
use holdfast_keyspace::{KeyRange, Order, Read as _};
use holdfast_service::Stop;
use iam_client::{DecisionRecord, DecisionSource};

use super::{BATCH, BackOff, batch_length, rows};
use crate::{Consistency, Flaredb};

/// The decisions of one spool. Numbers mean something within a spool only, so its id is part of the stream's name.
struct Stream<'a> {
    node: &'a str,
    name: String,
}

impl<'a> Stream<'a> {
    fn new(node: &'a str, spool: &str) -> Self {
        Self { name: format!("decisions/{node}/{spool}"), node }
    }

    fn all_of_node(&self) -> String {
        format!("decisions/{}/", self.node)
    }
}

/// Where a stream stands: a number, and which event had it. The end of a gap has none.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cursor {
    sequence: u64,
    event_id: Option<String>,
}

impl Cursor {
    fn parse(text: &str) -> Option<Self> {
        let (sequence, event_id) = match text.split_once('/') {
            Some((sequence, event_id)) => (sequence, Some(event_id.to_owned())),
            None => (text, None),
        };
        Some(Self { sequence: sequence.parse().ok()?, event_id })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.event_id {
            Some(event_id) => write!(out, "{}/{event_id}", self.sequence),
            None => write!(out, "{}", self.sequence),
        }
    }
}

/// One row, and where the stream stands with it.
struct Step {
    event: Event,
    cursor: Cursor,
}

impl Flaredb {
    /// Ships this server's decision log, whoever leads. Ends with `stop`.
    pub async fn ship_decisions(self, source: Arc<dyn DecisionSource>, stop: Stop) {
        tokio::select! {
            () = stop.requested() => return,
            () = self.ready() => {}
        }
        let every = self.config().decisions_every;
        let mut back_off = BackOff::new();
        // What this life knows to be shipped; the log may keep it a while longer.
        let mut shipped = 0;
        loop {
            match self.ship_decision_batch(source.as_ref(), shipped).await {
                Ok(now) if now > shipped => {
                    shipped = now;
                    back_off = BackOff::new();
                }
                Ok(_) => {
                    back_off = BackOff::new();
                    tokio::select! {
                        () = stop.requested() => return,
                        () = tokio::time::sleep(every) => {}
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, state = %error.state, "decisions are not shipped; they are kept");
                    if !back_off.wait(&stop).await {
                        return;
                    }
                }
            }
        }
    }

    /// Ships the oldest decisions behind `shipped` and returns up to where everything is shipped now.
    pub(crate) async fn ship_decision_batch(&self, source: &dyn DecisionSource, shipped: u64) -> Result<u64, Error> {
        // Asking flaredb every second for nothing would keep a quorum busy.
        if source.read(shipped, 1).map_err(spool)?.is_empty() {
            return Ok(shipped);
        }
        let spool_id = source.id();
        let stream = Stream::new(&self.config().member, &spool_id);
        let stored = self.cursor(&stream.name).await?;
        let at = match &stored {
            Some(text) => Some(Cursor::parse(text).ok_or_else(|| bad_cursor(&stream, text))?),
            None => None,
        };
        if let Some(at) = &at
            && !has_shipped(source, at)?
        {
            // Its new records have numbers that are taken: under the old name they would count as shipped.
            tracing::error!(spool = spool_id, cursor = %at, "the decision log is an older copy; it is renamed");
            source.renew().map_err(spool)?;
            return Ok(shipped);
        }
        let after = at.map_or_else(|| source.position(), |at| at.sequence);
        let records = source.read(after, BATCH).map_err(spool)?;
        let mut steps = Vec::with_capacity(records.len() + 1);
        if stored.is_none() && self.had_another_spool(&stream).await? {
            let cursor = Cursor { sequence: after, event_id: None };
            steps.push(Step { event: rows::new_spool(&stream.name, stream.node), cursor });
        }
        add(&mut steps, &stream, after, &records);
        steps.truncate(batch_length(steps.iter().map(|step| &step.event)));
        let next = steps.last().map(|last| last.cursor.clone());
        let shipped = next.as_ref().map_or(after, |next| next.sequence);
        if let Some(next) = next {
            let origin = Origin::system("shipper", format!("{}/{shipped}", stream.name));
            let events = steps.into_iter().map(|step| step.event).collect();
            self.ingest(&origin, &stream.name, stored, next.to_string(), events).await?;
        }
        // Also where nothing was new: an interrupted attempt may not have come as far as this.
        source.shipped(shipped).map_err(spool)?;
        Ok(shipped)
    }

    /// Whether this server has shipped from another spool before.
    async fn had_another_spool(&self, stream: &Stream<'_>) -> Result<bool, Error> {
        let view = self.view(Consistency::Local).await?;
        let mut others = view.scan(CURSORS, KeyRange::prefix(stream.all_of_node()), Order::Ascending);
        Ok(others.next().transpose().map_err(flaredb_core::Damage::from)?.is_some())
    }
}

/// Whether what the stream calls its last record is what the spool has shipped, or is about to mark as shipped. A copy
/// from before that knows nothing of it, or has given its number to another record.
fn has_shipped(source: &dyn DecisionSource, at: &Cursor) -> Result<bool, Error> {
    if at.sequence <= source.position() {
        return Ok(true);
    }
    let found = source.read(at.sequence.saturating_sub(1), 1).map_err(spool)?;
    Ok(found.first().is_some_and(|record| match &at.event_id {
        Some(event_id) => record.sequence == at.sequence && record.event_id == *event_id,
        None => record.sequence > at.sequence,
    }))
}

/// Appends `records`, and a notice for each hole in their numbers.
fn add(steps: &mut Vec<Step>, stream: &Stream<'_>, after: u64, records: &[Arc<DecisionRecord>]) {
    let mut last = after;
    for record in records {
        let expected = last.saturating_add(1);
        if record.sequence > expected {
            let cursor = Cursor { sequence: record.sequence - 1, event_id: None };
            steps.push(Step { event: rows::gap(&stream.name, stream.node, expected, cursor.sequence), cursor });
        }
        let event = rows::from_decision(&stream.name, stream.node, record);
        let cursor = Cursor { sequence: record.sequence, event_id: Some(record.event_id.clone()) };
        steps.push(Step { event, cursor });
        last = record.sequence;
    }
}

fn bad_cursor(stream: &Stream<'_>, text: &str) -> Error {
    Error::new(SqlState::DataCorrupted, format!("stream {} stands at \"{text}\", which is no number", stream.name))
}

fn spool(error: impl fmt::Display) -> Error {
    Error::new(SqlState::InternalError, format!("the decision log: {error}"))
}
