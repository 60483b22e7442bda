use serde::{Deserialize, Serialize};

use crate::{
    Origin,
    auth::{AuthCommand, Login},
    cluster::ClusterCommand,
    kv::{Compact, DeleteRange, Put, Txn},
    lease::{LeaseExpire, LeaseGrant, LeaseRevoke},
    system::SystemCommand,
};

/// The newest feature level that this release can take part in. A new variant of any command raises it.
pub const FEATURE_LEVEL: u32 = 1;

/// What a log entry carries: a command, who asked for it, and when, as the proposer's clock said. Everything that
/// apply may not make up by itself (time, ids, random bytes) is in here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    pub origin: Origin,
    /// Unix time in milliseconds.
    pub time_ms: u64,
    pub command: Command,
}

/// Variants are appended, never reordered or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    User(UserCommand),
    System(SystemCommand),
    Cluster(ClusterCommand),
}

/// A change of the user keyspace, or of who may use it: what the etcd API can ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserCommand {
    Put(Put),
    DeleteRange(DeleteRange),
    Txn(Txn),
    Compact(Compact),
    LeaseGrant(LeaseGrant),
    LeaseRevoke(LeaseRevoke),
    LeaseExpire(LeaseExpire),
    Auth(AuthCommand),
    Login(Login),
}

impl Command {
    /// The feature level that a cluster must have reached before this command may be proposed. Whoever appends a
    /// variant gives it a new level here.
    pub fn min_level(&self) -> u32 {
        match self {
            Self::User(_) | Self::System(_) | Self::Cluster(_) => 1,
        }
    }
}
