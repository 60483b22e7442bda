//! Transactions run in three passes: choose the branches by the state before, check that nothing on the chosen path
//! can be refused, then write. So a transaction has its whole effect or none. What cannot be known before is how much
//! its ranges will read: for that there is a budget, and one transaction's writes can be dropped as a whole.

use holdfast_keyspace::Read;

use super::{
    Budget, DeleteAnswer, DeleteRange, OpAnswer, Put, PutAnswer, Revision, Txn, TxnAnswer, TxnOp, Writer, compare,
    current_revision,
    range::{check_readable, range_within},
    writer::check_put_in_txn,
};
use crate::{Failure, Halt};

/// The branches that a transaction and the transactions nested in its branch take.
pub(crate) struct Path<'a> {
    succeeded: bool,
    steps: Vec<Step<'a>>,
}

enum Step<'a> {
    Plain(&'a TxnOp),
    Nested(Path<'a>),
}

/// Evaluates all compares, nested ones included, against the state before the transaction.
pub(crate) fn choose<'a>(read: &dyn Read, txn: &'a Txn, budget: &mut Budget<'_>) -> Result<Path<'a>, Failure> {
    let succeeded = compare::all_hold(read, &txn.compare, budget)?;
    let ops = if succeeded { &txn.success } else { &txn.failure };
    let mut steps = Vec::with_capacity(ops.len());
    for op in ops {
        steps.push(match op {
            TxnOp::Txn(inner) => Step::Nested(choose(read, inner, budget)?),
            plain => Step::Plain(plain),
        });
    }
    Ok(Path { succeeded, steps })
}

/// Whether every operation of the path can be carried out.
pub(crate) fn check_path(read: &dyn Read, path: &Path<'_>) -> Result<(), Failure> {
    check_steps(read, path, current_revision(read)?)
}

fn check_steps(read: &dyn Read, path: &Path<'_>, current: Revision) -> Result<(), Failure> {
    for step in &path.steps {
        match step {
            Step::Plain(TxnOp::Put(put)) => check_put_in_txn(read, put)?,
            Step::Plain(TxnOp::Range(range)) => check_readable(read, range.at, current)?,
            Step::Plain(TxnOp::DeleteRange(_) | TxnOp::Txn(_)) => {}
            Step::Nested(inner) => check_steps(read, inner, current)?,
        }
    }
    Ok(())
}

impl<'a> Path<'a> {
    /// The operations of the path, nested ones in place.
    pub(crate) fn ops(&self) -> Vec<&'a TxnOp> {
        let mut ops = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            match step {
                Step::Plain(op) => ops.push(*op),
                Step::Nested(inner) => ops.extend(inner.ops()),
            }
        }
        ops
    }
}

/// Carries out a checked path. Only its budget can end it early; the caller then drops what was written.
pub(crate) fn run(writer: &mut Writer<'_>, path: &Path<'_>, budget: &mut Budget<'_>) -> Result<TxnAnswer, Failure> {
    let mut responses = Vec::with_capacity(path.steps.len());
    for step in &path.steps {
        responses.push(match step {
            Step::Nested(inner) => OpAnswer::Txn(run(writer, inner, budget)?),
            Step::Plain(TxnOp::Range(range)) => {
                OpAnswer::Range(range_within(writer.read(), range, writer.revision(), budget)?)
            }
            Step::Plain(TxnOp::Put(op)) => OpAnswer::Put(put(writer, op)?),
            Step::Plain(TxnOp::DeleteRange(op)) => OpAnswer::DeleteRange(delete_range(writer, op)?),
            Step::Plain(TxnOp::Txn(_)) => {
                return Err(Halt::damaged("a nested transaction without a chosen branch").into());
            }
        });
    }
    Ok(TxnAnswer { revision: writer.revision(), succeeded: path.succeeded, responses })
}

pub(crate) fn put(writer: &mut Writer<'_>, put: &Put) -> Result<PutAnswer, Halt> {
    let prev = writer.put(put)?;
    Ok(PutAnswer { revision: writer.revision(), prev_kv: prev.filter(|_| put.prev_kv) })
}

pub(crate) fn delete_range(writer: &mut Writer<'_>, delete: &DeleteRange) -> Result<DeleteAnswer, Halt> {
    let gone = writer.delete_range(delete)?;
    Ok(DeleteAnswer {
        revision: writer.revision(),
        deleted: gone.len() as u64,
        prev_kvs: if delete.prev_kv { gone } else { Vec::new() },
    })
}
