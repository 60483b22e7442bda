use holdfast_keyspace::KeyRange;
use iam_client::{Access, Identity, KeyAccess, KeyAuthority, Refusal, Rule, StillHolds};

/// The drop-in server without authentication: everybody may do everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open;

impl KeyAuthority for Open {
    fn may_access_keys(&self, _: &Identity, _: KeyAccess, _: &KeyRange) -> Result<bool, Refusal> {
        Ok(true)
    }

    fn authorize_keys(&self, _: &Identity, _: KeyAccess, _: &KeyRange) -> Result<(), Refusal> {
        Ok(())
    }

    fn authorize_some_key(&self, _: &Identity, _: KeyAccess) -> Result<(), Refusal> {
        Ok(())
    }
}

impl StillHolds for Open {
    fn still_holds(&self, _: &Identity) -> Result<(), Refusal> {
        Ok(())
    }
}

const ADMIN: Access = Access::Permission { action: "cluster.Admin", resource: "cluster/chainfire" };

/// What each route of this crate demands. Key permissions are decided by the handlers through [`KeyAuthority`].
pub const ACCESS: &[Rule] = &[
    Rule::new("/health", Access::Public),
    Rule::new("/version", Access::Public),
    Rule::new("/livez", Access::Public),
    Rule::new("/livez/*", Access::Public),
    Rule::new("/readyz", Access::Public),
    Rule::new("/readyz/*", Access::Public),
    Rule::new("/etcdserverpb.KV/Compact", ADMIN),
    Rule::new("/etcdserverpb.KV/Range", Access::Authenticated),
    Rule::new("/etcdserverpb.KV/RangeStream", Access::Authenticated),
    Rule::new("/etcdserverpb.KV/Put", Access::Authenticated),
    Rule::new("/etcdserverpb.KV/DeleteRange", Access::Authenticated),
    Rule::new("/etcdserverpb.KV/Txn", Access::Authenticated),
    Rule::new("/etcdserverpb.Watch/Watch", Access::Authenticated),
    Rule::new("/etcdserverpb.Lease/*", Access::Authenticated),
    Rule::new("/v3lockpb.Lock/*", Access::Authenticated),
    Rule::new("/v3electionpb.Election/*", Access::Authenticated),
    Rule::new("/holdfast.chainfire.v1.History/*", Access::Authenticated),
    Rule::new("/etcdserverpb.Cluster/MemberList", Access::Authenticated),
    Rule::new("/etcdserverpb.Cluster/MemberAdd", ADMIN),
    Rule::new("/etcdserverpb.Cluster/MemberRemove", ADMIN),
    Rule::new("/etcdserverpb.Cluster/MemberUpdate", ADMIN),
    Rule::new("/etcdserverpb.Cluster/MemberPromote", ADMIN),
    Rule::new("/etcdserverpb.Maintenance/Status", Access::Authenticated),
    // To read alarms is for everybody; the handler decides on their change.
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
    Rule::new("/holdfast.chainfire.v1.Admin/Backup", ADMIN),
    Rule::new("/holdfast.chainfire.v1.Admin/SetAuditPolicy", ADMIN),
];
