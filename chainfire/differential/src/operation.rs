use std::fmt;

use holdfast_proto::etcdserverpb::{
    AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGetRequest, AuthRoleGrantPermissionRequest,
    AuthRoleRevokePermissionRequest, AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserDeleteRequest,
    AuthUserGetRequest, AuthUserGrantRoleRequest, AuthUserRevokeRoleRequest, CompactionRequest, DeleteRangeRequest,
    HashKvRequest, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest,
    RangeRequest, TxnRequest, WatchCreateRequest,
};

use crate::brief::brief;

/// One thing to ask both servers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operation {
    Range(RangeRequest),
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
    HashKv(HashKvRequest),
    /// A lease that stays, with a time that outlasts the run.
    LeaseGrant(LeaseGrantRequest),
    /// A lease that is revoked at once: its id may be the server's choice and its time short.
    LeasePasses(LeaseGrantRequest),
    LeaseRevoke(LeaseRevokeRequest),
    LeaseKeepAlive(LeaseKeepAliveRequest),
    LeaseTimeToLive(LeaseTimeToLiveRequest),
    LeaseLeases,
    /// A watch stream from its opening to its end, with writes in between.
    Watch(Vec<WatchStep>),
    Auth(AuthCall),
    /// Asked with the token that the user's last login gave, or with one that nobody gave.
    As(Who, Box<Operation>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    User(&'static str),
    Stranger,
}

/// About users and roles.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AuthCall {
    Enable,
    Disable,
    LogIn { user: &'static str, password: &'static str },
    UserAdd(AuthUserAddRequest),
    UserGet(AuthUserGetRequest),
    UserList,
    UserDelete(AuthUserDeleteRequest),
    UserChangePassword(AuthUserChangePasswordRequest),
    UserGrantRole(AuthUserGrantRoleRequest),
    UserRevokeRole(AuthUserRevokeRoleRequest),
    RoleAdd(AuthRoleAddRequest),
    RoleGet(AuthRoleGetRequest),
    RoleList,
    RoleDelete(AuthRoleDeleteRequest),
    RoleGrantPermission(AuthRoleGrantPermissionRequest),
    RoleRevokePermission(AuthRoleRevokePermissionRequest),
}

impl Operation {
    /// What is asked, whoever asks.
    pub(crate) fn bare(&self) -> &Self {
        match self {
            Self::As(_, operation) => operation.bare(),
            other => other,
        }
    }
}

/// What happens on a watch stream, or beside it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum WatchStep {
    Create(WatchCreateRequest),
    /// Once everything so far has arrived: what is on its way to a cancelled watcher may or may not be sent.
    Cancel(i64),
    Write(Operation),
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&brief(&format!("{self:?}")))
    }
}
