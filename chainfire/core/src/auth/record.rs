use std::fmt;

use bytes::Bytes;
use holdfast_keyspace::KeyRange;
use serde::{Deserialize, Serialize};

use super::{KeyAccess, ROOT};
use crate::kv::Keys;

/// Whether callers have to be users, and how often users, roles or this have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthStatus {
    pub enabled: bool,
    /// 1 before the first change.
    pub revision: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub name: String,
    /// None if the user can come only with a certificate.
    pub password: Option<PasswordHash>,
    /// Names, sorted.
    pub roles: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    pub name: String,
    /// By first key. No two have the same key and end.
    pub permissions: Vec<Permission>,
}

/// What a role may do with a key or a range of keys, in the form that it was granted in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    pub kind: PermissionKind,
    pub key: Bytes,
    /// As in requests: empty is one key, a single zero byte is "and everything after".
    pub range_end: Bytes,
}

/// Order is part of the stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PermissionKind {
    Read,
    Write,
    ReadWrite,
}

/// A bcrypt hash in its usual text form. Empty if no password fits.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash(pub Vec<u8>);

impl Default for AuthStatus {
    fn default() -> Self {
        Self { enabled: false, revision: 1 }
    }
}

impl User {
    pub fn is_root(&self) -> bool {
        self.has_role(ROOT)
    }

    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|own| own == role)
    }
}

impl Permission {
    /// Everything: what the root role shows.
    pub fn root() -> Self {
        Self { kind: PermissionKind::ReadWrite, key: Bytes::new(), range_end: Bytes::from_static(&[0]) }
    }

    /// Whether there can be a key inside.
    pub fn is_valid(&self) -> bool {
        !self.key.is_empty() && !self.range().is_empty()
    }

    pub(super) fn range(&self) -> KeyRange {
        Keys::from_wire(self.key.clone(), self.range_end.clone()).range()
    }

    pub(super) fn is_on(&self, key: &[u8], range_end: &[u8]) -> bool {
        self.key == key && self.range_end == range_end
    }
}

impl PermissionKind {
    pub(super) fn allows(self, access: KeyAccess) -> bool {
        match self {
            Self::Read => access == KeyAccess::Read,
            Self::Write => access == KeyAccess::Write,
            Self::ReadWrite => true,
        }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PasswordHash(..)")
    }
}
