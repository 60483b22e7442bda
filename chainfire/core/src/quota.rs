//! What the user keyspace takes, and what a command may add to it. The rules are etcd's; the size is our own: the bytes
//! of all rows that are stored, old versions included until a compaction has removed them, whatever the disk makes of
//! them. So it is equal on all members, and a compaction gives space back without anything to be done by hand.

use holdfast_keyspace::Read;

use crate::{
    Halt, UserCommand,
    kv::{Put, Txn, TxnOp},
    meta,
};

/// What a put takes beside its key and value.
const PUT: u64 = 256;

/// What a lease takes.
pub(crate) const LEASE: u64 = 64;

/// Bytes of the user keyspace: keys and values of its rows and of their index, and 64 for each lease.
pub fn size(read: &dyn Read) -> Result<u64, Halt> {
    Ok(meta::counter(read, meta::USER_BYTES)?.unwrap_or(0))
}

/// Bytes that `command` may add, by etcd's estimate; 0 for what is accepted however little space is left.
pub fn cost(command: &UserCommand) -> u64 {
    match command {
        UserCommand::Put(put) => put_cost(put),
        UserCommand::Txn(txn) => txn_cost(txn),
        UserCommand::LeaseGrant(_) => LEASE,
        UserCommand::DeleteRange(_)
        | UserCommand::Compact(_)
        | UserCommand::LeaseRevoke(_)
        | UserCommand::LeaseExpire(_)
        | UserCommand::Auth(_)
        | UserCommand::Login(_) => 0,
    }
}

fn put_cost(put: &Put) -> u64 {
    PUT.saturating_add((put.key.len() + put.value.len()) as u64)
}

/// Of the dearer branch: which one runs is not known before.
fn txn_cost(txn: &Txn) -> u64 {
    let branch = |ops: &[TxnOp]| ops.iter().map(op_cost).fold(0, u64::saturating_add);
    branch(&txn.success).max(branch(&txn.failure))
}

fn op_cost(op: &TxnOp) -> u64 {
    match op {
        TxnOp::Put(put) => put_cost(put),
        TxnOp::Txn(inner) => txn_cost(inner),
        TxnOp::Range(_) | TxnOp::DeleteRange(_) => 0,
    }
}
