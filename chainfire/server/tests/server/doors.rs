//! The services behind doors: identities from a layer in front, permissions on keys, and a login.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use axum::extract::Request;
use chainfire_core::AuthenticatedBy;
use chainfire_server::Doors;
use holdfast_keyspace::KeyRange;
use holdfast_proto::etcdserverpb::{
    AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleListRequest, AuthStatusRequest,
    AuthUserAddRequest, AuthUserGetRequest, AuthUserListRequest, AuthenticateRequest, LeaseGrantRequest,
    LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest, TxnRequest,
    WatchCreateRequest, WatchRequest, auth_client::AuthClient, kv_client::KvClient, lease_client::LeaseClient,
    request_op, watch_client::WatchClient, watch_request::RequestUnion,
};
use iam_client::{
    Caller, Evidence, Identity, KeyAccess, KeyAuthority, Kind, PasswordLogin, PrincipalId, Refusal, Scope, StillHolds,
};
use tokio::net::TcpListener;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use crate::{kv::put, support::Single, txn::op};

/// Users may do anything below `own/`, and nothing else; the holder of the bootstrap token may do everything.
struct OwnPrefix(Arc<Policy>);

/// What can happen to the users' rights. Each change counts as one of the policy.
#[derive(Default)]
struct Policy {
    revision: AtomicU64,
    ended: AtomicBool,
    taken: AtomicBool,
}

impl Policy {
    fn set(&self, what: &AtomicBool, value: bool) {
        what.store(value, Ordering::SeqCst);
        self.revision.fetch_add(1, Ordering::SeqCst);
    }
}

impl StillHolds for OwnPrefix {
    fn still_holds(&self, _: &Identity) -> Result<(), Refusal> {
        if self.0.ended.load(Ordering::SeqCst) { Err(Refusal::Unauthenticated) } else { Ok(()) }
    }
}

impl KeyAuthority for OwnPrefix {
    fn authorize_some_key(&self, identity: &Identity, access: KeyAccess) -> Result<(), Refusal> {
        self.authorize_keys(identity, access, &KeyRange::prefix(*b"own/"))
    }

    fn may_access_keys(&self, identity: &Identity, _: KeyAccess, range: &KeyRange) -> Result<bool, Refusal> {
        if identity.principal == Caller::Bootstrap {
            return Ok(true);
        }
        Ok(matches!(identity.principal, Caller::Principal(_))
            && !self.0.taken.load(Ordering::SeqCst)
            && range.start.as_slice() >= b"own/".as_slice()
            && range.end.as_deref().is_some_and(|end| end <= b"own0".as_slice()))
    }

    fn authorize_keys(&self, identity: &Identity, access: KeyAccess, range: &KeyRange) -> Result<(), Refusal> {
        if self.may_access_keys(identity, access, range)? {
            return Ok(());
        }
        Err(Refusal::Denied { action: access.action().to_owned(), resource: "keys".to_owned() })
    }
}

struct OneUser(Arc<Policy>);

#[async_trait]
impl PasswordLogin for OneUser {
    async fn login(&self, name: &str, password: &str, source: Option<SocketAddr>) -> Result<String, Refusal> {
        assert!(source.is_some());
        if (name, password) == ("mira", "right") { Ok("token".to_owned()) } else { Err(Refusal::Unauthenticated) }
    }

    fn revision(&self) -> u64 {
        7 + self.0.revision.load(Ordering::SeqCst)
    }
}

pub(crate) struct Suite {
    single: Single,
    pub(crate) channel: Channel,
    policy: Arc<Policy>,
}

impl Suite {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let single = Single::start().await?;
        let policy = Arc::new(Policy::default());
        let doors = Doors {
            keys: Arc::new(OwnPrefix(policy.clone())),
            login: Some(Arc::new(OneUser(policy.clone()))),
            disclosures: None,
        };
        let router = single.chainfire.routes(doors).into_axum_router();
        let router = router.layer(axum::middleware::map_request(identify));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let channel = Endpoint::new(format!("http://{}", listener.local_addr()?))?.connect_lazy();
        tokio::spawn(holdfast_rpc::serve(listener, router, None, holdfast_rpc::Limits::default(), single.stop.clone()));
        Ok(Self { single, channel, policy })
    }

    pub(crate) fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone())
    }

    pub(crate) async fn end(self) {
        self.single.end().await;
    }
}

/// Says that the request comes from the holder of the bootstrap token.
const ADMIN: &str = "test-admin";

