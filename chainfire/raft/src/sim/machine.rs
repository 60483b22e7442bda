use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use chainfire_core::{Effect, LogPosition, apply, kv::RevisionEvents, lease::LeaseId};
use futures::{Stream, StreamExt as _};
use holdfast_keyspace::{Memory, Overlay, Read, Write as _};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    alias::SnapshotOf,
    storage::{EntryResponder, RaftStateMachine},
};
use parking_lot::Mutex;
use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};

use super::{Sabotage, record::Record};
use crate::{
    log::Durable,
    types::{Answer, Entry, LogId, SnapshotMeta, StoredMembership, TypeConfig},
};

/// A whole state: what a snapshot carries, and what a flush leaves on disk.
#[derive(Clone, Default)]
pub(super) struct Image {
    pub(super) memory: Memory,
    pub(super) applied: Option<LogId>,
    pub(super) membership: StoredMembership,
}

/// The state of one server: chainfire's own commands over memory. Between flushes a crash takes it, as it takes what
/// RocksDB has not flushed; the log has it still.
pub(super) struct State {
    image: Mutex<Image>,
    /// The disk.
    flushed: Arc<Mutex<Image>>,
    durable: AtomicU64,
    applied: watch::Sender<u64>,
    alive: Arc<AtomicBool>,
    record: Record,
    sabotage: Sabotage,
    /// For watchers that follow this server.
    pub(super) told: broadcast::Sender<Told>,
    /// Grants (with their time) and ends, for the clock of a leader.
    pub(super) leases: broadcast::Sender<(LeaseId, Option<Duration>)>,
}

/// What watchers are told.
#[derive(Clone)]
pub(super) enum Told {
    Revision(Arc<RevisionEvents>),
    /// A snapshot has replaced the state.
    Restored,
}

fn below(image: &Image) -> u64 {
    image.applied.map_or(0, |id| id.index + 1)
}

impl State {
    /// What the disk has.
    pub(super) fn open(
        flushed: Arc<Mutex<Image>>,
        alive: Arc<AtomicBool>,
        record: Record,
        sabotage: Sabotage,
    ) -> Arc<Self> {
        let image = flushed.lock().clone();
        let (durable, applied) = (AtomicU64::new(below(&image)), watch::Sender::new(below(&image).saturating_sub(1)));
        let (told, leases) = (broadcast::Sender::new(4096), broadcast::Sender::new(4096));
        Arc::new(Self { image: Mutex::new(image), flushed, durable, applied, alive, record, sabotage, told, leases })
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&dyn Read) -> T) -> T {
        read(&self.image.lock().memory)
    }

    pub(super) fn flush(&self) {
        let image = self.image.lock().clone();
        if self.alive.load(Ordering::SeqCst) {
            self.durable.store(below(&image), Ordering::SeqCst);
            *self.flushed.lock() = image;
        }
    }

    pub(super) async fn applied(&self, index: u64) {
        // The sender is this state's.
        let _ = self.applied.subscribe().wait_for(|applied| *applied >= index).await;
    }

    fn check(&self) -> io::Result<()> {
        if self.alive.load(Ordering::SeqCst) { Ok(()) } else { Err(io::Error::other("the server has crashed")) }
    }

    fn apply(&self, entry: &Entry) -> io::Result<Answer> {
        self.check()?;
        let mut image = self.image.lock();
        let at = LogPosition { index: entry.log_id.index, term: entry.log_id.leader_id.term };
        let mut answer = Vec::new();
        let mut effects = Vec::new();
        match &entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(membership) => {
                image.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
            }
            EntryPayload::Normal(command) => {
                let mut overlay = Overlay::new(&image.memory);
                let applied = apply(&mut overlay, at, &command.0).map_err(|halt| io::Error::other(halt.to_string()))?;
                let changes: Vec<_> = overlay.into_changes().collect();
                for change in changes {
                    match change.value {
                        Some(value) => image.memory.put(change.table, change.key, value),
                        None => image.memory.delete(change.table, change.key),
                    }
                }
                (answer, effects) = (applied.answer, applied.effects);
            }
        }
        image.applied = Some(entry.log_id);
        drop(image);
        self.record.judge(|record| record.logs.applies(entry));
        self.publish(effects);
        self.applied.send_replace(entry.log_id.index);
        Ok(Answer(Bytes::from(answer)))
    }

    fn publish(&self, effects: Vec<Effect>) {
        for effect in effects {
            // Nobody may be listening.
            match effect {
                Effect::Revision(events) => drop(self.told.send(Told::Revision(events))),
                Effect::LeaseGranted { id, ttl } => {
                    let ttl = Duration::from_secs(u64::try_from(ttl).unwrap_or(0));
                    drop(self.leases.send((id, Some(ttl))));
                }
                Effect::LeaseRevoked { id } => {
                    self.record.judge(|record| record.leases.ends(id, Instant::now()));
                    drop(self.leases.send((id, None)));
                }
                _ => {}
            }
        }
    }
}

impl Durable for State {
    fn durable(&self) -> u64 {
        self.durable.load(Ordering::SeqCst)
    }

    fn make_durable(&self) -> io::Result<u64> {
        self.flush();
        Ok(self.durable())
    }
}

/// openraft's view of a state.
pub(super) struct Machine(pub(super) Arc<State>);

pub(super) struct Builder(Arc<State>);

type Snapshot = SnapshotOf<TypeConfig, Image>;

fn snapshot(image: Image) -> Snapshot {
    let meta = SnapshotMeta { last_log_id: image.applied, last_membership: image.membership.clone() };
    Snapshot { meta, snapshot: image }
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = Image;

    /// What may leave the log must be on disk here.
    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        self.0.flush();
        Ok(snapshot(self.0.flushed.lock().clone()))
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = Image;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let image = self.0.image.lock();
        Ok((image.applied, image.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let answer = self.0.apply(&entry)?;
            if let Some(responder) = responder {
                responder.send(answer);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder(Arc::clone(&self.0))
    }

    async fn install_snapshot(&mut self, _: &SnapshotMeta, image: Image) -> io::Result<()> {
        self.0.check()?;
        self.0.record.lock().snapshots += 1;
        let applied = below(&image).saturating_sub(1);
        *self.0.image.lock() = image;
        self.0.flush();
        if self.0.sabotage != Sabotage::RestoresAreNotTold {
            drop(self.0.told.send(Told::Restored));
        }
        self.0.applied.send_replace(applied);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let image = self.0.image.lock().clone();
        Ok(image.applied.is_some().then(|| snapshot(image)))
    }
}
