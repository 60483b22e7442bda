use std::{
    io,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    time::{Duration, Instant},
    vec,
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use holdfast_keyspace::Overlay;
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    storage::{ApplyResponder, EntryResponder, RaftStateMachine},
};

use super::{
    Machine,
    heads::{Heads, Remembered},
};
use crate::{
    FatalHook, GroupMetrics,
    log::Durable,
    state::{Meta, SnapshotData, StateDb, View},
    types::{Answer, Entry, LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig, position},
};

/// Entries of one batch at most; the batch and its effects are in memory.
const BATCH_ENTRIES: usize = 1024;
const BATCH_BYTES: usize = 4 << 20;
/// Of the answers in one batch: small commands may have large ones.
const BATCH_ANSWERS: usize = 64 << 20;

/// Applies committed entries to the machine: one write batch for all that are handed over together.
pub(crate) struct Applier<M: Machine> {
    machine: Arc<M>,
    state: StateDb,
    heads: Heads,
    meta: Meta,
    fatal: FatalHook,
    metrics: GroupMetrics,
}

/// A batch that takes longer is worth a line in the log.
const SLOW: Duration = Duration::from_millis(100);

type Pending = (Entry, Option<ApplyResponder<TypeConfig>>);

impl<M: Machine> Applier<M> {
    pub(crate) fn new(machine: Arc<M>, state: StateDb, fatal: FatalHook) -> io::Result<Self> {
        let meta = Meta::read(state.generation().as_ref()).map_err(io::Error::other)?;
        Ok(Self { machine, state, heads: Heads::new(), meta, fatal, metrics: GroupMetrics::default() })
    }

    pub(crate) fn metrics(&self) -> GroupMetrics {
        self.metrics.clone()
    }

    /// Applies the first entries of `batch`, all of them if their answers do not take too much memory.
    fn apply_some(&mut self, batch: &mut vec::IntoIter<Pending>) -> io::Result<()> {
        let begun = Instant::now();
        let generation = self.state.generation();
        let base = Remembered { state: generation.as_ref(), heads: &self.heads };
        let mut overlay = Overlay::new(&base);
        let mut done = Vec::with_capacity(batch.len());
        let mut meta = self.meta.clone();
        let mut answered = 0;
        while answered < BATCH_ANSWERS
            && let Some((entry, responder)) = batch.next()
        {
            let at = position(&entry.log_id);
            meta.applied = Some(entry.log_id);
            let (answer, effects) = match entry.payload {
                EntryPayload::Blank => (Vec::new(), Vec::new()),
                EntryPayload::Normal(command) => {
                    meta.first_command.get_or_insert(at.index);
                    let applied = self.machine.apply(&mut overlay, at, &command.0).map_err(|halt| {
                        io::Error::other(format!("entry {} cannot be applied here: {halt}", at.index))
                    })?;
                    (applied.answer, applied.effects)
                }
                EntryPayload::Membership(membership) => {
                    meta.membership = StoredMembership::new(Some(entry.log_id), membership);
                    (Vec::new(), Vec::new())
                }
            };
            answered += answer.len();
            done.push((at, effects, responder.map(|responder| (responder, Answer(Bytes::from(answer))))));
        }
        let Some((last, entries)) = done.last().map(|(at, ..)| (at.index, done.len())) else { return Ok(()) };

        let changes: Vec<_> = overlay.into_changes().collect();
        let (evaluated, writing) = (begun.elapsed(), Instant::now());
        let bytes = generation.commit(&changes, Some(&meta)).map_err(io::Error::other)?;
        self.heads.follow(&changes);
        self.meta = meta;
        let written = writing.elapsed();
        self.metrics.writes.observe(written.as_secs_f64());

        let mut answers = Vec::with_capacity(done.len());
        for (at, effects, answer) in done {
            if !effects.is_empty() {
                self.machine.publish(at, effects);
            }
            answers.extend(answer);
        }
        self.state.announce(last);
        for (responder, answer) in answers {
            responder.send(answer);
        }
        let took = begun.elapsed();
        if took > SLOW {
            self.metrics.slow_applies.inc();
            let published = took.saturating_sub(evaluated).saturating_sub(written);
            tracing::warn!(
                last,
                entries,
                bytes,
                ?took,
                ?evaluated,
                ?written,
                ?published,
                "applying committed entries was slow"
            );
        }
        Ok(())
    }

