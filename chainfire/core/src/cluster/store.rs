use holdfast_format::kind;
use holdfast_keyspace::{KeyRange, Order, Read, Write};
use uuid::Uuid;

use super::{ClusterAnswer, ClusterCommand, Genesis, GenesisCommand, Lineage, NewLineage, State, restored::restored};
use crate::{
    ClusterError, Effect, FEATURE_LEVEL, Failure, Halt, alarm,
    format::{decode_record, encode_record},
    journal::{self, Entry, Recorder},
    kv::{self, Revision},
    lease, meta, table,
};

/// How the cluster began; none before the genesis command.
pub fn genesis(read: &dyn Read) -> Result<Option<Genesis>, Halt> {
    let bytes = read.get(table::META, meta::GENESIS.as_bytes())?;
    bytes.map(|bytes| decode_record(kind::GENESIS, &bytes)).transpose()
}

/// What commands are applied under; none before the genesis command.
pub fn state(read: &dyn Read) -> Result<Option<State>, Halt> {
    let bytes = read.get(table::META, meta::CLUSTER_STATE.as_bytes())?;
    bytes.map(|bytes| decode_record(kind::CLUSTER_STATE, &bytes)).transpose()
}

/// All lineages, the current one last.
pub fn lineages(read: &dyn Read) -> Result<Vec<Lineage>, Halt> {
    let mut lineages = Vec::new();
    for pair in read.scan(table::META, KeyRange::prefix(meta::LINEAGE), Order::Ascending) {
        let (_, value) = pair?;
        lineages.push(decode_record(kind::LINEAGE, &value)?);
    }
    Ok(lineages)
}

pub(crate) fn lineage_ordinal(read: &dyn Read, id: Uuid) -> Result<Option<u32>, Halt> {
    if let Some(state) = state(read)?.filter(|state| state.lineage == id) {
        return Ok(Some(state.lineage_ordinal));
    }
    Ok(lineages(read)?.into_iter().find(|lineage| lineage.id == id).map(|lineage| lineage.ordinal))
}

/// How a cluster begins.
pub(crate) struct Beginning {
    pub(crate) cluster: State,
    pub(crate) genesis: Genesis,
    /// The revision that a restored user keyspace begins at; none for an empty one.
    pub(crate) restored_at: Option<Revision>,
}

/// Writes the genesis record and everything that later commands are applied under; a restored state goes on from there.
pub(crate) fn begin(state: &mut dyn Write, command: &GenesisCommand, time_ms: u64) -> Result<Beginning, Halt> {
    check_level(command.feature_level)?;
    let restored = restored(&*state)?;
    let genesis = Genesis {
        cluster: command.cluster,
        members: command.members.clone(),
        lineage: command.lineage,
        feature_level: command.feature_level,
        time_ms,
    };
    let (cluster, lineage) = match &restored {
        Some(restored) => restored.go_on(command, time_ms)?,
        None => fresh(command, time_ms),
    };
    state.put(table::META, meta::GENESIS.into(), encode_record(kind::GENESIS, &genesis)?);
    set_lineage(state, &lineage)?;
    set_state(state, &cluster)?;
    if !restored.is_some_and(|restored| restored.has_policy()) {
        journal::set_policy(state, &command.audit)?;
    }
    let restored_at = restored.map(|restored| restored.move_on(state, time_ms)).transpose()?;
    Ok(Beginning { cluster, genesis, restored_at })
}

fn fresh(command: &GenesisCommand, time_ms: u64) -> (State, Lineage) {
    let cluster = State {
        lineage: command.lineage,
        lineage_ordinal: 0,
        feature_level: command.feature_level,
        journal: command.journal,
        limits: command.limits,
    };
    (cluster, Lineage { id: command.lineage, ordinal: 0, parent: None, cut: 0, begun_ms: time_ms })
}

