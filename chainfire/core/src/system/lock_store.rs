//! Rows of the lock table: one for each group, one for each held slot. A name is escaped and ended as in the user
//! keyspace's index, so that no group's rows mix with another's.

use holdfast_format::kind;
use holdfast_keyspace::{KeyRange, Order, Read, Write};
use serde::{Deserialize, Serialize};

use super::{LockGroup, LockHolder, quota};
use crate::{
    Halt,
    format::{decode_record, encode_record},
    kv::escape,
    meta, table,
};

const GROUP: u8 = 1;
const HOLDER: u8 = 2;

/// A group's row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Group {
    pub(super) name: String,
    /// Of the stored policy.
    pub(super) slots: Option<u32>,
    pub(super) frozen: Option<String>,
    /// Holder rows of the group.
    pub(super) held: u32,
    /// Whether a policy or a configuration names it; if not, it exists only because it was asked for.
    pub(super) listed: bool,
}

/// The lock group `group`; none if it has neither a stored policy nor a holder.
pub fn lock_group(read: &dyn Read, group: &str) -> Result<Option<LockGroup>, Halt> {
    let Some(row) = self::group(read, group)?.filter(is_shown) else { return Ok(None) };
    let holders = holders(read, group)?;
    Ok(Some(LockGroup { group: row.name, slots: row.slots, frozen: row.frozen, holders }))
}

/// Lock groups that have a stored policy or a holder, by name, after `after` if given, at most `limit`.
pub fn lock_groups(read: &dyn Read, after: Option<&str>, limit: usize) -> Result<Vec<LockGroup>, Halt> {
    let mut range = KeyRange::prefix([GROUP]);
    if let Some(after) = after {
        range.start = group_key(after);
        range.start.push(0);
    }
    let mut groups = Vec::new();
    for row in read.scan(table::LOCKS, range, Order::Ascending) {
        if groups.len() >= limit {
            break;
        }
        let row: Group = decode_record(kind::LOCK, &row?.1)?;
        if is_shown(&row) {
            let holders = holders(read, &row.name)?;
            groups.push(LockGroup { group: row.name, slots: row.slots, frozen: row.frozen, holders });
        }
    }
    Ok(groups)
}

/// The slot of `group` that `id` holds, if it holds one.
pub fn lock_holder(read: &dyn Read, group: &str, id: &str) -> Result<Option<LockHolder>, Halt> {
    let row = read.get(table::LOCKS, &holder_key(group, id))?;
    row.map(|row| decode_record(kind::LOCK, &row)).transpose()
}

/// All holders of a group, oldest grant first.
pub(super) fn holders(read: &dyn Read, group: &str) -> Result<Vec<LockHolder>, Halt> {
    let mut holders = Vec::new();
    for row in read.scan(table::LOCKS, KeyRange::prefix(holder_key(group, "")), Order::Ascending) {
        let holder: LockHolder = decode_record(kind::LOCK, &row?.1)?;
        holders.push(holder);
    }
    holders.sort_by_key(|holder| holder.grant);
    Ok(holders)
}

pub(super) fn group(read: &dyn Read, name: &str) -> Result<Option<Group>, Halt> {
    let row = read.get(table::LOCKS, &group_key(name))?;
    row.map(|row| decode_record(kind::LOCK, &row)).transpose()
}

/// A group that nobody listed and nobody holds, which may make room for another.
pub(super) fn idle_group(read: &dyn Read) -> Result<Option<Group>, Halt> {
    for row in read.scan(table::LOCKS, KeyRange::prefix([GROUP]), Order::Ascending) {
        let row: Group = decode_record(kind::LOCK, &row?.1)?;
        if !row.listed && row.held == 0 {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

/// Takes a group out of the bounds of those that nobody listed.
pub(super) fn list(state: &mut dyn Write, group: &mut Group) -> Result<(), Halt> {
    if group.listed {
        return Ok(());
    }
    let mut bytes =
        state.get(table::LOCKS, &group_key(&group.name))?.map_or(0, |row| group_key(&group.name).len() + row.len());
    for row in state.scan(table::LOCKS, KeyRange::prefix(holder_key(&group.name, "")), Order::Ascending) {
        let (key, value) = row?;
        bytes += key.len() + value.len();
    }
    meta::count(state, meta::LOCK_UNLISTED_BYTES, 0_i64.saturating_sub_unsigned(bytes as u64))?;
    meta::count(state, meta::LOCK_UNLISTED_GROUPS, -1)?;
    group.listed = true;
    Ok(())
}

pub(super) fn set_group(state: &mut dyn Write, group: &Group) -> Result<(), Halt> {
    let row = encode_record(kind::LOCK, group)?;
    set(state, group, group_key(&group.name), Some(row))
}

pub(super) fn remove_group(state: &mut dyn Write, group: &Group) -> Result<(), Halt> {
    set(state, group, group_key(&group.name), None)
}

pub(super) fn set_holder(state: &mut dyn Write, group: &Group, holder: &LockHolder) -> Result<(), Halt> {
    let row = encode_record(kind::LOCK, holder)?;
    set(state, group, holder_key(&group.name, &holder.id), Some(row))
}

pub(super) fn remove_holder(state: &mut dyn Write, group: &Group, id: &str) -> Result<(), Halt> {
    set(state, group, holder_key(&group.name, id), None)
}

/// Writes or deletes a row of `group`, and counts it where it belongs.
fn set(state: &mut dyn Write, group: &Group, key: Vec<u8>, row: Option<Vec<u8>>) -> Result<(), Halt> {
    let before = quota::used(&*state)?;
    quota::set(state, table::LOCKS, key, row)?;
    if group.listed {
        return Ok(());
    }
    let change = quota::used(&*state)?.cast_signed().saturating_sub(before.cast_signed());
    meta::count(state, meta::LOCK_UNLISTED_BYTES, change)
}

fn is_shown(group: &Group) -> bool {
    group.slots.is_some() || group.held > 0
}

fn group_key(group: &str) -> Vec<u8> {
    [&[GROUP], escape(group.as_bytes()).as_slice()].concat()
}

fn holder_key(group: &str, id: &str) -> Vec<u8> {
    [&[HOLDER], escape(group.as_bytes()).as_slice(), id.as_bytes()].concat()
}