    /// A machine that panics must not leave openraft waiting for ever.
    fn apply_guarded(&mut self, batch: Vec<Pending>) -> io::Result<()> {
        let mut batch = batch.into_iter();
        while batch.len() > 0 {
            let applied = panic::catch_unwind(AssertUnwindSafe(|| self.apply_some(&mut batch)));
            applied.unwrap_or_else(|_| Err(io::Error::other("the state machine panicked")))?;
        }
        Ok(())
    }

    async fn apply_all<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            if let EntryPayload::Normal(command) = &entry.payload {
                bytes += command.0.len();
            }
            batch.push((entry, responder));
            if batch.len() >= BATCH_ENTRIES || bytes >= BATCH_BYTES {
                self.apply_guarded(std::mem::take(&mut batch))?;
                bytes = 0;
            }
        }
        self.apply_guarded(batch)
    }

    async fn install(&mut self, data: SnapshotData) -> io::Result<()> {
        let state = self.state.clone();
        let verified = match data {
            SnapshotData::Received(verified) => verified,
            SnapshotData::View(view) => {
                tokio::task::spawn_blocking(move || copy(&state, view)).await.map_err(io::Error::other)??
            }
        };
        let meta = verified.meta().clone();
        let state = self.state.clone();
        let installed = tokio::task::spawn_blocking(move || state.install(*verified)).await;
        installed.map_err(io::Error::other)?.map_err(io::Error::other)?;
        self.meta = meta;
        self.heads.clear();
        self.machine.restored();
        self.state.announce(self.meta.applied.map_or(0, |id| id.index));
        Ok(())
    }
}

/// Takes a view of another state the way it would come over the network.
fn copy(state: &StateDb, view: View) -> io::Result<Box<crate::state::Verified>> {
    use crate::state::{Outgoing, Progress};
    let mut outgoing = Outgoing::new(view).map_err(io::Error::other)?;
    let mut incoming = state.receive().map_err(io::Error::other)?;
    while let Some(frame) = outgoing.next_frame().map_err(io::Error::other)? {
        incoming = match incoming.accept(&frame)? {
            Progress::More(incoming) => incoming,
            Progress::Complete(verified) => return Ok(verified),
        };
    }
    Err(io::Error::other("the snapshot has no end"))
}

impl<M: Machine> RaftStateMachine<TypeConfig> for Applier<M> {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.meta.applied, self.meta.membership.clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let result = self.apply_all(entries).await;
        if let Err(error) = &result {
            self.fatal.call(&error.to_string());
        }
        result
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { view: self.state.snapshot(), state: self.state.clone() }
    }

    async fn install_snapshot(&mut self, _meta: &SnapshotMeta, data: SnapshotData) -> io::Result<()> {
        let result = self.install(data).await;
        if let Err(error) = &result {
            self.fatal.call(&format!("a snapshot could not be installed: {error}"));
        }
        result
    }

    /// The state itself is the snapshot: a view of now, if anything has been applied.
    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        if self.meta.applied.is_none() {
            return Ok(None);
        }
        snapshot_of(self.state.snapshot()).map(Some)
    }
}

/// Ends the part of the log that a restart needs: makes the state durable at a view.
pub(crate) struct Builder {
    view: View,
    state: StateDb,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let state = self.state.clone();
        tokio::task::spawn_blocking(move || state.make_durable()).await.map_err(io::Error::other)??;
        snapshot_of(self.view.clone())
    }
}

fn snapshot_of(view: View) -> io::Result<Snapshot> {
    let meta = view.meta().map_err(io::Error::other)?.snapshot_meta();
    Ok(Snapshot { meta, snapshot: SnapshotData::View(view) })
}

impl Durable for StateDb {
    fn durable(&self) -> u64 {
        Self::durable(self)
    }

    fn make_durable(&self) -> io::Result<u64> {
        self.flush().map_err(io::Error::other)
    }
}
