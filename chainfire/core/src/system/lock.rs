//! Counting semaphores with named, recursive, owned slots. A slot is held until its holder (or an administrator) gives
//! it back; there is no expiry.

use holdfast_keyspace::Write;

use super::{
    Context, LockAcquire, LockAnswer, LockHolder, LockPolicy, LockRefusal, LockRelease, SHOWN_HOLDERS,
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

type Answer = Result<LockAnswer, Failure<SystemError>>;

/// Takes a slot. Who holds one already is always told yes: it may be past the point of no return.
pub(super) fn acquire(
    state: &mut dyn Write,
    context: &Context,
    acquire: &LockAcquire,
    recorder: &mut Recorder<'_>,
) -> Answer {
    check_name(&acquire.group)?;
    check_name(&acquire.id)?;
    if let Some(holder) = lock_store::lock_holder(&*state, &acquire.group, &acquire.id)? {
        let holder = LockHolder { last_seen_ms: context.time_ms.max(holder.last_seen_ms), ..holder };
        lock_store::set_holder(state, &acquire.group, &holder)?;
        return Ok(LockAnswer::Granted { holder, new: false });
    }
    let entry = entry("lock.Acquire", &acquire.group, Some(&acquire.id));
    let known = lock_store::group(&*state, &acquire.group)?;
    let is_new = known.is_none();
    let mut group = known.unwrap_or_else(|| Group { name: acquire.group.clone(), ..Group::default() });
    if let Some(refusal) = refusal(state, &group, acquire)? {
        let refused = Some(refusal_word(&refusal).into());
        recorder.record(state, Entry { refused, ..entry })?;
        return Ok(LockAnswer::Refused(refusal));
    }
    quota::check_room(&*state, &context.limits, names_bytes(acquire) + GRANT_BYTES)?;
    if is_new && !make_room(state, context.limits.lock_groups)? {
        let refused = Some("too many groups".into());
        recorder.record(state, Entry { refused, ..entry })?;
        return Ok(LockAnswer::Refused(LockRefusal::TooManyGroups { limit: context.limits.lock_groups }));
    }
    let grant = meta::counter(&*state, meta::LOCK_GRANTS)?.unwrap_or(0).saturating_add(1);
    meta::set_counter(state, meta::LOCK_GRANTS, grant);
    let holder =
        LockHolder { id: acquire.id.clone(), granted_at_ms: context.time_ms, last_seen_ms: context.time_ms, grant };
    group.held = group.held.saturating_add(1);
    lock_store::set_group(state, &group)?;
    lock_store::set_holder(state, &acquire.group, &holder)?;
    let revision = record::advance(state)?;
    recorder.record(state, Entry { revision: Some(revision), ..entry })?;
    Ok(LockAnswer::Granted { holder, new: true })
}

/// Gives a slot back, if `id` holds one; if not, that is fine, and nothing happens.
pub(super) fn release(state: &mut dyn Write, release: &LockRelease, recorder: &mut Recorder<'_>) -> Answer {
    check_name(&release.group)?;
    check_name(&release.id)?;
    if lock_store::lock_holder(&*state, &release.group, &release.id)?.is_none() {
        return Ok(LockAnswer::Released { held: false });
    }
    let group = lock_store::group(&*state, &release.group)?;
    let mut group = group.ok_or_else(|| Halt::damaged("a lock's holder is in no group"))?;
    group.held = group.held.saturating_sub(1);
    lock_store::remove_holder(state, &release.group, &release.id)?;
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
    if known.as_ref().is_some_and(|group| group.slots.is_none()) {
        count_auto_groups(state, -1)?;
    }
    let held = known.map_or(0, |group| group.held);
    let group = Group { name: policy.group.clone(), slots: Some(policy.slots), frozen: policy.frozen.clone(), held };
    lock_store::set_group(state, &group)?;
    let revision = record::advance(state)?;
    let entry = entry("lock.Policy", &policy.group, None);
    let reason = Some(policy.reason.clone());
    recorder.record(state, Entry { revision: Some(revision), reason, ..entry })?;
    Ok(LockAnswer::PolicySet { revision })
}

/// Why a new grant is refused, if it is.
fn refusal(state: &dyn Write, group: &Group, acquire: &LockAcquire) -> Result<Option<LockRefusal>, Halt> {
    if let Some(reason) = &group.frozen {
        return Ok(Some(LockRefusal::Frozen { reason: reason.clone() }));
    }
    let slots = group.slots.unwrap_or(acquire.default_slots);
    if group.held < slots {
        return Ok(None);
    }
    let mut holders = lock_store::holders(state, &acquire.group)?;
    holders.truncate(SHOWN_HOLDERS);
    Ok(Some(LockRefusal::SemaphoreFull { slots, holders }))
}

/// Counts one more group without policy; at the limit, one that nobody uses goes for it.
fn make_room(state: &mut dyn Write, limit: u32) -> Result<bool, Halt> {
    let groups = meta::counter(&*state, meta::LOCK_AUTO_GROUPS)?.unwrap_or(0);
    if groups >= u64::from(limit) {
        let Some(idle) = lock_store::idle_group(&*state)? else { return Ok(false) };
        lock_store::remove_group(state, &idle.name)?;
        count_auto_groups(state, -1)?;
    }
    count_auto_groups(state, 1)?;
    Ok(true)
}

fn count_auto_groups(state: &mut dyn Write, by: i64) -> Result<(), Halt> {
    let groups = meta::counter(&*state, meta::LOCK_AUTO_GROUPS)?.unwrap_or(0);
    meta::set_counter(state, meta::LOCK_AUTO_GROUPS, groups.saturating_add_signed(by));
    Ok(())
}

/// Names are the protocol's; what would break logs, listings and limits is refused whoever proposed it.
fn check_name(name: &str) -> Result<(), SystemError> {
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(SystemError::InvalidName);
    }
    Ok(())
}

fn names_bytes(acquire: &LockAcquire) -> u64 {
    2 * (2 * acquire.group.len() + acquire.id.len()) as u64
}

fn entry(action: &str, group: &str, id: Option<&str>) -> Entry {
    let resource = id.map_or_else(|| format!("lock/{group}"), |id| format!("lock/{group}/{id}"));
    Entry { action: action.into(), resource, ..Entry::default() }
}

fn refusal_word(refusal: &LockRefusal) -> &'static str {
    match refusal {
        LockRefusal::SemaphoreFull { .. } => "all slots are taken",
        LockRefusal::Frozen { .. } => "frozen",
        LockRefusal::TooManyGroups { .. } => "too many groups",
    }
}