pub(crate) fn as_admin<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert(ADMIN, tonic::metadata::MetadataValue::from_static("yes"));
    request
}

async fn identify(mut request: Request) -> Request {
    let user = || PrincipalId::new(Kind::User, "mira").expect("a name").into();
    let principal = if request.headers().contains_key(ADMIN) { Caller::Bootstrap } else { user() };
    request.extensions_mut().insert(Identity {
        principal,
        authenticated_by: AuthenticatedBy::Token,
        evidence: Evidence::None,
        token_id: None,
        roles: Vec::new(),
        scope: Scope::System,
        source: None,
        request_id: "r".to_owned(),
    });
    request
}

#[tokio::test]
async fn keys_out_of_reach_stay_out_of_reach() -> anyhow::Result<()> {
    let suite = Suite::start().await?;
    let mut kv = suite.kv();
    kv.put(put("own/a", "1")).await?;
    let denied = kv.put(put("other", "1")).await.unwrap_err();
    assert_eq!((denied.code(), denied.message()), (Code::PermissionDenied, "etcdserver: permission denied"));
    let everything = RangeRequest { key: "\0".into(), range_end: "\0".into(), ..Default::default() };
    assert_eq!(kv.range(everything.clone()).await.unwrap_err().code(), Code::PermissionDenied);

    let inner =
        TxnRequest { failure: vec![op(request_op::Request::RequestPut(put("other", "1")))], ..Default::default() };
    let nested = TxnRequest { success: vec![op(request_op::Request::RequestTxn(inner))], ..Default::default() };
    assert_eq!(kv.txn(nested).await.unwrap_err().code(), Code::PermissionDenied);

    // A key of somebody else on the lease: joining it would decide over that key.
    LeaseClient::new(suite.channel.clone()).lease_grant(LeaseGrantRequest { ttl: 60, id: 7 }).await?;
    kv.put(PutRequest { lease: 7, ..put("own/b", "1") }).await?;
    let own = RangeRequest { key: "own/".into(), range_end: "own0".into(), ..Default::default() };
    assert_eq!(kv.range(own).await?.into_inner().count, 2);
    suite.end().await;
    Ok(())
}

#[tokio::test]
async fn a_lease_is_out_of_reach_with_one_of_its_keys() -> anyhow::Result<()> {
    let suite = Suite::start().await?;
    let (mut kv, mut leases) = (suite.kv(), LeaseClient::new(suite.channel.clone()));
    leases.lease_grant(LeaseGrantRequest { ttl: 60, id: 7 }).await?;
    let join = |key| PutRequest { lease: 7, ..put(key, "1") };
    kv.put(join("own/a")).await?;
    kv.put(as_admin(join("other"))).await?;

    let nested = TxnRequest { success: vec![op(request_op::Request::RequestPut(join("own/b")))], ..Default::default() };
    let keys = LeaseTimeToLiveRequest { id: 7, keys: true };
    let denied = [
        kv.put(join("own/b")).await.map(drop),
        kv.txn(nested).await.map(drop),
        leases.lease_time_to_live(keys).await.map(drop),
        leases.lease_revoke(LeaseRevokeRequest { id: 7 }).await.map(drop),
    ];
    assert_eq!(denied.map(|answer| answer.unwrap_err().code()), [Code::PermissionDenied; 4]);
    let left = leases.lease_time_to_live(as_admin(keys)).await?.into_inner();
    assert_eq!(left.keys, ["other", "own/a"]);
    leases.lease_revoke(as_admin(LeaseRevokeRequest { id: 7 })).await?;
    suite.end().await;
    Ok(())
}

#[tokio::test]
async fn a_watch_on_foreign_keys_is_refused_and_the_stream_goes_on() -> anyhow::Result<()> {
    let suite = Suite::start().await?;
    let create = |key: &'static str, range_end: &'static str| {
        let create = WatchCreateRequest { key: key.into(), range_end: range_end.into(), ..Default::default() };
        WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
    };
    // The empty key is the smallest one, and with it the range reaches over all others.
    let requests = [create("", "\0"), create("own/", "own0")];
    let requests = tokio_stream::StreamExt::chain(tokio_stream::iter(requests), tokio_stream::pending());
    let mut answers = WatchClient::new(suite.channel.clone()).watch(requests).await?.into_inner();
    let refused = answers.message().await?.unwrap_or_default();
    assert_eq!((refused.created, refused.canceled, refused.watch_id), (true, true, -1));
    let denied = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    assert_eq!(refused.cancel_reason, denied);
    let created = answers.message().await?.unwrap_or_default();
    assert_eq!((created.created, created.canceled, created.watch_id), (true, false, 0));
    suite.kv().put(put("own/a", "1")).await?;
    assert_eq!(answers.message().await?.unwrap_or_default().events.len(), 1);
    suite.end().await;
    Ok(())
}

