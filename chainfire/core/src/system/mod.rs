//! The system keyspace: what IAM and configsrv keep. Nothing of it is reachable through the etcd API.

mod command;

pub use command::{
    Expect, Guard, LockAcquire, LockAnswer, LockHolder, LockPolicy, LockRefusal, LockRelease, SystemAnswer,
    SystemCommand, SystemOp, SystemTxn, TxnAnswer,
};
