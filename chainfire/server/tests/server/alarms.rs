//! §2.9: alarms and the quota, on real servers.

use holdfast_proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest,
    RangeRequest, StatusRequest, TxnRequest, alarm_request::AlarmAction, request_op::Request,
};
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

use crate::{
    kv::{get, put, range},
    pages::ask,
    support::TestServer,
    three::{PATIENCE, cluster, id},
    txn::op,
};

async fn alarm(
    server: &TestServer,
    action: AlarmAction,
    member_id: u64,
    kind: AlarmType,
) -> Result<Vec<AlarmMember>, Status> {
    let request = AlarmRequest { action: action.into(), member_id, alarm: kind.into() };
    Ok(server.maintenance().alarm(request).await?.into_inner().alarms)
}

async fn active(server: &TestServer) -> Result<Vec<AlarmMember>, Status> {
    alarm(server, AlarmAction::Get, 0, AlarmType::None).await
}

fn refused<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    match result {
        Err(status) => (status.code(), status.message().to_owned()),
        Ok(answer) => panic!("not refused: {answer:?}"),
    }
}

fn no_space() -> (Code, String) {
    (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded".to_owned())
}

fn corrupt() -> (Code, String) {
    (Code::DataLoss, "etcdserver: corrupt cluster".to_owned())
}

/// Writes until the quota is reached; that write is refused.
async fn fill(server: &TestServer) -> anyhow::Result<()> {
    for n in 0..100 {
        match server.kv().put(put(&format!("fill/{n}"), &"x".repeat(1_000))).await {
            Ok(_) => {}
            Err(status) => {
                assert_eq!((status.code(), status.message().to_owned()), no_space());
                assert!((10..25).contains(&n), "after {n} writes");
                return Ok(());
            }
        }
    }
    anyhow::bail!("the quota is not kept")
}

/// Deletes and forgets what [`fill`] wrote.
async fn empty(server: &TestServer) -> anyhow::Result<()> {
    let all = DeleteRangeRequest { key: "fill/".into(), range_end: "fill0".into(), prev_kv: false };
    let revision = server.kv().delete_range(all).await?.into_inner().header.unwrap_or_default().revision;
    server.kv().compact(CompactionRequest { revision, physical: true }).await?;
    Ok(())
}

#[tokio::test]
async fn a_reached_quota_refuses_writes_until_it_is_disarmed() -> anyhow::Result<()> {
    let server = TestServer::start_with(&["--quota-backend-bytes=20000"]).await?;
    server.lease().lease_grant(LeaseGrantRequest { ttl: 600, id: 7 }).await?;
    fill(&server).await?;
    let status = server.maintenance().status(StatusRequest {}).await?.into_inner();
    let own = status.header.unwrap_or_default().member_id;
    assert_eq!(active(&server).await?, [AlarmMember { member_id: own, alarm: AlarmType::Nospace.into() }]);
    assert_eq!(status.errors, [format!("memberID:{own} alarm:NOSPACE ")]);
    assert_eq!(status.db_size_quota, 20_000);
    assert!(status.db_size_in_use <= 20_000 && status.db_size >= status.db_size_in_use);

    assert_eq!(refused(server.kv().put(put("a", "1")).await), no_space());
    let txn = |request| TxnRequest { failure: vec![op(request)], ..Default::default() };
    assert_eq!(refused(server.kv().txn(txn(Request::RequestPut(put("a", "1")))).await), no_space());
    assert_eq!(refused(server.lease().lease_grant(LeaseGrantRequest { ttl: 600, id: 8 }).await), no_space());
    assert_eq!(server.kv().range(get("fill/0")).await?.into_inner().count, 1);
    server.kv().txn(txn(Request::RequestRange(get("fill/0")))).await?;
    server.lease().lease_revoke(LeaseRevokeRequest { id: 7 }).await?;
    let (line, health) = ask(&server, "GET", "/health").await?;
    assert_eq!((line.contains("503"), health.as_str()), (true, r#"{"health":"false","reason":"ALARM NOSPACE"}"#));
    let (line, _) = ask(&server, "GET", "/health?exclude=CORRUPT&exclude=NOSPACE").await?;
    assert!(line.contains("200"), "{line}");

    empty(&server).await?;
    assert_eq!(refused(server.kv().put(put("a", "1")).await), no_space());
    let disarmed = alarm(&server, AlarmAction::Deactivate, own, AlarmType::Nospace).await?;
    assert_eq!(disarmed.len(), 1);
    assert_eq!(active(&server).await?, []);
    server.kv().put(put("a", "1")).await?;
    assert_eq!(alarm(&server, AlarmAction::Deactivate, own, AlarmType::Nospace).await?, []);
    Ok(())
}

#[tokio::test]
async fn a_negative_quota_is_none() -> anyhow::Result<()> {
    let server = TestServer::start_with(&["--quota-backend-bytes=-1"]).await?;
    server.kv().put(put("a", &"x".repeat(100_000))).await?;
    let status = server.maintenance().status(StatusRequest {}).await?.into_inner();
    assert_eq!(status.db_size_quota, 0);
    assert!(status.db_size_in_use > 100_000);
    Ok(())
}

#[tokio::test]
async fn with_our_own_flag_room_ends_the_alarm() -> anyhow::Result<()> {
    let server = TestServer::start_with(&["--quota-backend-bytes=20000", "--quota-auto-disarm"]).await?;
    fill(&server).await?;
    empty(&server).await?;
    let disarmed = async {
        while !active(&server).await?.is_empty() {
            sleep(std::time::Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, disarmed).await??;
    server.kv().put(put("a", "1")).await?;
    Ok(())
}

#[tokio::test]
async fn a_corrupt_cluster_answers_nothing_but_the_way_out() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    server.lease().lease_grant(LeaseGrantRequest { ttl: 600, id: 7 }).await?;
    server.kv().put(put("a", "1")).await?;
    let own = id(&server).await?;
    assert_eq!(alarm(&server, AlarmAction::Activate, own, AlarmType::Corrupt).await?.len(), 1);
    let (mut kv, mut lease) = (server.kv(), server.lease());
    assert_eq!(refused(kv.put(put("a", "1")).await), corrupt());
    assert_eq!(refused(kv.range(get("a")).await), corrupt());
    assert_eq!(refused(kv.range(RangeRequest { serializable: true, ..get("a") }).await), corrupt());
    assert_eq!(refused(kv.delete_range(DeleteRangeRequest { key: "a".into(), ..Default::default() }).await), corrupt());
    assert_eq!(refused(kv.txn(TxnRequest::default()).await), corrupt());
    assert_eq!(refused(kv.compact(CompactionRequest { revision: 2, physical: false }).await), corrupt());
    assert_eq!(refused(lease.lease_grant(LeaseGrantRequest { ttl: 600, id: 8 }).await), corrupt());
    assert_eq!(refused(lease.lease_revoke(LeaseRevokeRequest { id: 7 }).await), corrupt());

    let (line, health) = ask(&server, "GET", "/health").await?;
    assert_eq!((line.contains("503"), health.as_str()), (true, r#"{"health":"false","reason":"ALARM CORRUPT"}"#));
    let (_, still) = ask(&server, "GET", "/health?exclude=NOSPACE").await?;
    assert_eq!(still, health);
    let (line, body) = ask(&server, "GET", "/readyz?exclude=linearizable_read&exclude=serializable_read").await?;
    assert!(line.contains("503") && body.contains("[-]data_corruption failed: alarm activated: CORRUPT"), "{body}");
    let (_, alone) = ask(&server, "GET", "/readyz/data_corruption").await?;
    assert_eq!(alone, "[-]data_corruption failed: alarm activated: CORRUPT\n\n");

    alarm(&server, AlarmAction::Deactivate, own, AlarmType::Corrupt).await?;
    assert_eq!(kv.range(range(b"\0", b"\0")).await?.into_inner().count, 1);
    Ok(())
}

#[tokio::test]
async fn an_alarm_names_a_member_and_a_kind() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let unknown = alarm(&server, AlarmAction::Activate, 1, AlarmType::Nospace).await;
    assert_eq!(refused(unknown), (Code::NotFound, "etcdserver: member not found".to_owned()));
    let own = id(&server).await?;
    assert_eq!(alarm(&server, AlarmAction::Activate, own, AlarmType::None).await?, []);
    assert_eq!(alarm(&server, AlarmAction::Deactivate, own, AlarmType::Corrupt).await?, []);
    alarm(&server, AlarmAction::Activate, own, AlarmType::Nospace).await?;
    assert_eq!(alarm(&server, AlarmAction::Get, 0, AlarmType::Corrupt).await?, []);
    assert_eq!(alarm(&server, AlarmAction::Get, 0, AlarmType::Nospace).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn one_members_alarm_is_everybodys() -> anyhow::Result<()> {
    let servers = cluster(&["--quota-backend-bytes=20000"]).await?;
    let [first, .., last] = servers.as_slice() else { anyhow::bail!("three servers") };
    fill(first).await?;
    for server in &servers {
        assert_eq!(refused(server.kv().put(put("a", "1")).await), no_space());
        assert_eq!(active(server).await?.len(), 1);
    }
    empty(last).await?;
    alarm(last, AlarmAction::Deactivate, id(first).await?, AlarmType::Nospace).await?;
    for server in &servers {
        server.kv().put(put("a", "1")).await?;
    }
    Ok(())
}
