//! §2.1-2.3, §2.5: single keys and ranges of one server. What the state machine does is tested in `chainfire-core`;
//! what cannot be meant is in `errors`.

use holdfast_proto::etcdserverpb::{
    AlarmRequest, AlarmType, AuthRoleAddRequest, AuthStatusRequest, AuthUserAddRequest, AuthUserListRequest,
    CompactionRequest, DefragmentRequest, DeleteRangeRequest, HashKvRequest, HashRequest, LeaseGrantRequest,
    LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, MemberListRequest,
    MoveLeaderRequest, PutRequest, RangeRequest, RangeResponse, ResponseHeader, StatusRequest, TxnRequest,
    alarm_request::AlarmAction, range_request::SortTarget,
};
use tonic::Code;

use crate::support::TestServer;

pub(crate) fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..Default::default() }
}

pub(crate) fn get(key: &str) -> RangeRequest {
    RangeRequest { key: key.to_owned().into(), ..Default::default() }
}

pub(crate) fn range(key: &'static [u8], range_end: &'static [u8]) -> RangeRequest {
    RangeRequest { key: key.into(), range_end: range_end.into(), ..Default::default() }
}

pub(crate) fn keys(response: &RangeResponse) -> Vec<String> {
    response.kvs.iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned()).collect()
}

async fn with_three_keys() -> anyhow::Result<TestServer> {
    let server = TestServer::start().await?;
    for (key, value) in [("k0", "v3"), ("k1", "v2"), ("k2", "v1")] {
        server.kv().put(put(key, value)).await?;
    }
    Ok(server)
}

#[tokio::test]
async fn a_fresh_store_is_at_revision_one() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let header = server.kv().range(get("a")).await?.into_inner().header.unwrap_or_default();
    assert_eq!(header.revision, 1);
    assert_eq!(format!("{:x}", header.member_id), "8e9e05c52164694d");
    assert_eq!(format!("{:x}", header.cluster_id), "cdf818194e3a8c32");
    assert!(header.raft_term > 0);
    Ok(())
}

/// §2.1: "Lease grant, compaction, alarms, auth changes, membership, reads, and no-op deletes do not" advance it, and
/// "for lease/auth/maintenance calls the current revision" is in the header.
#[tokio::test]
async fn only_changes_advance_the_revision() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let (mut kv, mut lease) = (server.kv(), server.lease());
    let (mut maintenance, mut auth) = (server.maintenance(), server.auth());
    let written = kv.put(put("a", "1")).await?.into_inner().header.unwrap_or_default();
    assert_eq!(written.revision, 2);
    let local = RangeRequest { serializable: true, revision: 1, ..get("a") };
    let missing = DeleteRangeRequest { key: "nobody".into(), ..Default::default() };
    let alarm = |action: AlarmAction| AlarmRequest {
        action: action.into(),
        alarm: AlarmType::Nospace.into(),
        ..Default::default()
    };
    let user = AuthUserAddRequest { name: "mira".into(), password: "x".into(), ..Default::default() };
    let mut kept = lease.lease_keep_alive(tokio_stream::iter([LeaseKeepAliveRequest { id: 404 }])).await?.into_inner();
    let headers = [
        kv.range(get("a")).await?.into_inner().header,
        kv.range(local).await?.into_inner().header,
        kv.delete_range(missing).await?.into_inner().header,
        kv.txn(TxnRequest::default()).await?.into_inner().header,
        kv.compact(CompactionRequest { revision: 1, physical: true }).await?.into_inner().header,
        lease.lease_grant(LeaseGrantRequest { ttl: 60, id: 7 }).await?.into_inner().header,
        kept.message().await?.unwrap_or_default().header,
        lease.lease_time_to_live(LeaseTimeToLiveRequest { id: 7, keys: true }).await?.into_inner().header,
        lease.lease_leases(LeaseLeasesRequest {}).await?.into_inner().header,
        lease.lease_revoke(LeaseRevokeRequest { id: 7 }).await?.into_inner().header,
        maintenance.alarm(alarm(AlarmAction::Activate)).await?.into_inner().header,
        maintenance.alarm(alarm(AlarmAction::Deactivate)).await?.into_inner().header,
        maintenance.status(StatusRequest {}).await?.into_inner().header,
        maintenance.hash_kv(HashKvRequest::default()).await?.into_inner().header,
        maintenance.hash(HashRequest {}).await?.into_inner().header,
        auth.user_add(user).await?.into_inner().header,
        auth.role_add(AuthRoleAddRequest { name: "r".into() }).await?.into_inner().header,
        auth.user_list(AuthUserListRequest {}).await?.into_inner().header,
        auth.auth_status(AuthStatusRequest {}).await?.into_inner().header,
    ];
    for (at, header) in headers.into_iter().enumerate() {
        assert_eq!(header, Some(written), "case {at}");
    }
    // "MemberList … leave it 0 and MoveLeader/Defragment answer with no header at all".
    let listed = server.cluster().member_list(MemberListRequest::default()).await?.into_inner().header;
    assert_eq!(listed, Some(ResponseHeader { revision: 0, ..written }));
    let moved = MoveLeaderRequest { target_id: written.member_id };
    assert_eq!(maintenance.move_leader(moved).await?.into_inner().header, None);
    assert_eq!(maintenance.defragment(DefragmentRequest {}).await?.into_inner().header, None);

    assert_eq!(kv.put(put("a", "2")).await?.into_inner().header.map(|header| header.revision), Some(3));
    // A lease takes its keys along in a revision of its own.
    lease.lease_grant(LeaseGrantRequest { ttl: 60, id: 8 }).await?;
    kv.put(PutRequest { lease: 8, ..put("a", "3") }).await?;
    let revoked = lease.lease_revoke(LeaseRevokeRequest { id: 8 }).await?.into_inner().header;
    assert_eq!(revoked, Some(ResponseHeader { revision: 5, ..written }));
    Ok(())
}