#[tokio::test]
async fn a_watch_ends_with_the_right_to_it() -> anyhow::Result<()> {
    let suite = Suite::start().await?;
    for what in [&suite.policy.ended, &suite.policy.taken] {
        let create = WatchCreateRequest { key: "own/".into(), range_end: "own0".into(), ..Default::default() };
        let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let requests = tokio_stream::StreamExt::chain(tokio_stream::iter([create]), tokio_stream::pending());
        let mut answers = WatchClient::new(suite.channel.clone()).watch(requests).await?.into_inner();
        assert!(answers.message().await?.unwrap_or_default().created);
        suite.policy.set(what, true);
        let ended = answers.message().await.unwrap_err();
        assert_eq!((ended.code(), ended.message()), (Code::PermissionDenied, "etcdserver: permission denied"));
        suite.policy.set(what, false);
    }
    suite.end().await;
    Ok(())
}

#[tokio::test]
async fn leases_are_for_who_may_write_and_their_list_for_who_may_read_everything() -> anyhow::Result<()> {
    let suite = Suite::start().await?;
    let mut leases = LeaseClient::new(suite.channel.clone());
    leases.lease_grant(LeaseGrantRequest { ttl: 60, id: 7 }).await?;
    let denied = leases.lease_leases(LeaseLeasesRequest {}).await.unwrap_err();
    assert_eq!((denied.code(), denied.message()), (Code::PermissionDenied, "etcdserver: permission denied"));
    assert_eq!(leases.lease_leases(as_admin(LeaseLeasesRequest {})).await?.into_inner().leases.len(), 1);
    suite.policy.set(&suite.policy.taken, true);
    let denied = leases.lease_grant(LeaseGrantRequest { ttl: 60, id: 8 }).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    suite.end().await;
    Ok(())
}

#[tokio::test]
async fn a_login_gives_a_token_or_one_indistinguishable_refusal() -> anyhow::Result<()> {
    let suite = Suite::start().await?;
    let mut auth = AuthClient::new(suite.channel.clone());
    let login = |name: &str, password: &str| AuthenticateRequest { name: name.into(), password: password.into() };
    assert_eq!(auth.authenticate(login("mira", "right")).await?.into_inner().token, "token");
    for (name, password) in [("mira", "wrong"), ("nobody", "right")] {
        let refused = auth.authenticate(login(name, password)).await.unwrap_err();
        assert_eq!(refused.message(), "etcdserver: authentication failed, invalid user ID or password");
    }
    let empty = auth.authenticate(login("", "right")).await.unwrap_err();
    assert_eq!(empty.message(), "etcdserver: user name is empty");
    let status = auth.auth_status(AuthStatusRequest {}).await?.into_inner();
    assert_eq!((status.enabled, status.auth_revision), (true, 7));
    suite.end().await;
    Ok(())
}

/// Users and roles are IAM's here.
#[tokio::test]
async fn etcds_users_and_roles_are_not_managed_in_the_suite() -> anyhow::Result<()> {
    let suite = Suite::start().await?;
    let mut auth = AuthClient::new(suite.channel.clone());
    let user = AuthUserAddRequest { name: "mira".into(), password: "x".into(), ..Default::default() };
    let answers = [
        auth.auth_enable(as_admin(AuthEnableRequest {})).await.map(drop),
        auth.auth_disable(as_admin(AuthDisableRequest {})).await.map(drop),
        auth.user_add(as_admin(user)).await.map(drop),
        auth.user_get(as_admin(AuthUserGetRequest { name: "mira".into() })).await.map(drop),
        auth.user_list(as_admin(AuthUserListRequest {})).await.map(drop),
        auth.role_add(as_admin(AuthRoleAddRequest { name: "r".into() })).await.map(drop),
        auth.role_list(as_admin(AuthRoleListRequest {})).await.map(drop),
    ];
    for answer in answers {
        let refused = answer.unwrap_err();
        let says = (refused.code(), refused.message());
        assert_eq!(says, (Code::InvalidArgument, "etcdserver: invalid auth management"));
    }
    suite.end().await;
    Ok(())
}
