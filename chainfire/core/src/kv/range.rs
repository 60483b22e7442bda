use std::cmp::Ordering;

use holdfast_keyspace::Read;

use super::{
    Budget, Filters, Keys, OpAnswer, Payer, Range, RangeAnswer, Revision, SortOrder, SortTarget, Txn, TxnAnswer, TxnOp,
    check_keys, compacted_revision, compare, current_revision,
    index::{Live, Version},
    live::{self, LiveKeys},
};
use crate::{Failure, Halt, UserError};

/// Reads one revision of the user keyspace, from any consistent view of the state, as long as `payer` agrees.
pub fn range(read: &dyn Read, request: &Range, payer: Payer<'_>) -> Result<RangeAnswer, Failure> {
    check_keys(&request.keys)?;
    let current = current_revision(read)?;
    check_readable(read, request.at, current)?;
    range_within(read, request, current, &mut Budget::of_answer(payer))
}

/// Runs a transaction that only reads, without the log. Whether it does is [`super::is_read_only`].
pub fn read_txn(read: &dyn Read, txn: &Txn, payer: Payer<'_>) -> Result<TxnAnswer, Failure> {
    read_txn_within(read, txn, &mut Budget::of_answer(payer))
}

fn read_txn_within(read: &dyn Read, txn: &Txn, budget: &mut Budget<'_>) -> Result<TxnAnswer, Failure> {
    let revision = current_revision(read)?;
    let succeeded = compare::all_hold(read, &txn.compare, budget)?;
    let ops = if succeeded { &txn.success } else { &txn.failure };
    let mut responses = Vec::with_capacity(ops.len());
    for op in ops {
        match op {
            TxnOp::Range(request) => {
                check_keys(&request.keys)?;
                check_readable(read, request.at, revision)?;
                responses.push(OpAnswer::Range(range_within(read, request, revision, budget)?));
            }
            TxnOp::Txn(inner) => responses.push(OpAnswer::Txn(read_txn_within(read, inner, budget)?)),
            TxnOp::Put(_) | TxnOp::DeleteRange(_) => {
                return Err(Halt::damaged("a transaction that writes came by the path for reads").into());
            }
        }
    }
    Ok(TxnAnswer { revision, succeeded, responses })
}

/// Rows that are read together at most; the budget is asked between them.
const ROWS_AT_ONCE: usize = 128;

/// The first of them, before it is known how long they are.
const ROWS_AT_FIRST: usize = 8;

/// Bytes that rows have that are read together, as far as those before them can tell.
const BYTES_AT_ONCE: usize = 1 << 20;

/// What the compacted revision is compared as before the first compaction.
const NEVER: Revision = Revision(-1);

/// Whether the state still has, and already has, revision `at`.
pub(super) fn check_readable(read: &dyn Read, at: Option<Revision>, current: Revision) -> Result<(), Failure> {
    let Some(at) = at else { return Ok(()) };
    if at > current {
        return Err(UserError::FutureRevision.into());
    }
    if at < compacted_revision(read)?.unwrap_or(NEVER) {
        return Err(UserError::Compacted.into());
    }
    Ok(())
}

