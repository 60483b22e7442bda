use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use chainfire_core::{
    Answer, ClusterError, Command, Envelope, Origin, UserAnswer, UserCommand, UserRefusal,
    cluster::{self, ClusterAnswer, ClusterCommand},
    format,
    kv::{self, Revision},
};
use chainfire_raft::{Group, ProposeError, ReadError, Status, Timing, View};
use tracing::Instrument as _;

use super::{
    Limits,
    doubt::doubt,
    pressure::{self, Pending},
};
use crate::{ChainfireMachine, Error, MemberId, metrics::Metrics};

/// Proposes typed commands to the group and reads its state.
pub(crate) struct Store {
    pub(super) group: Group<ChainfireMachine>,
    limits: Limits,
    timing: Timing,
    /// This member.
    pub(super) own: MemberId,
    pending: Pending,
    metrics: Metrics,
}

/// A read index that takes longer is slow.
const SLOW_READ: Duration = Duration::from_millis(500);

/// The answer to a user command, with the term of its log entry.
#[derive(Clone, Debug)]
pub(crate) struct Done<T> {
    pub(crate) term: u64,
    pub(crate) answer: T,
}

impl Store {
    pub(crate) fn new(
        group: Group<ChainfireMachine>,
        limits: Limits,
        timing: Timing,
        own: MemberId,
        metrics: Metrics,
    ) -> Self {
        Self { group, limits, timing, own, pending: Pending::default(), metrics }
    }

    /// Changes of the user keyspace that wait for their answer.
    pub(crate) fn pending(&self) -> usize {
        self.pending.proposals()
    }

    pub(crate) fn timing(&self) -> Timing {
        self.timing
    }

    /// This member.
    pub(crate) fn own(&self) -> MemberId {
        self.own
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    pub(crate) fn group(&self) -> &Group<ChainfireMachine> {
        &self.group
    }

    pub(crate) fn machine(&self) -> &Arc<ChainfireMachine> {
        self.group.machine()
    }

    pub(crate) fn status(&self) -> Status {
        self.group.status()
    }

    /// A consistent view of what this server has applied.
    pub(crate) fn view(&self) -> View {
        self.group.state().snapshot()
    }

    /// Waits until [`Store::view`] shows everything that was acknowledged anywhere before this call.
    pub(crate) async fn barrier(&self) -> Result<u64, ReadError> {
        let asked = Instant::now();
        let known = self.group.read_index().await;
        if known.is_err() {
            self.metrics.reads_failed.inc();
        } else if asked.elapsed() >= SLOW_READ {
            self.metrics.slow_reads.inc();
        }
        known
    }

    /// Whether the cluster has begun, as far as this server knows.
    pub(crate) fn is_founded(&self) -> bool {
        matches!(cluster::state(self.group.state()), Ok(Some(_)))
    }

    /// The user keyspace's revision on this server.
    pub(crate) fn revision(&self) -> Result<Revision, Error> {
        Ok(kv::current_revision(self.group.state())?)
    }

    /// Replicates a change of the user keyspace.
    pub(crate) async fn change(&self, origin: Origin, command: UserCommand) -> Result<Done<UserAnswer>, Error> {
        let span = tracing::info_span!("change", request = origin.request_id, by = origin.principal);
        let before = self.status();
        pressure::check(&before, &command)?;
        self.check_space(&command).await?;
        let command = self.encode(origin, Command::User(command))?;
        if command.len() > self.limits.request_bytes {
            return Err(Error::RequestTooLarge);
        }
        let _waiting = self.pending.enter(command.len())?;
        let asked = Instant::now();
        let committed = self.group.propose(command).instrument(span).await.map_err(|error| {
            self.metrics.proposals_failed.inc();
            match error {
                ProposeError::Unknown(reason) => {
                    tracing::debug!(reason, "the outcome of a change is unknown");
                    doubt(&before, &self.status(), asked.elapsed(), self.timing.request())
                }
                error => error.into(),
            }
        })?;
        match decode(&committed.answer)? {
            Answer::User(Ok(answer)) => Ok(Done { term: committed.term, answer }),
            Answer::User(Err(UserRefusal { error, .. })) => Err(error.into()),
            other => Err(not_an_answer(&other)),
        }
    }

    /// Replicates a command about the cluster itself.
    pub(crate) async fn govern(&self, origin: Origin, command: ClusterCommand) -> Result<ClusterAnswer, Ungoverned> {
        let command = self.encode(origin, Command::Cluster(command)).map_err(Error::from)?;
        let committed = self.group.propose(command).await.map_err(Error::from)?;
        match decode(&committed.answer)? {
            Answer::Cluster(answer) => Ok(answer?),
            other => Err(not_an_answer(&other).into()),
        }
    }

    /// The bytes to propose. A command that not all servers can know yet is not proposed at all.
    pub(super) fn encode(&self, origin: Origin, command: Command) -> Result<Vec<u8>, NotEncoded> {
        let failed = |error: &dyn std::fmt::Display| NotEncoded::Failed(error.to_string());
        let needed = command.min_level();
        let state = cluster::state(self.group.state()).map_err(|halt| failed(&halt))?;
        let level = state.map_or(1, |state| state.feature_level);
        if needed > level {
            return Err(NotEncoded::Level { needed, level });
        }
        let envelope = Envelope { origin, time_ms: now_ms(), command };
        format::encode_command(&envelope).map_err(|error| failed(&error))
    }
}

/// Why a command was not even proposed.
#[derive(Debug)]
pub(super) enum NotEncoded {
    Level { needed: u32, level: u32 },
    Failed(String),
}

impl From<NotEncoded> for Error {
    fn from(error: NotEncoded) -> Self {
        match error {
            NotEncoded::Level { .. } => Self::NotCapable,
            NotEncoded::Failed(detail) => Self::Storage(detail),
        }
    }
}

/// Why a cluster command did nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ungoverned {
    #[error(transparent)]
    Refused(#[from] ClusterError),
    #[error(transparent)]
    Failed(#[from] Error),
}

fn decode(answer: &[u8]) -> Result<Answer, Error> {
    format::decode_answer(answer).map_err(|error| Error::Unreadable(error.to_string()))
}

fn not_an_answer(answer: &Answer) -> Error {
    match answer {
        // The cluster is not founded yet, which takes a leader.
        Answer::BeforeGenesis => Error::NoLeader,
        Answer::LevelTooLow { .. } => Error::NotCapable,
        Answer::User(_) | Answer::System(_) | Answer::Cluster(_) => Error::mismatch(),
    }
}

/// What the proposer's clock says. A clock before 1970 is a broken one; 0 says so in the records.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
