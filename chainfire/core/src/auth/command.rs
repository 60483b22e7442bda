use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{PasswordHash, Permission};

/// A change of users, roles, or whether they count. Variants are appended, never reordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthCommand {
    Enable,
    Disable,
    UserAdd {
        name: String,
        /// None: the user can come only with a certificate.
        password: Option<PasswordHash>,
    },
    UserDelete {
        name: String,
    },
    UserChangePassword {
        name: String,
        password: PasswordHash,
    },
    UserGrantRole {
        user: String,
        role: String,
    },
    UserRevokeRole {
        user: String,
        role: String,
    },
    RoleAdd {
        name: String,
    },
    RoleDelete {
        name: String,
    },
    /// Replaces the role's permission on the same key and end, if it has one.
    RoleGrantPermission {
        role: String,
        permission: Permission,
    },
    /// Takes away the permission that was granted on exactly this.
    RoleRevokePermission {
        role: String,
        key: Bytes,
        range_end: Bytes,
    },
}

/// A user has shown its password: every server shall know the token that it gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    pub user: String,
    /// The revision of the users at which the password was compared. At any other the command is refused: the password
    /// may be another by now.
    pub revision: u64,
    /// SHA-256 of the token's secret part, so that whoever reads the log cannot use it.
    pub token: [u8; 32],
}

impl AuthCommand {
    /// As audit rows name it.
    pub(super) fn action(&self) -> &'static str {
        match self {
            Self::Enable => "auth.Enable",
            Self::Disable => "auth.Disable",
            Self::UserAdd { .. } => "auth.UserAdd",
            Self::UserDelete { .. } => "auth.UserDelete",
            Self::UserChangePassword { .. } => "auth.UserChangePassword",
            Self::UserGrantRole { .. } => "auth.UserGrantRole",
            Self::UserRevokeRole { .. } => "auth.UserRevokeRole",
            Self::RoleAdd { .. } => "auth.RoleAdd",
            Self::RoleDelete { .. } => "auth.RoleDelete",
            Self::RoleGrantPermission { .. } => "auth.RoleGrantPermission",
            Self::RoleRevokePermission { .. } => "auth.RoleRevokePermission",
        }
    }

    pub(super) fn resource(&self) -> String {
        match self {
            Self::Enable | Self::Disable => "auth".to_owned(),
            Self::UserAdd { name, .. } | Self::UserDelete { name } | Self::UserChangePassword { name, .. } => {
                format!("etcd-user/{}", name.escape_debug())
            }
            Self::UserGrantRole { user, role } | Self::UserRevokeRole { user, role } => {
                format!("etcd-user/{}/{}", user.escape_debug(), role.escape_debug())
            }
            Self::RoleAdd { name: role }
            | Self::RoleDelete { name: role }
            | Self::RoleGrantPermission { role, .. }
            | Self::RoleRevokePermission { role, .. } => format!("etcd-role/{}", role.escape_debug()),
        }
    }
}
