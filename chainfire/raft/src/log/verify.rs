use super::{
    disk::{Disk, damaged, meta, visit_entries},
    key,
};
use crate::{
    GroupId,
    format::decode_log_id,
    types::{Entry, LogId},
};

/// What the check of a group's log has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checked {
    pub(super) purged: Option<LogId>,
    pub(super) last: Option<LogId>,
}

/// Reads a group's whole log: every frame intact, no index missing behind the purged ones, terms never going back.
pub(super) fn verify(disk: &dyn Disk, group: GroupId) -> std::io::Result<Checked> {
    let purged = meta(disk, group, key::Meta::Purged)?.map(|bytes| decode_log_id(&bytes)).transpose();
    let purged = purged.map_err(|error| damaged(format!("the start of group {group}'s log: {error}")))?;
    let mut last = purged;
    let mut problem = None;
    visit_entries(disk, group, 0, |entry, _| {
        problem = misplaced(group, last, &entry);
        last = Some(entry.log_id);
        problem.is_none()
    })?;
    match problem {
        Some(problem) => Err(damaged(problem)),
        None => Ok(Checked { purged, last }),
    }
}

fn misplaced(group: GroupId, before: Option<LogId>, entry: &Entry) -> Option<String> {
    let id = entry.log_id;
    let expected = before.map_or(0, |before| before.index.saturating_add(1));
    if id.index != expected {
        return Some(format!("group {group}: the log goes on at entry {} instead of {expected}", id.index));
    }
    let backwards = before.is_some_and(|before| before.leader_id > id.leader_id);
    backwards.then(|| format!("group {group}: entry {} has an older term than the one before it", id.index))
}
