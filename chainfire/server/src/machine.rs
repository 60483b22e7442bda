use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use chainfire_core::{
    Effect, LogPosition,
    alarm::{self, Alarm, AlarmKind},
    kv, system, table,
};
use chainfire_raft::{Applied, Halt, Machine, Position, StateDb};
use holdfast_keyspace::{Overlay, Table};
use tokio::sync::watch;

use crate::{
    Error,
    lease::Lessor,
    metrics::Metrics,
    store::now_ms,
    users::{Issued, SimpleTokens},
    watch::Hub,
};

/// chainfire's state machine on a Raft group: the pure core applies, and what it did reaches watchers, lease clocks
/// and the services that wait for the system keyspace.
pub struct ChainfireMachine {
    hub: Arc<Hub>,
    lessor: Arc<Lessor>,
    metrics: Metrics,
    tokens: Arc<SimpleTokens>,
    system: watch::Sender<u64>,
    /// Counts changes of genesis, lineage, limits, audit policy and feature level.
    cluster: watch::Sender<u64>,
    /// Counts compactions, to wake the one who removes the compacted rows.
    compactions: watch::Sender<u64>,
    alarms: watch::Sender<Vec<Alarm>>,
    /// Known once the group is open; before that nobody can be told anything.
    state: OnceLock<StateDb>,
}

impl ChainfireMachine {
    pub(crate) fn new(hub: Arc<Hub>, lessor: Arc<Lessor>, tokens: Arc<SimpleTokens>, metrics: Metrics) -> Self {
        Self {
            hub,
            lessor,
            metrics,
            tokens,
            system: watch::Sender::new(0),
            cluster: watch::Sender::new(0),
            compactions: watch::Sender::new(0),
            alarms: watch::Sender::new(Vec::new()),
            state: OnceLock::new(),
        }
    }

    /// Connects the machine to the state of its group, so that it knows where readers begin.
    pub(crate) fn attach(&self, state: StateDb) {
        let state = self.state.get_or_init(|| state);
        self.catch_up(state);
    }

    /// The newest revision of the system keyspace on this server.
    pub(crate) fn system_changes(&self) -> watch::Receiver<u64> {
        self.system.subscribe()
    }

    pub(crate) fn cluster_changes(&self) -> watch::Receiver<u64> {
        self.cluster.subscribe()
    }

    pub(crate) fn compactions(&self) -> watch::Receiver<u64> {
        self.compactions.subscribe()
    }

    /// The active alarms.
    pub(crate) fn alarms(&self) -> watch::Receiver<Vec<Alarm>> {
        self.alarms.subscribe()
    }

    fn read_alarms(&self, state: &StateDb) {
        match alarm::alarms(state) {
            Ok(active) => {
                for alarm in &active {
                    tell(alarm);
                }
                self.alarms.send_replace(active);
            }
            Err(halt) => tracing::error!(%halt, "the alarms cannot be read"),
        }
    }

    fn catch_up(&self, state: &StateDb) {
        let view = state.snapshot();
        let revisions = kv::current_revision(&view).and_then(|user| Ok((user, system::current_revision(&view)?)));
        match revisions {
            Ok((user, system)) => {
                self.hub.jump(user);
                self.system.send_if_modified(|newest| std::mem::replace(newest, system.max(*newest)) < system);
            }
            Err(halt) => {
                tracing::error!(%halt, "the state cannot be read; watch streams end");
                self.hub.end(&Error::Storage(halt.to_string()));
            }
        }
        self.read_alarms(state);
        self.cluster.send_modify(|count| *count += 1);
        self.compactions.send_modify(|count| *count += 1);
    }

    fn publish_one(&self, effect: Effect) {
        match effect {
            Effect::Revision(events) => {
                self.metrics.published(&events);
                self.hub.publish(&events);
            }
            Effect::Compacted(revision) => {
                self.metrics.compacted(revision);
                self.compactions.send_modify(|count| *count += 1);
            }
            Effect::Restored(revision) => {
                self.metrics.compacted(revision);
                self.hub.jump(revision);
                self.compactions.send_modify(|count| *count += 1);
            }
            Effect::LeaseGranted { id, ttl } => {
                self.metrics.lease_granted.inc();
                self.lessor.granted(id, Duration::from_secs(u64::try_from(ttl).unwrap_or(0)));
            }
            Effect::LeaseRevoked { id } => {
                self.metrics.lease_revoked.inc();
                self.lessor.ended(id);
            }
            Effect::SystemChanged { revision } => {
                self.system.send_replace(revision);
            }
            // Whoever reads the journal waits for applied entries, which also covers what is in it from before.
            Effect::JournalAppended { .. } | Effect::JournalTruncated => {}
            Effect::TokenIssued { token, user, index, issued_ms } => {
                let age = Duration::from_millis(now_ms().saturating_sub(issued_ms));
                self.tokens.issued(Issued { token, user, index, age }, Instant::now());
            }
            Effect::TokensEnded { user } => self.tokens.ended(user.as_deref()),
            Effect::ClusterChanged => self.cluster.send_modify(|count| *count += 1),
            Effect::AlarmsChanged => {
                if let Some(state) = self.state.get() {
                    self.read_alarms(state);
                }
            }
        }
    }
}

/// What an alarm means to whoever reads the log.
fn tell(alarm: &Alarm) {
    let member = format_args!("{:x}", alarm.member);
    match alarm.kind {
        AlarmKind::NoSpace => {
            tracing::warn!(%member, "alarm NOSPACE: writes are refused until there is room; see deploy/runbooks/alarms.md");
        }
        AlarmKind::Corrupt => tracing::error!(
            %member,
            "alarm CORRUPT: members' data differ, and the keys cannot be used; see deploy/runbooks/alarms.md"
        ),
    }
}

impl Machine for ChainfireMachine {
    type Effect = Effect;

    fn tables(&self) -> &'static [Table] {
        table::ALL
    }

    fn apply(&self, state: &mut Overlay<'_>, at: Position, command: &[u8]) -> Result<Applied<Effect>, Halt> {
        let at = LogPosition { index: at.index, term: at.term };
        let applied = chainfire_core::apply(state, at, command).map_err(|halt| Halt(halt.to_string()))?;
        Ok(Applied { answer: applied.answer, effects: applied.effects })
    }

    fn publish(&self, _: Position, effects: Vec<Effect>) {
        effects.into_iter().for_each(|effect| self.publish_one(effect));
    }

    fn restored(&self) {
        // Only followers receive snapshots, and a follower has no lease clocks.
        self.lessor.demote();
        // What happened to users meanwhile is not told one by one.
        self.tokens.ended(None);
        if let Some(state) = self.state.get() {
            self.catch_up(state);
        }
    }
}
