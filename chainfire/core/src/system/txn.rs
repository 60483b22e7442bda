use std::collections::BTreeMap;

use holdfast_keyspace::{Read, Write};

use super::{Context, Expect, Guard, SystemOp, SystemTxn, TxnAnswer, quota, record};
use crate::{
    Failure, Halt, SystemError,
    journal::{Entry, Recorder, sha256},
};

/// What a transaction leaves at one key.
struct Outcome {
    before: Option<Vec<u8>>,
    after: Option<Vec<u8>>,
}

/// Commits a compare-and-set. A transaction without operations changes nothing and is recorded all the same: a note
/// in the audit journal. Refused ones are recorded too.
pub(super) fn commit(
    state: &mut dyn Write,
    context: &Context,
    txn: &SystemTxn,
    recorder: &mut Recorder<'_>,
) -> Result<TxnAnswer, Failure<SystemError>> {
    let entry = Entry { action: txn.action.clone(), resource: txn.resource.clone(), ..Entry::default() };
    for guard in &txn.guards {
        if let Some(found) = violated(&*state, guard)? {
            let refused = Some("another change came first".into());
            recorder.record(state, Entry { refused, ..entry })?;
            return Ok(TxnAnswer::Conflict { key: guard.key.clone(), found });
        }
    }
    let current = record::current_revision(&*state)?;
    let outcomes = outcomes(&*state, &txn.ops)?;
    let revision = current.saturating_add(1);
    let mut grown = 0i128;
    let mut rows = Vec::with_capacity(outcomes.len());
    for (key, outcome) in &outcomes {
        let row = outcome.after.as_deref().map(|value| record::encode(revision, value)).transpose()?;
        let old = outcome.before.as_deref().map(|value| record::encode(revision, value)).transpose()?;
        let size = |row: &Option<Vec<u8>>| row.as_ref().map_or(0, |row| (key.len() + row.len()) as i128);
        grown += size(&row) - size(&old);
        rows.push((*key, row));
    }
    let room = i128::from(context.limits.system_bytes) - i128::from(quota::used(&*state)?);
    if grown > 0 && grown > room {
        recorder.record(state, Entry { refused: Some("the quota is spent".into()), ..entry })?;
        return Ok(TxnAnswer::QuotaExceeded);
    }
    let changes =
        rows.iter().zip(outcomes.values()).any(|((_, row), outcome)| row.is_some() || outcome.before.is_some());
    let revision = if changes { record::advance(state)? } else { current };
    for (key, row) in rows {
        record::set(state, key, row)?;
    }
    let entry = Entry {
        revision: changes.then_some(revision),
        before: digest(outcomes.iter().map(|(key, outcome)| (*key, outcome.before.as_deref()))),
        after: digest(outcomes.iter().map(|(key, outcome)| (*key, outcome.after.as_deref()))),
        ..entry
    };
    recorder.record(state, entry)?;
    Ok(TxnAnswer::Committed { revision })
}

/// What a guard found instead, if it does not hold.
fn violated(read: &dyn Read, guard: &Guard) -> Result<Option<Option<u64>>, Halt> {
    let found = record::get(read, &guard.key)?.map(|record| record.revision);
    let holds = match guard.expect {
        Expect::Absent => found.is_none(),
        Expect::Present => found.is_some(),
        Expect::Revision(revision) => found == Some(revision),
    };
    Ok((!holds).then_some(found))
}

/// The last operation on a key decides.
fn outcomes<'a>(read: &dyn Read, ops: &'a [SystemOp]) -> Result<BTreeMap<&'a [u8], Outcome>, Halt> {
    let mut outcomes = BTreeMap::new();
    for op in ops {
        let (key, value) = match op {
            SystemOp::Put { key, value } => (key.as_slice(), Some(value.clone())),
            SystemOp::Delete { key } => (key.as_slice(), None),
        };
        let before = record::get(read, key)?.map(|record| record.value);
        outcomes.insert(key, Outcome { before, after: value });
    }
    Ok(outcomes)
}

/// The SHA-256 of the one value, or, of several records, of each key and value with its length before it.
fn digest<'a>(values: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Option<[u8; 32]> {
    let present: Vec<(&[u8], Option<&[u8]>)> = values.collect();
    if let [(_, value)] = present.as_slice() {
        return value.map(sha256);
    }
    let mut text = Vec::new();
    for (key, value) in &present {
        let Some(value) = value else { continue };
        for part in [key, value] {
            text.extend_from_slice(&(part.len() as u64).to_be_bytes());
            text.extend_from_slice(part);
        }
    }
    (!text.is_empty()).then(|| sha256(&text))
}
