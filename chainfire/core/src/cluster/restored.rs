//! A state from a backup, on its way to be another cluster's.
//!
//! Offline, [`prepare`] takes away what made the state that of its cluster and leaves one record. The genesis command
//! of the new cluster finds the record instead of an empty state and goes on from there: under a new lineage, at a
//! revision that no client of the old cluster can have seen, with everything before it compacted.

use holdfast_format::kind;
use holdfast_keyspace::{Read, Write};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{GenesisCommand, Limits, Lineage, State, genesis, state};
use crate::{
    FEATURE_LEVEL, Halt,
    format::{decode_record, encode_record},
    kv::{Revision, compacted_revision, current_revision, record_time},
    meta, table,
};

/// What a restore has to remember until the new cluster begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restored {
    /// None for a state that comes from an etcd.
    parent: Option<Parent>,
    /// The user revision grows by this much.
    bump: u64,
}

/// What the state was a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Parent {
    lineage: Uuid,
    ordinal: u32,
    /// The last log index in the state.
    cut: u64,
    feature_level: u32,
    limits: Limits,
}

/// Readies a state for another cluster. `cut` is the last log index in it. Without a genesis in it, it has to be one
/// that was made from an etcd's data.
pub fn prepare(target: &mut dyn Write, bump: u64, cut: u64) -> Result<(), Halt> {
    let parent = match (state(&*target)?, genesis(&*target)?) {
        (Some(state), Some(_)) => Some(Parent {
            lineage: state.lineage,
            ordinal: state.lineage_ordinal,
            cut,
            feature_level: state.feature_level,
            limits: state.limits,
        }),
        (None, None) => None,
        _ => return Err(Halt::damaged("the state's cluster is known in part only")),
    };
    if let Some(level) = parent.map(|parent| parent.feature_level).filter(|level| *level > FEATURE_LEVEL) {
        return Err(Halt::FeatureLevel { level, supported: FEATURE_LEVEL });
    }
    let record = encode_record(kind::RESTORED, &Restored { parent, bump })?;
    target.delete(table::META, meta::GENESIS.into());
    target.delete(table::META, meta::CLUSTER_STATE.into());
    // They were about members that are none any more; what still holds is found again.
    target.delete(table::META, meta::ALARMS.into());
    target.put(table::META, meta::RESTORED.into(), record);
    Ok(())
}

/// The record of a restore that no cluster has taken over yet.
pub(crate) fn restored(read: &dyn Read) -> Result<Option<Restored>, Halt> {
    let bytes = read.get(table::META, meta::RESTORED.as_bytes())?;
    bytes.map(|bytes| decode_record(kind::RESTORED, &bytes)).transpose()
}

impl Restored {
    /// What commands are applied under from now on, and the lineage that begins.
    pub(super) fn go_on(&self, command: &GenesisCommand, time_ms: u64) -> Result<(State, Lineage), Halt> {
        let ordinal = match self.parent {
            Some(parent) => parent.ordinal.checked_add(1).ok_or_else(|| Halt::damaged("2^32 lineages"))?,
            None => 0,
        };
        let state = State {
            lineage: command.lineage,
            lineage_ordinal: ordinal,
            feature_level: self.parent.map_or(command.feature_level, |parent| parent.feature_level),
            journal: command.journal,
            limits: self.parent.map_or(command.limits, |parent| parent.limits),
        };
        let lineage = Lineage {
            id: command.lineage,
            ordinal,
            parent: self.parent.map(|parent| parent.lineage),
            cut: self.parent.map_or(0, |parent| parent.cut),
            begun_ms: time_ms,
        };
        Ok((state, lineage))
    }

    /// Whether the state came with an audit policy of its own.
    pub(super) fn has_policy(&self) -> bool {
        self.parent.is_some()
    }

    /// Moves the user keyspace to a revision that the old cluster cannot have reached, compacts what lies before, and
    /// forgets the restore. Nothing of the data changes.
    pub(super) fn move_on(&self, target: &mut dyn Write, time_ms: u64) -> Result<Revision, Halt> {
        target.delete(table::META, meta::RESTORED.into());
        let current = current_revision(&*target)?;
        let bumped = Revision(current.0.saturating_add_unsigned(self.bump));
        meta::set_counter(target, meta::REVISION, bumped.0.cast_unsigned());
        record_time(target, bumped, time_ms)?;
        if compacted_revision(&*target)?.is_none_or(|compacted| compacted < bumped) {
            meta::set_counter(target, meta::COMPACTED, bumped.0.cast_unsigned());
        }
        Ok(bumped)
    }
}