#[tokio::test]
async fn versions_begin_again_after_a_delete() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut kv = server.kv();
    kv.put(put("a", "1")).await?;
    let before = kv.put(PutRequest { prev_kv: true, ..put("a", "2") }).await?.into_inner();
    assert_eq!(before.prev_kv.unwrap_or_default().value, "1");
    let request = DeleteRangeRequest { key: "a".into(), prev_kv: true, ..Default::default() };
    let deleted = kv.delete_range(request).await?.into_inner();
    assert_eq!(deleted.prev_kvs.first().map(|kv| kv.version), Some(2));
    kv.put(put("a", "3")).await?;
    let found = kv.range(get("a")).await?.into_inner().kvs;
    let found = found.first().map(|kv| (kv.version, kv.create_revision, kv.mod_revision));
    assert_eq!(found, Some((1, 5, 5)));
    Ok(())
}

#[tokio::test]
async fn ranges_are_half_open_and_count_everything() -> anyhow::Result<()> {
    let server = with_three_keys().await?;
    let mut kv = server.kv();
    assert_eq!(keys(&kv.range(range(b"k0", b"k2")).await?.into_inner()), ["k0", "k1"]);
    assert_eq!(keys(&kv.range(range(b"\0", b"\0")).await?.into_inner()), ["k0", "k1", "k2"]);
    assert_eq!(keys(&kv.range(range(b"k1", b"\0")).await?.into_inner()), ["k1", "k2"]);
    let backwards = kv.range(range(b"k2", b"k0")).await?.into_inner();
    assert_eq!((backwards.count, backwards.kvs.len()), (0, 0));
    let limited = kv.range(RangeRequest { limit: 1, ..range(b"k", b"l") }).await?.into_inner();
    assert_eq!((keys(&limited), limited.more, limited.count), (vec!["k0".to_owned()], true, 3));
    let unlimited = kv.range(RangeRequest { limit: -1, revision: -1, ..range(b"k", b"l") }).await?.into_inner();
    assert_eq!(unlimited.kvs.len(), 3);
    let counted = kv.range(RangeRequest { count_only: true, ..range(b"k", b"l") }).await?.into_inner();
    assert_eq!((counted.count, counted.kvs.len()), (3, 0));
    let names = kv.range(RangeRequest { keys_only: true, ..range(b"k", b"l") }).await?.into_inner();
    assert!(names.kvs.iter().all(|kv| kv.value.is_empty() && kv.mod_revision > 0));
    Ok(())
}

#[tokio::test]
async fn an_unordered_sort_applies_the_limit_first() -> anyhow::Result<()> {
    let server = with_three_keys().await?;
    let request = RangeRequest { limit: 1, sort_target: SortTarget::Value.into(), ..range(b"k", b"l") };
    assert_eq!(keys(&server.kv().range(request).await?.into_inner()), ["k1"]);
    Ok(())
}

#[tokio::test]
async fn the_past_can_be_read_until_it_is_compacted() -> anyhow::Result<()> {
    let server = with_three_keys().await?;
    let mut kv = server.kv();
    let at = |revision| RangeRequest { revision, ..range(b"k", b"l") };
    assert_eq!(keys(&kv.range(at(3)).await?.into_inner()), ["k0", "k1"]);
    let future = kv.range(at(9)).await.unwrap_err();
    assert_eq!(future.message(), "etcdserver: mvcc: required revision is a future revision");
    assert_eq!(future.code(), Code::OutOfRange);

    kv.compact(CompactionRequest { revision: 3, physical: true }).await?;
    assert_eq!(keys(&kv.range(at(3)).await?.into_inner()), ["k0", "k1"]);
    let gone = kv.range(at(2)).await.unwrap_err();
    assert_eq!(gone.message(), "etcdserver: mvcc: required revision has been compacted");
    let again = kv.compact(CompactionRequest { revision: 3, physical: false }).await.unwrap_err();
    assert_eq!(again.code(), Code::OutOfRange);
    let header = kv.range(get("k0")).await?.into_inner().header.unwrap_or_default();
    assert_eq!(header.revision, 4);
    Ok(())
}

#[tokio::test]
async fn a_fresh_store_can_be_compacted_at_zero_only() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut kv = server.kv();
    assert!(kv.compact(CompactionRequest { revision: -1, physical: false }).await.is_err());
    kv.compact(CompactionRequest { revision: 0, physical: false }).await?;
    assert!(kv.compact(CompactionRequest { revision: 0, physical: false }).await.is_err());
    Ok(())
}
