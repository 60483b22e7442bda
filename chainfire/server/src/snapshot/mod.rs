//! The user keyspace as a file of etcd, which `etcdctl snapshot` and `etcdutl snapshot` read (§2.9 Snapshot).
//!
//! The file is made from one consistent view while writes go on. It lies in the data folder without a name until its
//! last byte is sent, because the stream begins with its length; the view is let go before the first byte.

pub(crate) mod auth;
mod buckets;
mod file;
mod stream;

pub(crate) use file::{About, MemberAbout, SnapshotError, write};
pub(crate) use stream::parts;

/// Names of etcd's buckets and of what lies in `meta`, for both directions.
pub(crate) mod name {
    pub(crate) const ALARM: &[u8] = b"alarm";
    pub(crate) const AUTH: &[u8] = b"auth";
    pub(crate) const AUTH_ROLES: &[u8] = b"authRoles";
    pub(crate) const AUTH_USERS: &[u8] = b"authUsers";
    pub(crate) const CLUSTER: &[u8] = b"cluster";
    pub(crate) const KEY: &[u8] = b"key";
    pub(crate) const LEASE: &[u8] = b"lease";
    pub(crate) const MEMBERS: &[u8] = b"members";
    pub(crate) const MEMBERS_REMOVED: &[u8] = b"members_removed";
    pub(crate) const META: &[u8] = b"meta";

    pub(crate) const CONSISTENT_INDEX: &[u8] = b"consistent_index";
    pub(crate) const TERM: &[u8] = b"term";
    pub(crate) const SCHEDULED_COMPACT: &[u8] = b"scheduledCompactRev";
    pub(crate) const FINISHED_COMPACT: &[u8] = b"finishedCompactRev";
    pub(crate) const CONF_STATE: &[u8] = b"confState";
    pub(crate) const STORAGE_VERSION: &[u8] = b"storageVersion";
    pub(crate) const AUTH_ENABLED: &[u8] = b"authEnabled";
    pub(crate) const AUTH_REVISION: &[u8] = b"authRevision";
    pub(crate) const CLUSTER_VERSION: &[u8] = b"clusterVersion";
}

/// `leasepb.Lease`, as etcd stores leases.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct LeaseRow {
    #[prost(int64, tag = "1")]
    pub(crate) id: i64,
    /// Seconds, as granted.
    #[prost(int64, tag = "2")]
    pub(crate) ttl: i64,
    /// Of a checkpoint; 0 without.
    #[prost(int64, tag = "3")]
    pub(crate) remaining_ttl: i64,
}