/// Applies a command of the cluster, which is in the log with `term`, under its current state.
pub(crate) fn apply(
    state: &mut dyn Write,
    cluster: State,
    command: &ClusterCommand,
    term: u64,
    time_ms: u64,
    recorder: &mut Recorder<'_>,
    effects: &mut Vec<Effect>,
) -> Result<ClusterAnswer, Failure<ClusterError>> {
    // The servers' housekeeping makes room or changes nothing that anybody can see: never refused, never recorded.
    let housekeeping = matches!(
        command,
        ClusterCommand::AuditShipped { .. } | ClusterCommand::CompactStep { .. } | ClusterCommand::LeaseCheckpoint(_)
    );
    // An alarm protects data, and there are few of them.
    let alarm = matches!(command, ClusterCommand::AlarmRaise(_) | ClusterCommand::AlarmClear(_));
    if recorder.is_exhausted() && !housekeeping && !alarm {
        return Err(ClusterError::JournalFull.into());
    }
    let (action, resource) = match command {
        ClusterCommand::Genesis(_) => {
            let cluster = genesis(&*state)?.ok_or_else(|| Halt::damaged("the genesis record is missing"))?.cluster;
            return Err(ClusterError::GenesisExists { cluster }.into());
        }
        ClusterCommand::NewLineage(new) => {
            if new.id == cluster.lineage {
                return Ok(ClusterAnswer::Done);
            }
            begin_lineage(state, cluster, *new, time_ms)?;
            ("cluster.NewLineage", format!("lineage/{}", new.id))
        }
        ClusterCommand::RaiseFeatureLevel { level } => {
            check_level(*level)?;
            if *level <= cluster.feature_level {
                return Err(ClusterError::LevelTooLow { current: cluster.feature_level }.into());
            }
            set_state(state, &State { feature_level: *level, ..cluster })?;
            ("cluster.RaiseFeatureLevel", format!("feature-level/{level}"))
        }
        ClusterCommand::SetLimits(limits) => {
            set_state(state, &State { limits: *limits, ..cluster })?;
            ("cluster.SetLimits", "limits".into())
        }
        ClusterCommand::AuditPolicySet(policy) => {
            journal::set_policy(state, policy)?;
            ("audit.PolicySet", "audit-policy".into())
        }
        ClusterCommand::AuditShipped { upto } => {
            let (used, any) = journal::truncate(state, *upto)?;
            if any {
                effects.push(Effect::JournalTruncated);
            }
            return Ok(ClusterAnswer::AuditShipped { used });
        }
        ClusterCommand::CompactStep { rows } => {
            let (removed, finished) = kv::remove_compacted(state, *rows)?;
            return Ok(ClusterAnswer::CompactStep { removed, finished });
        }
        ClusterCommand::LeaseCheckpoint(command) => {
            lease::checkpoint(state, term, command)?;
            return Ok(ClusterAnswer::Done);
        }
        ClusterCommand::AlarmRaise(alarm) => {
            if alarm::raise(state, *alarm)? {
                change_of_alarms(state, "cluster.AlarmRaise", *alarm, recorder, effects)?;
            }
            return Ok(ClusterAnswer::Alarm(Some(*alarm)));
        }
        ClusterCommand::AlarmClear(alarm) => {
            let active = alarm::clear(state, *alarm)?;
            if active {
                change_of_alarms(state, "cluster.AlarmClear", *alarm, recorder, effects)?;
            }
            return Ok(ClusterAnswer::Alarm(active.then_some(*alarm)));
        }
    };
    recorder.record(state, Entry { action: action.into(), resource, ..Entry::default() })?;
    effects.push(Effect::ClusterChanged);
    Ok(ClusterAnswer::Done)
}

fn change_of_alarms(
    state: &mut dyn Write,
    action: &str,
    alarm: alarm::Alarm,
    recorder: &mut Recorder<'_>,
    effects: &mut Vec<Effect>,
) -> Result<(), Halt> {
    let resource = format!("alarm/{:x}/{:?}", alarm.member, alarm.kind);
    recorder.record(state, Entry { action: action.into(), resource, ..Entry::default() })?;
    effects.push(Effect::AlarmsChanged);
    Ok(())
}

fn begin_lineage(
    state: &mut dyn Write,
    cluster: State,
    new: NewLineage,
    time_ms: u64,
) -> Result<(), Failure<ClusterError>> {
    if new.parent != cluster.lineage {
        return Err(ClusterError::WrongParent { current: cluster.lineage }.into());
    }
    let ordinal = cluster.lineage_ordinal.checked_add(1).ok_or_else(|| Halt::damaged("2^32 lineages"))?;
    let lineage = Lineage { id: new.id, ordinal, parent: Some(new.parent), cut: new.cut, begun_ms: time_ms };
    set_lineage(state, &lineage)?;
    set_state(state, &State { lineage: new.id, lineage_ordinal: ordinal, ..cluster })?;
    Ok(())
}

/// A member that does not know what the level allows must not go on.
fn check_level(level: u32) -> Result<(), Halt> {
    if level > FEATURE_LEVEL { Err(Halt::FeatureLevel { level, supported: FEATURE_LEVEL }) } else { Ok(()) }
}

fn set_state(state: &mut dyn Write, cluster: &State) -> Result<(), Halt> {
    state.put(table::META, meta::CLUSTER_STATE.into(), encode_record(kind::CLUSTER_STATE, cluster)?);
    Ok(())
}

fn set_lineage(state: &mut dyn Write, lineage: &Lineage) -> Result<(), Halt> {
    let key = format!("{}{:010}", meta::LINEAGE, lineage.ordinal);
    state.put(table::META, key.into_bytes(), encode_record(kind::LINEAGE, lineage)?);
    Ok(())
}
