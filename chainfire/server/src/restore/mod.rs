//! Fills the data folder of a new cluster's first member, offline, from a backup or from an etcd's data.
//!
//! The cluster that starts with it is a new one: its id, its members' disks and its lineage are drawn when it forms,
//! the user keyspace goes on at a revision that no client can have seen, and everything before it is compacted. See
//! [`chainfire_raft::Restore`] for how all members come to have the same.

mod backup;
mod error;
mod etcd;
mod etcd_file;

use std::path::Path;

use chainfire_raft::GroupConfig;
use holdfast_keyspace::Table;

pub use backup::from_backup;
pub use error::RestoreError;
pub use etcd::from_etcd;
pub(crate) use etcd::number;

/// By how much the revision grows unless somebody knows better: a thousand writes a second for eleven days.
pub const BUMP: u64 = 1_000_000_000;

/// Where a restore goes to.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Empty, or not there.
    pub data_dir: &'a Path,
    /// The user revision grows by this much.
    pub bump: u64,
}

/// A group beside chainfire's that a backup may have, with the tables of its machine.
pub type OtherGroup = (GroupConfig, &'static [Table]);

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The last user revision that is in it.
    pub revision: i64,
    /// Where the user keyspace goes on.
    pub bumped: i64,
    /// Names of the groups.
    pub groups: Vec<String>,
    /// What an operator should know before starting.
    pub notes: Vec<String>,
}
