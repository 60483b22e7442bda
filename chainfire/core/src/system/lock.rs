//! Counting semaphores with named, recursive, owned slots. A slot is held until its holder (or an administrator) gives
//! it back; there is no expiry.

use holdfast_keyspace::Write;

use super::{
    Context, LockAcquire, LockAnswer, LockAsker, LockHolder, LockPolicy, LockRefusal, LockRelease,
    lock_store::{self, Group},
    quota, record,
};
use crate::{
    Failure, Halt, SystemError,
    journal::{Entry, Recorder},
    meta,
};

/// Longest group name and holder id, in bytes.
const MAX_NAME: usize = 253;
/// Longest text of a reason, in bytes.
const MAX_REASON: usize = 1024;
/// More than the rows of one grant can take beside its names.
const GRANT_BYTES: u64 = 256;

/// The part of the system keyspace that groups may fill which nobody listed.
const UNLISTED_SHARE: u64 = 16;

type Answer = Result<LockAnswer, Failure<SystemError>>;

/// Takes a slot. Refusals leave no record of their own: whoever asks in a loop must not write history, so services
/// sum them up.
pub(super) fn acquire(
    state: &mut dyn Write,
    context: &Context,
    acquire: &LockAcquire,
    recorder: &mut Recorder<'_>,
) -> Answer {
    check_name(&acquire.group)?;
    check_name(&acquire.id)?;
    check_owner(&acquire.asker)?;
    let stands = lock_store::lock_group(&*state, &acquire.group)?.unwrap_or_default();
    if let Some(answer) = stands.answer(acquire) {
        return Ok(answer);
    }
    quota::check_room(&*state, &context.limits, grant_bytes(acquire))?;
    let known = lock_store::group(&*state, &acquire.group)?;
    let is_new = known.is_none();
    let mut group =
        known.unwrap_or_else(|| Group { name: acquire.group.clone(), listed: acquire.listed, ..Group::default() });
    if acquire.listed {
        lock_store::list(state, &mut group)?;
    } else if let Some(refusal) = no_room(state, context, acquire, &group, is_new)? {
        return Ok(LockAnswer::Refused(refusal));
    }
    let grant = meta::counter(&*state, meta::LOCK_GRANTS)?.unwrap_or(0).saturating_add(1);
    meta::set_counter(state, meta::LOCK_GRANTS, grant);
    let owner = acquire.asker.owner().map(str::to_owned);
    let holder = LockHolder { id: acquire.id.clone(), owner, granted_at_ms: context.time_ms, grant };
    group.held = group.held.saturating_add(1);
    lock_store::set_group(state, &group)?;
    lock_store::set_holder(state, &group, &holder)?;
    let revision = record::advance(state)?;
    let entry = entry("lock.Acquire", &acquire.group, Some(&acquire.id));
    recorder.record(state, Entry { revision: Some(revision), ..entry })?;
    Ok(LockAnswer::Granted { holder, new: true })
}

/// Gives a slot back, if `id` holds one; if not, that is fine, and nothing happens.
pub(super) fn release(state: &mut dyn Write, release: &LockRelease, recorder: &mut Recorder<'_>) -> Answer {
    check_name(&release.group)?;
    check_name(&release.id)?;
    let Some(holder) = lock_store::lock_holder(&*state, &release.group, &release.id)? else {
        return Ok(LockAnswer::Released { held: false });
    };
    if !release.asker.may_use(&holder) {
        return Ok(LockAnswer::Refused(LockRefusal::Foreign { holder }));
    }
    let group = lock_store::group(&*state, &release.group)?;
    let mut group = group.ok_or_else(|| Halt::damaged("a lock's holder is in no group"))?;
    group.held = group.held.saturating_sub(1);
    lock_store::remove_holder(state, &group, &release.id)?;
    lock_store::set_group(state, &group)?;
    let revision = record::advance(state)?;
    let entry = entry("lock.Release", &release.group, Some(&release.id));
    recorder.record(state, Entry { revision: Some(revision), reason: release.reason.clone(), ..entry })?;
    Ok(LockAnswer::Released { held: true })
}

