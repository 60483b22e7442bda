//! What those who verify say about themselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::record::Record;

/// How far somebody is with what can be revoked, changed or rotated: revisions of the system keyspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// Of the signing keys.
    pub keys: u64,
    /// Of the certificate authorities.
    pub trust: u64,
    /// Of principals, groups and bindings.
    pub policy: u64,
    pub revocations: u64,
    /// Of the master keys; only servers know them. 0 before their first rotation.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub masters: u64,
}

/// The word of a server, an agent or a library that it enforces these versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    pub versions: Versions,
    pub at_ms: u64,
    /// For each signing key, the end of the last token that this server signed with it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub signed_until_ms: BTreeMap<String, u64>,
    /// Connections that this server closed so far because their callers may not go on.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub closed: u64,
    /// The names of the master keys that this server holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub master_keys: Vec<String>,
}

/// Lies beside records of one kind; its revision is that of the last change of any of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {}

impl Versions {
    /// Whether all of these are at least as new.
    pub fn covers(&self, other: &Self) -> bool {
        self.keys >= other.keys
            && self.trust >= other.trust
            && self.policy >= other.policy
            && self.revocations >= other.revocations
            && self.masters >= other.masters
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde wants")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Record for Acknowledged {}
impl Record for Mark {}