/// The read itself; `current` is the newest revision that `read` has, one that is being written included.
pub(super) fn range_within(
    read: &dyn Read,
    request: &Range,
    current: Revision,
    budget: &mut Budget<'_>,
) -> Result<RangeAnswer, Failure> {
    let at = request.at.filter(|at| at.0 >= 0).unwrap_or(current);
    let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
    // etcd's rule: without order and filters the limit is applied while reading, in key order, even if a sort by
    // something else follows; otherwise everything is read first. One pair beyond the limit tells that there is more.
    let early = limit > 0 && request.sort_order == SortOrder::None && request.filters.is_empty();
    let keep = match (request.count_only, early) {
        (true, _) => 0,
        (false, true) => limit.saturating_add(1),
        (false, false) => usize::MAX,
    };
    let (mut versions, count) = select(read, &request.keys, at, keep, budget)?;
    versions.retain(|(version, live)| passes(&request.filters, version, live));

    let order = match (request.sort_order, request.sort_target) {
        (SortOrder::None, SortTarget::Key) => SortOrder::None,
        (SortOrder::None, _) => SortOrder::Ascend,
        (order, _) => order,
    };
    let by_value = request.sort_target == SortTarget::Value && order != SortOrder::None;
    if !by_value {
        sort(&mut versions, order, |a, b| by_target(request.sort_target, a, b));
    }
    let mut more = false;
    if limit > 0 && !by_value {
        more = versions.len() > limit;
        versions.truncate(limit);
    }
    // Only a sort by value has to look at what it will not return.
    let mut kvs = Vec::with_capacity(versions.len());
    let (mut rest, mut at_once) = (versions.as_slice(), ROWS_AT_FIRST);
    while !rest.is_empty() {
        let first = kvs.len();
        let (some, others) = rest.split_at(at_once.min(rest.len()));
        if request.keys_only && !by_value {
            kvs.extend(some.iter().map(|(version, live)| version.clone().without_value(*live)));
        } else {
            let rows: Vec<_> = some.iter().map(|(version, _)| version.row).collect();
            kvs.append(&mut live::load_all(read, &rows)?);
        }
        let bytes: usize = kvs.iter().skip(first).map(|kv| kv.key.len() + kv.value.len()).sum();
        budget.pay(bytes)?;
        at_once = (some.len() * BYTES_AT_ONCE / bytes.max(1)).clamp(1, ROWS_AT_ONCE);
        rest = others;
    }
    if by_value {
        sort(&mut kvs, order, |a, b| a.value.cmp(&b.value));
        more = limit > 0 && kvs.len() > limit;
        kvs.truncate(if limit > 0 { limit } else { usize::MAX });
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value.clear());
        }
    }
    Ok(RangeAnswer { revision: current, kvs, more, count })
}

type Found = (Version, Live);

/// The first `keep` live keys, and the number of all.
fn select(
    read: &dyn Read,
    keys: &Keys,
    at: Revision,
    keep: usize,
    budget: &mut Budget<'_>,
) -> Result<(Vec<Found>, u64), Failure> {
    if let Keys::One(key) = keys {
        let found = live::live(read, key, at)?.and_then(|version| version.live.map(|live| (version, live)));
        let count = u64::from(found.is_some());
        return Ok((found.into_iter().take(keep).collect(), count));
    }
    let mut keys = LiveKeys::new(read, keys, at);
    let mut found = Vec::new();
    while found.len() < keep
        && let Some(version) = keys.next()
    {
        let version = version?;
        budget.found(&version)?;
        found.extend(version.live.map(|live| (version, live)));
        budget.walked(&mut keys)?;
    }
    let count = found.len() as u64 + keys.count_left()?;
    budget.walked(&mut keys)?;
    Ok((found, count))
}

fn passes(filters: &Filters, version: &Version, live: &Live) -> bool {
    let inside = |revision: Revision, min: Option<Revision>, max: Option<Revision>| {
        min.is_none_or(|min| revision >= min) && max.is_none_or(|max| revision <= max)
    };
    inside(version.row.main, filters.min_mod, filters.max_mod)
        && inside(live.created, filters.min_create, filters.max_create)
}

fn by_target(target: SortTarget, (a, a_live): &Found, (b, b_live): &Found) -> Ordering {
    match target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a_live.version.cmp(&b_live.version),
        SortTarget::Create => a_live.created.cmp(&b_live.created),
        SortTarget::Mod => a.row.main.cmp(&b.row.main),
        SortTarget::Value => Ordering::Equal,
    }
}

/// Sorts by `compare`; equal elements stay in key order, whichever the direction.
fn sort<T>(items: &mut [T], order: SortOrder, compare: impl Fn(&T, &T) -> Ordering) {
    match order {
        SortOrder::None => {}
        SortOrder::Ascend => items.sort_by(compare),
        SortOrder::Descend => items.sort_by(|a, b| compare(b, a)),
    }
}
