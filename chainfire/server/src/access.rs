use async_trait::async_trait;
use iam_client::{Access, Identity, Rule};

/// What a call does to the keys it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Read,
    Write,
}

/// Who may do what to which keys of the user keyspace. Asked for every range that a request names, nested operations
/// included, before anything is read or proposed. Decides locally and never waits.
pub trait KeyAccess: Send + Sync + 'static {
    /// Whether `identity` may do `operation` to every key with `start <= key < end`; no `end` means all that follow.
    fn allows(&self, identity: &Identity, operation: Operation, start: &[u8], end: Option<&[u8]>) -> bool;
}

/// The drop-in server without authentication: everybody may do everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open;

impl KeyAccess for Open {
    fn allows(&self, _: &Identity, _: Operation, _: &[u8], _: Option<&[u8]>) -> bool {
        true
    }
}

/// Why `Authenticate` gives no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// Wrong name or password; the caller does not learn which.
    #[error("authentication failed")]
    Refused,
    #[error("too many failed attempts; try again in {retry_after_s} s")]
    SlowDown { retry_after_s: u32 },
    #[error("identity is not available: {0}")]
    Unavailable(String),
}

/// Turns a name and a password into a token for etcd's `token` metadata; IAM implements it.
#[async_trait]
pub trait PasswordLogin: Send + Sync + 'static {
    /// `source` is the caller's address, for the decision log and for rate limits.
    async fn login(
        &self,
        name: &str,
        password: &str,
        source: Option<std::net::SocketAddr>,
    ) -> Result<String, LoginError>;

    /// Counts changes of principals and policy; `AuthStatus` shows it.
    fn revision(&self) -> u64;
}

const ADMIN: Access = Access::Permission { action: "cluster.Admin", resource: "cluster/chainfire" };

/// What each route of this crate demands. Key permissions are decided by the handlers through [`KeyAccess`].
pub const ACCESS: &[Rule] = &[
    Rule::new("/health", Access::Public),
    Rule::new("/version", Access::Public),
    Rule::new("/etcdserverpb.KV/Compact", ADMIN),
    Rule::new("/etcdserverpb.KV/Range", Access::Authenticated),
    Rule::new("/etcdserverpb.KV/Put", Access::Authenticated),
    Rule::new("/etcdserverpb.KV/DeleteRange", Access::Authenticated),
    Rule::new("/etcdserverpb.KV/Txn", Access::Authenticated),
    Rule::new("/etcdserverpb.Watch/Watch", Access::Authenticated),
    Rule::new("/etcdserverpb.Lease/*", Access::Authenticated),
    Rule::new("/etcdserverpb.Cluster/MemberList", Access::Authenticated),
    Rule::new("/etcdserverpb.Cluster/MemberAdd", ADMIN),
    Rule::new("/etcdserverpb.Cluster/MemberRemove", ADMIN),
    Rule::new("/etcdserverpb.Cluster/MemberUpdate", ADMIN),
    Rule::new("/etcdserverpb.Cluster/MemberPromote", ADMIN),
    Rule::new("/etcdserverpb.Maintenance/Status", Access::Authenticated),
    // Only reading alarms is possible, which any identity may do.
    Rule::new("/etcdserverpb.Maintenance/Alarm", Access::Authenticated),
    Rule::new("/etcdserverpb.Maintenance/Defragment", ADMIN),
    Rule::new("/etcdserverpb.Maintenance/Hash", ADMIN),
    Rule::new("/etcdserverpb.Maintenance/HashKV", ADMIN),
    Rule::new("/etcdserverpb.Maintenance/Snapshot", ADMIN),
    Rule::new("/etcdserverpb.Maintenance/MoveLeader", ADMIN),
    Rule::new("/etcdserverpb.Maintenance/Downgrade", ADMIN),
    Rule::new("/etcdserverpb.Auth/Authenticate", Access::Public),
    Rule::new("/etcdserverpb.Auth/AuthStatus", Access::Public),
    Rule::new("/etcdserverpb.Auth/*", Access::Authenticated),
    Rule::new("/holdfast.chainfire.v1.Admin/SetAuditPolicy", ADMIN),
];