/// Stores a group's policy. Fewer slots than holders take nothing away: the next grant waits until there is room.
pub(super) fn set_policy(
    state: &mut dyn Write,
    context: &Context,
    policy: &LockPolicy,
    recorder: &mut Recorder<'_>,
) -> Answer {
    check_name(&policy.group)?;
    let frozen = policy.frozen.as_ref().map_or(0, String::len);
    if frozen > MAX_REASON || policy.reason.len() > MAX_REASON {
        return Err(SystemError::InvalidName.into());
    }
    quota::check_room(&*state, &context.limits, (policy.group.len() + frozen) as u64 + GRANT_BYTES)?;
    let known = lock_store::group(&*state, &policy.group)?;
    let mut group = known.unwrap_or_else(|| Group { name: policy.group.clone(), listed: true, ..Group::default() });
    lock_store::list(state, &mut group)?;
    group.slots = Some(policy.slots);
    group.frozen.clone_from(&policy.frozen);
    lock_store::set_group(state, &group)?;
    let revision = record::advance(state)?;
    let entry = entry("lock.Policy", &policy.group, None);
    let reason = Some(policy.reason.clone());
    recorder.record(state, Entry { revision: Some(revision), reason, ..entry })?;
    Ok(LockAnswer::PolicySet { revision })
}

/// Why a group that nobody listed gets no further slot, if it does not; a new one is counted.
fn no_room(
    state: &mut dyn Write,
    context: &Context,
    acquire: &LockAcquire,
    group: &Group,
    is_new: bool,
) -> Result<Option<LockRefusal>, Halt> {
    if group.listed {
        return Ok(None);
    }
    let bytes = context.limits.system_bytes / UNLISTED_SHARE;
    let used = meta::counter(&*state, meta::LOCK_UNLISTED_BYTES)?.unwrap_or(0);
    if used.saturating_add(grant_bytes(acquire)) > bytes {
        return Ok(Some(LockRefusal::UnlistedFull { bytes }));
    }
    let limit = context.limits.lock_groups;
    if is_new && !make_room(state, limit)? {
        return Ok(Some(LockRefusal::TooManyGroups { limit }));
    }
    Ok(None)
}

/// Counts one more group that nobody listed; at the limit, one that nobody uses goes for it.
fn make_room(state: &mut dyn Write, limit: u32) -> Result<bool, Halt> {
    let groups = meta::counter(&*state, meta::LOCK_UNLISTED_GROUPS)?.unwrap_or(0);
    if groups >= u64::from(limit) {
        let Some(idle) = lock_store::idle_group(&*state)? else { return Ok(false) };
        lock_store::remove_group(state, &idle)?;
        meta::count(state, meta::LOCK_UNLISTED_GROUPS, -1)?;
    }
    meta::count(state, meta::LOCK_UNLISTED_GROUPS, 1)?;
    Ok(true)
}

/// Names are the protocol's; what would break logs, listings and limits is refused whoever proposed it.
fn check_name(name: &str) -> Result<(), SystemError> {
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(SystemError::InvalidName);
    }
    Ok(())
}

fn check_owner(asker: &LockAsker) -> Result<(), SystemError> {
    asker.owner().map_or(Ok(()), check_name)
}

/// More than the rows of one grant take.
fn grant_bytes(acquire: &LockAcquire) -> u64 {
    let owner = acquire.asker.owner().map_or(0, str::len);
    (2 * (2 * acquire.group.len() + acquire.id.len()) + owner) as u64 + GRANT_BYTES
}

fn entry(action: &str, group: &str, id: Option<&str>) -> Entry {
    let resource = id.map_or_else(|| format!("lock/{group}"), |id| format!("lock/{group}/{id}"));
    Entry { action: action.into(), resource, ..Entry::default() }
}
