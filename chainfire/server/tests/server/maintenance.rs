//! Maintenance and what fixed membership answers (§2.9, §0 "Contract").

use holdfast_proto::etcdserverpb::{
    AlarmRequest, CompactionRequest, DefragmentRequest, DeleteRangeRequest, DowngradeRequest, HashKvRequest,
    LeaseGrantRequest, MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest,
    MemberUpdateRequest, MoveLeaderRequest, PutRequest, StatusRequest, TxnRequest, downgrade_request::DowngradeAction,
    request_op::Request,
};
use tonic::Code;

use crate::{kv::put, support::TestServer, txn::op};

#[tokio::test]
async fn status_names_the_leader_and_the_release() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    server.kv().put(put("a", "1")).await?;
    let status = server.maintenance().status(StatusRequest {}).await?.into_inner();
    let header = status.header.unwrap_or_default();
    assert_eq!((status.leader, header.revision), (header.member_id, 2));
    assert!(status.version.starts_with("3.6."));
    assert!(status.raft_applied_index > 0 && status.db_size >= status.db_size_in_use);
    assert!(status.errors.is_empty() && !status.is_learner);
    Ok(())
}

#[tokio::test]
async fn membership_is_read_only() -> anyhow::Result<()> {
    let server = TestServer::start_with(&["--name=infra0", "--advertise-client-urls=http://10.0.0.1:2379"]).await?;
    let list = server.cluster().member_list(MemberListRequest::default()).await?.into_inner();
    assert_eq!(list.header.unwrap_or_default().revision, 0);
    let [member] = list.members.as_slice() else { anyhow::bail!("{} members", list.members.len()) };
    assert_eq!(member.name, "infra0");
    assert_eq!(member.peer_ur_ls, ["http://localhost:2380"]);
    assert_eq!(member.client_ur_ls, ["http://10.0.0.1:2379"]);

    let mut cluster = server.cluster();
    let add = MemberAddRequest { peer_ur_ls: vec!["http://10.0.0.2:2380".into()], is_learner: false };
    let refused = cluster.member_add(add).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, "etcdserver: not capable"));
    let hint = refused.metadata().get("holdfast-hint").ok_or_else(|| anyhow::anyhow!("no pointer to the runbook"))?;
    assert!(hint.to_str()?.contains("deploy/runbooks/restore-and-rejoin.md"));
    let bad = cluster.member_add(MemberAddRequest::default()).await.unwrap_err();
    assert_eq!(bad.message(), "etcdserver: given member URLs are invalid");
    let urls = || vec!["http://10.0.0.2:2380".to_owned()];
    let update = |id, peer_ur_ls| MemberUpdateRequest { id, peer_ur_ls };
    let fixed = (Code::FailedPrecondition, "not capable");
    let missing = (Code::NotFound, "member not found");
    let bad = (Code::InvalidArgument, "given member URLs are invalid");
    for (refused, (code, text)) in [
        (cluster.member_remove(MemberRemoveRequest { id: member.id }).await.map(drop), fixed),
        (cluster.member_remove(MemberRemoveRequest { id: 1 }).await.map(drop), missing),
        (cluster.member_update(update(member.id, urls())).await.map(drop), fixed),
        (cluster.member_update(update(1, urls())).await.map(drop), missing),
        (cluster.member_update(update(member.id, Vec::new())).await.map(drop), bad),
        (
            cluster.member_promote(MemberPromoteRequest { id: member.id }).await.map(drop),
            (Code::FailedPrecondition, "can only promote a learner member"),
        ),
        (cluster.member_promote(MemberPromoteRequest { id: 1 }).await.map(drop), missing),
    ] {
        let refused = refused.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (code, format!("etcdserver: {text}").as_str()));
        assert_eq!(refused.metadata().contains_key("holdfast-hint"), (code, text) == fixed);
    }
    let after = cluster.member_list(MemberListRequest::default()).await?.into_inner().members;
    assert_eq!(after, list.members);
    Ok(())
}

