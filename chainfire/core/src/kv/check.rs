//! What is wrong with a request whatever the state: checked before it is proposed.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Keys, Put, Txn, TxnOp};
use crate::{UserError, lease::LeaseId};

pub fn check_keys(keys: &Keys) -> Result<(), UserError> {
    if keys.start().is_empty() { Err(UserError::KeyNotProvided) } else { Ok(()) }
}

pub fn check_put(put: &Put) -> Result<(), UserError> {
    if put.key.is_empty() {
        return Err(UserError::KeyNotProvided);
    }
    if put.ignore_value && !put.value.is_empty() {
        return Err(UserError::ValueProvided);
    }
    if put.ignore_lease && put.lease != LeaseId::NONE {
        return Err(UserError::LeaseProvided);
    }
    Ok(())
}

/// Compares and operations of a transaction with all that are nested in it, for each that one branch may have. Nested
/// transactions side by side multiply what each of them may have; without this a request of ordinary size could hold
/// so many that to go through them takes a server minutes.
const ALL_TO_ONE: usize = 16;

/// Checks a transaction as a whole: at most `max_ops` compares, and operations in each branch, of which nested
/// transactions get what the outer one leaves; not too many in all; every operation by itself; and no key written twice
/// by one branch.
pub fn check_txn(txn: &Txn, max_ops: usize) -> Result<(), UserError> {
    check_ops(txn, max_ops, &mut max_ops.saturating_mul(ALL_TO_ONE))?;
    writes(&txn.success)?;
    writes(&txn.failure)?;
    Ok(())
}

/// Whether the transaction can be answered without the log: nothing but ranges. A nested transaction counts as a
/// write, as it does in etcd.
pub fn is_read_only(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| matches!(op, TxnOp::Range(_)))
}

fn check_ops(txn: &Txn, budget: usize, all: &mut usize) -> Result<(), UserError> {
    let used = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    let here = txn.compare.len() + txn.success.len() + txn.failure.len();
    *all = all.checked_sub(here).ok_or(UserError::TooManyOps)?;
    let left = budget.checked_sub(used).ok_or(UserError::TooManyOps)?;
    for compare in &txn.compare {
        check_keys(&compare.keys)?;
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            TxnOp::Range(range) => check_keys(&range.keys)?,
            TxnOp::Put(put) => check_put(put)?,
            TxnOp::DeleteRange(delete) => check_keys(&delete.keys)?,
            TxnOp::Txn(inner) => check_ops(inner, left, all)?,
        }
    }
    Ok(())
}

/// What one branch may write.
#[derive(Default)]
struct Writes<'a> {
    puts: BTreeSet<&'a Bytes>,
    deletes: Vec<&'a Keys>,
}

/// Collects a branch's writes and finds a key that is put twice, or put and deleted. Deleting twice is legal. A nested
/// transaction runs only one of its branches, so those may write the same.
fn writes(ops: &[TxnOp]) -> Result<Writes<'_>, UserError> {
    let mut all = Writes::default();
    for op in ops {
        match op {
            TxnOp::Range(_) => {}
            TxnOp::Put(put) => all.add(Writes { puts: BTreeSet::from([&put.key]), deletes: Vec::new() })?,
            TxnOp::DeleteRange(delete) => all.add(Writes { puts: BTreeSet::new(), deletes: vec![&delete.keys] })?,
            TxnOp::Txn(inner) => {
                let mut either = writes(&inner.success)?;
                let other = writes(&inner.failure)?;
                either.puts.extend(other.puts);
                either.deletes.extend(other.deletes);
                all.add(either)?;
            }
        }
    }
    Ok(all)
}

impl<'a> Writes<'a> {
    /// Adds what another operation of the same branch writes.
    fn add(&mut self, other: Writes<'a>) -> Result<(), UserError> {
        let twice = other.puts.iter().any(|key| self.puts.contains(key) || covers(&self.deletes, key))
            || self.puts.iter().any(|key| covers(&other.deletes, key));
        if twice {
            return Err(UserError::DuplicateKey);
        }
        self.puts.extend(other.puts);
        self.deletes.extend(other.deletes);
        Ok(())
    }
}

fn covers(deletes: &[&Keys], key: &Bytes) -> bool {
    deletes.iter().any(|keys| keys.contains(key))
}
