use serde::{Deserialize, Serialize};

use crate::{
    cluster::ClusterAnswer,
    error::{ClusterError, SystemError, UserError},
    kv::{DeleteAnswer, PutAnswer, Revision, TxnAnswer},
    lease::LeaseId,
    system::SystemAnswer,
};

/// The outcome of a command, the same on every server. Variants are appended, never reordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    User(Result<UserAnswer, UserRefusal>),
    System(Result<SystemAnswer, SystemError>),
    Cluster(Result<ClusterAnswer, ClusterError>),
    /// The cluster has no genesis record yet: nothing else is accepted.
    BeforeGenesis,
    /// The cluster's feature level does not allow this command yet.
    LevelTooLow {
        needed: u32,
        level: u32,
    },
}

/// Every answer carries the store's revision after the command, for response headers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserAnswer {
    Put(PutAnswer),
    DeleteRange(DeleteAnswer),
    Txn(TxnAnswer),
    Compact {
        revision: Revision,
    },
    LeaseGrant {
        revision: Revision,
        id: LeaseId,
        ttl: i64,
    },
    LeaseRevoke {
        revision: Revision,
    },
    /// How many of the leases existed and are gone now.
    LeaseExpire {
        revision: Revision,
        expired: u64,
    },
    Auth {
        revision: Revision,
    },
    /// The token's number is the index of its log entry.
    Login {
        revision: Revision,
        index: u64,
    },
}

/// A refused user command; it changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{error}")]
pub struct UserRefusal {
    pub error: UserError,
    pub revision: Revision,
}
