//! Counters and single records of the state, by name. Names are part of the stored format.

use holdfast_keyspace::{Read, Write};

use crate::{Halt, table};

/// The user keyspace's revision.
pub(crate) const REVISION: &str = "kv.revision";
/// The user keyspace's compacted revision.
pub(crate) const COMPACTED: &str = "kv.compacted";
/// Bytes of the user keyspace's rows, and of its leases.
pub(crate) const USER_BYTES: &str = "kv.bytes";
/// No time of a revision is before this key; absent: any may be. What was removed need not be looked through.
pub(crate) const TIMES_BEGIN: &str = "kv.times-begin";
/// Keys that exist.
pub(crate) const USER_KEYS: &str = "kv.keys";
/// All active alarms.
pub(crate) const ALARMS: &str = "alarms";
/// How far the removal of compacted rows has come.
pub(crate) const COMPACT_CURSOR: &str = "kv.compact-cursor";
pub(crate) const SYSTEM_REVISION: &str = "system.revision";
/// Bytes of the system keyspace's keys and values.
pub(crate) const SYSTEM_BYTES: &str = "system.bytes";
/// Bytes of the journal's keys and records.
pub(crate) const JOURNAL_BYTES: &str = "journal.bytes";
/// No record of the journal is before this key; absent: any may be. What was shipped need not be looked through.
pub(crate) const JOURNAL_BEGIN: &str = "journal.begin";
pub(crate) const AUDIT_POLICY: &str = "journal.policy";
/// Grants of lock slots so far, over all groups.
pub(crate) const LOCK_GRANTS: &str = "locks.grants";
/// Lock groups that neither a policy nor a configuration names.
pub(crate) const LOCK_UNLISTED_GROUPS: &str = "locks.unlisted-groups";
/// Bytes of their rows.
pub(crate) const LOCK_UNLISTED_BYTES: &str = "locks.unlisted-bytes";
/// Whether users count, and the revision of users and roles.
pub(crate) const AUTH_STATUS: &str = "auth.status";
pub(crate) const GENESIS: &str = "cluster.genesis";
pub(crate) const CLUSTER_STATE: &str = "cluster.state";
/// A restore that no cluster has taken over yet.
pub(crate) const RESTORED: &str = "cluster.restored";
/// Followed by the lineage's ordinal.
pub(crate) const LINEAGE: &str = "cluster.lineage/";

pub(crate) fn counter(read: &dyn Read, name: &str) -> Result<Option<u64>, Halt> {
    let Some(bytes) = read.get(table::META, name.as_bytes())? else { return Ok(None) };
    let bytes: [u8; 8] = bytes.try_into().map_err(|_| Halt::damaged(format!("counter {name} is not 8 bytes")))?;
    Ok(Some(u64::from_be_bytes(bytes)))
}

pub(crate) fn set_counter(state: &mut dyn Write, name: &str, value: u64) {
    state.put(table::META, name.as_bytes().to_vec(), value.to_be_bytes().to_vec());
}

/// Adds to a counter, or takes away from it.
pub(crate) fn count(state: &mut dyn Write, name: &str, by: i64) -> Result<(), Halt> {
    let value = counter(&*state, name)?.unwrap_or(0);
    set_counter(state, name, value.saturating_add_signed(by));
    Ok(())
}
