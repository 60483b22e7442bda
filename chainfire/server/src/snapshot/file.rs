use std::{fs::File, io, path::Path};

use chainfire_bolt::{Pair, Writer};
use chainfire_core::Halt;
use chainfire_raft::View;
use serde::Serialize;

use super::{auth, buckets, name};

/// What the file says beside the data.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) members: Vec<MemberAbout>,
    pub(crate) cluster_version: &'static str,
    /// None before there was one.
    pub(crate) storage_version: Option<&'static str>,
}

/// A member in the form in which etcd stores it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct MemberAbout {
    pub(crate) id: u64,
    #[serde(rename = "peerURLs")]
    pub(crate) peer_urls: Vec<String>,
    pub(crate) name: String,
    #[serde(rename = "clientURLs")]
    pub(crate) client_urls: Vec<String>,
}

/// Why there is no snapshot. The text is for the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("the file: {0}")]
    File(#[from] chainfire_bolt::Error),
    #[error("the file: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    State(#[from] holdfast_keyspace::Error),
    #[error(transparent)]
    Unreadable(#[from] Halt),
    #[error("{0}")]
    Other(String),
}

/// Writes the file that `view` is into a file without a name in `folder`; returns it and its length. Blocks.
pub(crate) fn write(view: &View, about: &About, folder: &Path) -> Result<(File, u64), SnapshotError> {
    let mut writer = Writer::new(tempfile::tempfile_in(folder)?)?;
    writer.bucket(name::KEY, buckets::keys(view))?;
    writer.bucket(name::LEASE, buckets::leases(view))?;
    let small = [
        (name::META, buckets::meta(view, about)?),
        (name::MEMBERS, buckets::members(about)?),
        (name::CLUSTER, buckets::cluster(about)),
        (name::ALARM, buckets::alarms(view)?),
        (name::AUTH, auth::status(view)?),
        (name::AUTH_ROLES, auth::roles(view)?),
        (name::AUTH_USERS, auth::users(view)?),
        (name::MEMBERS_REMOVED, Vec::new()),
    ];
    for (name, pairs) in small {
        writer.bucket(name, pairs.into_iter().map(Ok::<Pair, SnapshotError>))?;
    }
    Ok(writer.finish()?)
}
