use std::sync::Arc;

use chainfire_core::Origin;
use flaredb_core::{SqlState, audit::Event, store::CURSORS};
use flaredb_sql::Error;
use holdfast_keyspace::{KeyRange, Order, Read as _};
use holdfast_service::Stop;
use iam_client::{DecisionRecord, DecisionSource};

use super::{BATCH, BackOff, batch_length, rows};
use crate::{Consistency, Flaredb};

/// One server's decisions. A server with a new disk counts from the beginning again, so its incarnation is part of
/// the stream's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionStream {
    node: String,
    name: String,
}

impl DecisionStream {
    /// `incarnation` names the disk: it changes whenever the server lost its data folder.
    pub fn new(node: impl Into<String>, incarnation: &str) -> Self {
        let node = node.into();
        Self { name: format!("decisions/{node}/{incarnation}"), node }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    fn all_of_node(&self) -> String {
        format!("decisions/{}/", self.node)
    }
}

/// One row, and where the stream stands with it.
struct Step {
    event: Event,
    cursor: u64,
}

impl Flaredb {
    /// Ships this server's decision log, whoever leads. Ends with `stop`.
    pub async fn ship_decisions(self, stream: DecisionStream, source: Arc<dyn DecisionSource>, stop: Stop) {
        tokio::select! {
            () = stop.requested() => return,
            () = self.ready() => {}
        }
        let every = self.config().decisions_every;
        let mut back_off = BackOff::new();
        // What this life knows to be shipped; the log may keep it a while longer.
        let mut shipped = 0;
        loop {
            match self.ship_decision_batch(&stream, source.as_ref(), shipped).await {
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
    pub(crate) async fn ship_decision_batch(
        &self,
        stream: &DecisionStream,
        source: &dyn DecisionSource,
        shipped: u64,
    ) -> Result<u64, Error> {
        // Asking flaredb every second for nothing would keep a quorum busy.
        if source.read(shipped, 1).map_err(spool)?.is_empty() {
            return Ok(shipped);
        }
        let stored = self.cursor(stream.name()).await?;
        let after = match &stored {
            Some(text) => text.parse().map_err(|_| bad_cursor(stream, text))?,
            None => 0,
        };
        let records = source.read(after, BATCH).map_err(spool)?;
        let mut steps = Vec::with_capacity(records.len() + 1);
        if stored.is_none() && self.had_another_spool(stream).await? {
            steps.push(Step { event: rows::new_spool(stream.name(), &stream.node), cursor: after });
        }
        add(&mut steps, stream, after, &records);
        steps.truncate(batch_length(steps.iter().map(|step| &step.event)));
        let next = match steps.last() {
            Some(last) => last.cursor,
            None => after,
        };
        if !steps.is_empty() {
            let origin = Origin::system("shipper", format!("{}/{next}", stream.name()));
            let events = steps.into_iter().map(|step| step.event).collect();
            self.ingest(&origin, stream.name(), stored, next.to_string(), events).await?;
        }
        // Also where nothing was new: an interrupted attempt may not have come as far as this.
        source.shipped(next).map_err(spool)?;
        Ok(next)
    }

    /// Whether this server has shipped from another disk before.
    async fn had_another_spool(&self, stream: &DecisionStream) -> Result<bool, Error> {
        let view = self.view(Consistency::Local).await?;
        let mut others = view.scan(CURSORS, KeyRange::prefix(stream.all_of_node()), Order::Ascending);
        Ok(others.next().transpose().map_err(flaredb_core::Damage::from)?.is_some())
    }
}

/// Appends `records`, and a notice for each hole in their numbers.
fn add(steps: &mut Vec<Step>, stream: &DecisionStream, after: u64, records: &[Arc<DecisionRecord>]) {
    let mut last = after;
    for record in records {
        let expected = last.saturating_add(1);
        if record.sequence > expected {
            let cursor = record.sequence - 1;
            steps.push(Step { event: rows::gap(stream.name(), &stream.node, expected, cursor), cursor });
        }
        let event = rows::from_decision(stream.name(), &stream.node, record);
        steps.push(Step { event, cursor: record.sequence });
        last = record.sequence;
    }
}

fn bad_cursor(stream: &DecisionStream, text: &str) -> Error {
    Error::new(SqlState::DataCorrupted, format!("stream {} stands at \"{text}\", which is no number", stream.name()))
}

fn spool(error: impl std::fmt::Display) -> Error {
    Error::new(SqlState::InternalError, format!("the decision log: {error}"))
}