#[tokio::test]
async fn hashes_equal_etcds() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut kv = server.kv();
    for n in 1..=5 {
        kv.put(put(&format!("k{n}"), &format!("v{n}"))).await?;
    }
    let delete = |key: &'static str| DeleteRangeRequest { key: key.into(), ..Default::default() };
    kv.put(put("k1", "again")).await?;
    kv.delete_range(delete("k2")).await?;
    kv.put(put("k2", "back")).await?;
    kv.delete_range(delete("k3")).await?;
    kv.delete_range(delete("k3")).await?;
    server.lease().lease_grant(LeaseGrantRequest { ttl: 600, id: 77 }).await?;
    kv.put(PutRequest { lease: 77, ..put("leased", "x") }).await?;
    let success = vec![
        op(Request::RequestPut(put("t1", "a"))),
        op(Request::RequestPut(put("t2", "b"))),
        op(Request::RequestDeleteRange(delete("k4"))),
    ];
    kv.txn(TxnRequest { success, ..Default::default() }).await?;

    let mut maintenance = server.maintenance();
    let fresh = maintenance.hash_kv(HashKvRequest { revision: 0 }).await?.into_inner();
    assert_eq!((fresh.hash, fresh.compact_revision, fresh.hash_revision), (193_403_643, -1, 12));
    for (revision, hash) in [(8, 2_374_178_988), (10, 1_608_563_935)] {
        kv.compact(CompactionRequest { revision, physical: true }).await?;
        let compacted = maintenance.hash_kv(HashKvRequest { revision: 0 }).await?.into_inner();
        assert_eq!((compacted.hash, compacted.compact_revision), (hash, revision));
    }
    Ok(())
}

#[tokio::test]
async fn what_there_is_nothing_to_do_for_succeeds() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut maintenance = server.maintenance();
    assert!(maintenance.alarm(AlarmRequest::default()).await?.into_inner().alarms.is_empty());
    assert!(maintenance.defragment(DefragmentRequest {}).await?.into_inner().header.is_none());
    let own = maintenance.status(StatusRequest {}).await?.into_inner().leader;
    assert!(maintenance.move_leader(MoveLeaderRequest { target_id: own }).await?.into_inner().header.is_none());
    let stranger = maintenance.move_leader(MoveLeaderRequest { target_id: 1 }).await.unwrap_err();
    assert_eq!((stranger.code(), stranger.message()), (Code::FailedPrecondition, "etcdserver: bad leader transferee"));
    Ok(())
}

/// "`compact_revision` is −1 before the first compaction", and which revisions have a hash.
#[tokio::test]
async fn hashes_are_of_revisions_that_can_be_read() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    for n in 0..5 {
        server.kv().put(put("a", &n.to_string())).await?;
    }
    let mut maintenance = server.maintenance();
    let newest = maintenance.hash_kv(HashKvRequest { revision: 0 }).await?.into_inner();
    assert_eq!(maintenance.hash_kv(HashKvRequest { revision: 6 }).await?.into_inner().hash, newest.hash);
    assert_ne!(maintenance.hash_kv(HashKvRequest { revision: 5 }).await?.into_inner().hash, newest.hash);
    server.kv().compact(CompactionRequest { revision: 4, physical: true }).await?;
    for (revision, text) in [(7, "is a future revision"), (3, "has been compacted")] {
        let refused = maintenance.hash_kv(HashKvRequest { revision }).await.unwrap_err();
        let text = format!("etcdserver: mvcc: required revision {text}");
        assert_eq!((refused.code(), refused.message()), (Code::OutOfRange, text.as_str()));
    }
    Ok(())
}

/// §1.5, §2.9: what a downgrade is answered, as etcd 3.6.16 does; only that none begins is ours.
#[tokio::test]
async fn a_downgrade_is_judged_and_not_begun() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let downgrade = |action: DowngradeAction, version: &str| {
        let mut maintenance = server.maintenance();
        let request = DowngradeRequest { action: action.into(), version: version.to_owned() };
        async move { maintenance.downgrade(request).await }
    };
    for (action, version) in
        [(DowngradeAction::Validate, "3.5.0"), (DowngradeAction::Cancel, ""), (DowngradeAction::Cancel, "3.5.0")]
    {
        let stays = downgrade(action, version).await?.into_inner();
        assert_eq!((stays.version.as_str(), stays.header.unwrap_or_default().revision), ("3.6", 1), "{action:?}");
    }
    for (action, version, code, text) in [
        (DowngradeAction::Validate, "3.4.0", Code::InvalidArgument, "etcdserver: invalid downgrade target version"),
        (DowngradeAction::Validate, "x", Code::InvalidArgument, "etcdserver: wrong downgrade target version format"),
        (DowngradeAction::Enable, "3.4.0", Code::InvalidArgument, "etcdserver: invalid downgrade target version"),
        (DowngradeAction::Enable, "3.5.0", Code::FailedPrecondition, "etcdserver: not capable"),
    ] {
        let refused = downgrade(action, version).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (code, text), "{action:?} {version}");
    }
    Ok(())
}
