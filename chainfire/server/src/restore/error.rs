use std::{io, path::PathBuf};

use chainfire_core::Halt;

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Backup(#[from] chainfire_backup::Error),
    #[error(transparent)]
    Bolt(#[from] chainfire_bolt::Error),
    #[error(transparent)]
    Folder(#[from] chainfire_raft::Error),
    #[error(transparent)]
    State(#[from] holdfast_keyspace::Error),
    #[error("the data is not what it should be: {0}")]
    Unreadable(#[from] Halt),
    #[error("the backup has the group {0:?}, which this release does not know")]
    UnknownGroup(String),
    #[error("the backup has no state of chainfire")]
    NoChainfire,
    #[error("the snapshot is damaged: its SHA-256 does not match its content")]
    Checksum,
    #[error("this is no data of an etcd: it has no bucket {0:?}")]
    NotEtcd(&'static str),
    #[error("the snapshot is damaged: {0}")]
    Etcd(&'static str),
}
