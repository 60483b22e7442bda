//! The system keyspace: what IAM and configsrv keep. Nothing of it is reachable through the etcd API.
//!
//! Records carry the system revision of their last change; there are no older versions of them. Locks are typed rows
//! of their own. All of it counts against a reserved quota, so that user data cannot starve it nor it the disk.

mod command;
mod lock;
mod lock_store;
mod quota;
mod record;
mod txn;

pub use command::{
    Expect, Guard, LockAcquire, LockAnswer, LockAsker, LockGroup, LockHolder, LockPolicy, LockRefusal, LockRelease,
    SHOWN_HOLDERS, SystemAnswer, SystemCommand, SystemOp, SystemTxn, TxnAnswer,
};
pub use lock_store::{lock_group, lock_groups, lock_holder};
pub use record::{Page, Record, current_revision, get, list};

use holdfast_keyspace::Write;

use crate::{Effect, Failure, SystemError, cluster::Limits, journal::Recorder};

/// What a system command is applied under.
pub(crate) struct Context {
    pub(crate) limits: Limits,
    pub(crate) time_ms: u64,
}

pub(crate) fn apply(
    state: &mut dyn Write,
    context: &Context,
    command: &SystemCommand,
    recorder: &mut Recorder<'_>,
    effects: &mut Vec<Effect>,
) -> Result<SystemAnswer, Failure<SystemError>> {
    if recorder.is_exhausted() {
        return Err(SystemError::JournalFull.into());
    }
    let before = current_revision(&*state)?;
    let answer = match command {
        SystemCommand::Txn(txn) => SystemAnswer::Txn(txn::commit(state, context, txn, recorder)?),
        SystemCommand::LockAcquire(acquire) => SystemAnswer::Lock(lock::acquire(state, context, acquire, recorder)?),
        SystemCommand::LockRelease(release) => SystemAnswer::Lock(lock::release(state, release, recorder)?),
        SystemCommand::LockPolicy(policy) => SystemAnswer::Lock(lock::set_policy(state, context, policy, recorder)?),
    };
    let revision = current_revision(&*state)?;
    if revision != before {
        effects.push(Effect::SystemChanged { revision });
    }
    Ok(answer)
}
