mod user;

use holdfast_keyspace::Write;

use crate::{
    Answer, ClusterError, Command, Effect, Envelope, Failure, Halt,
    cluster::{self, Beginning, ClusterAnswer, ClusterCommand},
    format,
    journal::{Entry, Recorder},
    system,
};

/// Where a command is in the Raft log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPosition {
    pub index: u64,
    pub term: u64,
}

/// A command's outcome on this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The encoded [`Answer`]: the same on every server.
    pub answer: Vec<u8>,
    pub effects: Vec<Effect>,
}

/// Changes `state` by the command of one log entry. The same state and entry give the same changes, answer and effects
/// everywhere and always. On [`Halt`] the caller must drop the changes and end the process.
pub fn apply(state: &mut dyn Write, at: LogPosition, command: &[u8]) -> Result<Applied, Halt> {
    let envelope = format::decode_command(command).map_err(Halt::Command)?;
    let mut effects = Vec::new();
    let answer = answer(state, at, &envelope, &mut effects)?;
    Ok(Applied { answer: format::encode_answer(&answer).map_err(Halt::Record)?, effects })
}

fn answer(
    state: &mut dyn Write,
    at: LogPosition,
    envelope: &Envelope,
    effects: &mut Vec<Effect>,
) -> Result<Answer, Halt> {
    let Some(cluster) = cluster::state(&*state)? else { return begin(state, at, envelope, effects) };
    let needed = envelope.command.min_level();
    if needed > cluster.feature_level {
        return Ok(Answer::LevelTooLow { needed, level: cluster.feature_level });
    }
    let mut recorder = Recorder::new(&*state, cluster, at, envelope)?;
    let answer = match &envelope.command {
        Command::User(command) => Answer::User(user::apply(state, at, envelope, command, &mut recorder, effects)?),
        Command::System(command) => {
            let context = system::Context { limits: cluster.limits, time_ms: envelope.time_ms };
            Answer::System(replicated(system::apply(state, &context, command, &mut recorder, effects))?)
        }
        Command::Cluster(command) => {
            let time_ms = envelope.time_ms;
            let applied = cluster::apply(state, cluster, command, at.term, time_ms, &mut recorder, effects);
            Answer::Cluster(replicated(applied)?)
        }
    };
    recorder.finish(state, effects);
    Ok(answer)
}

/// The first command of a cluster's life.
fn begin(
    state: &mut dyn Write,
    at: LogPosition,
    envelope: &Envelope,
    effects: &mut Vec<Effect>,
) -> Result<Answer, Halt> {
    let Command::Cluster(ClusterCommand::Genesis(command)) = &envelope.command else {
        return Ok(Answer::BeforeGenesis);
    };
    let Beginning { cluster, genesis, restored_at } = cluster::begin(state, command, envelope.time_ms)?;
    let mut recorder = Recorder::new(&*state, cluster, at, envelope)?;
    let resource = format!("cluster/{}", genesis.cluster);
    let action = if restored_at.is_some() { "cluster.Restore" } else { "cluster.Genesis" };
    let revision = restored_at.map(|revision| revision.0.cast_unsigned());
    recorder.record(state, Entry { action: action.into(), resource, revision, ..Entry::default() })?;
    effects.extend(restored_at.map(Effect::Restored));
    effects.push(Effect::ClusterChanged);
    recorder.finish(state, effects);
    let answer: Result<ClusterAnswer, ClusterError> = Ok(ClusterAnswer::Genesis(genesis));
    Ok(Answer::Cluster(answer))
}

/// Tells a refusal, which is an answer, from a reason to stop.
fn replicated<T, R>(result: Result<T, Failure<R>>) -> Result<Result<T, R>, Halt> {
    match result {
        Ok(answer) => Ok(Ok(answer)),
        Err(Failure::Refused(refused)) => Ok(Err(refused)),
        Err(Failure::Halt(halt)) => Err(halt),
    }
}
