use std::time::{Duration, Instant};

use holdfast_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse, PutRequest,
};
use tokio::time::timeout;
use tonic::Code;

use crate::kv::{get, put};
use crate::support::TestServer;

async fn grant(server: &TestServer, id: i64, ttl: i64) -> Result<(i64, i64), tonic::Status> {
    let granted = server.lease().lease_grant(LeaseGrantRequest { ttl, id }).await?.into_inner();
    Ok((granted.id, granted.ttl))
}

async fn time_to_live(server: &TestServer, id: i64) -> anyhow::Result<LeaseTimeToLiveResponse> {
    let request = LeaseTimeToLiveRequest { id, keys: true };
    Ok(server.lease().lease_time_to_live(request).await?.into_inner())
}

#[tokio::test]
async fn grants_are_bounded() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    assert_eq!(grant(&server, 7, 1).await?, (7, 2));
    assert_eq!(grant(&server, 8, -5).await?, (8, 2));
    let (chosen, _) = grant(&server, 0, 60).await?;
    assert!(chosen > 0);
    let twice = grant(&server, 7, 60).await.unwrap_err();
    assert_eq!((twice.code(), twice.message()), (Code::FailedPrecondition, "etcdserver: lease already exists"));
    let long = grant(&server, 9, 9_000_000_001).await.unwrap_err();
    assert_eq!((long.code(), long.message()), (Code::OutOfRange, "etcdserver: too large lease TTL"));
    let header = server.kv().range(get("a")).await?.into_inner().header.unwrap_or_default();
    assert_eq!(header.revision, 1);
    Ok(())
}

#[tokio::test]
async fn a_revoked_lease_takes_its_keys_along_in_one_revision() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    grant(&server, 7, 60).await?;
    for key in ["b", "a", "kept"] {
        server.kv().put(PutRequest { lease: 7, ..put(key, "v") }).await?;
    }
    server.kv().put(put("kept", "detached")).await?;
    let known = time_to_live(&server, 7).await?;
    assert_eq!((known.granted_ttl, known.keys), (60, vec!["a".into(), "b".into()]));
    assert!((58..=60).contains(&known.ttl));
    let leases = server.lease().lease_leases(LeaseLeasesRequest {}).await?.into_inner().leases;
    assert_eq!(leases.iter().map(|lease| lease.id).collect::<Vec<_>>(), [7]);

    let revoked = server.lease().lease_revoke(LeaseRevokeRequest { id: 7 }).await?.into_inner();
    assert_eq!(revoked.header.unwrap_or_default().revision, 6);
    assert_eq!(server.kv().range(get("a")).await?.into_inner().count, 0);
    assert_eq!(server.kv().range(get("kept")).await?.into_inner().count, 1);
    assert_eq!(time_to_live(&server, 7).await?.ttl, -1);
    let missing = server.lease().lease_revoke(LeaseRevokeRequest { id: 7 }).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    Ok(())
}

#[tokio::test]
async fn keep_alives_are_answered_in_order_and_a_missing_lease_is_no_error() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    grant(&server, 7, 60).await?;
    let requests = [7, 404, 7].map(|id| LeaseKeepAliveRequest { id });
    let mut answers = server.lease().lease_keep_alive(tokio_stream::iter(requests)).await?.into_inner();
    let mut seen = Vec::new();
    while let Some(answer) = answers.message().await? {
        seen.push((answer.id, answer.ttl));
    }
    assert_eq!(seen, [(7, 60), (404, 0), (7, 60)]);
    Ok(())
}

#[tokio::test]
async fn an_expired_lease_ends_but_never_early() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let granted = Instant::now();
    let (id, ttl) = grant(&server, 0, 2).await?;
    let ttl = Duration::from_secs(u64::try_from(ttl)?);
    server.kv().put(PutRequest { lease: id, ..put("session", "v") }).await?;
    let gone = async {
        while server.kv().range(get("session")).await?.into_inner().count > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(Instant::now())
    };
    let gone = timeout(Duration::from_secs(20), gone).await??;
    assert!(gone.duration_since(granted) >= ttl, "ended after {:?}", gone.duration_since(granted));
    assert_eq!(time_to_live(&server, id).await?.ttl, -1);
    Ok(())
}

#[tokio::test]
async fn a_lease_that_is_kept_alive_outlives_its_time() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let (kept, _) = grant(&server, 0, 2).await?;
    let (dropped, _) = grant(&server, 0, 2).await?;
    let (ask, asked) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(asked);
    let mut answers = server.lease().lease_keep_alive(requests).await?.into_inner();
    let ended = async {
        while time_to_live(&server, dropped).await?.ttl >= 0 {
            ask.send(LeaseKeepAliveRequest { id: kept }).await?;
            let answer = answers.message().await?.ok_or_else(|| anyhow::anyhow!("the stream ended"))?;
            anyhow::ensure!(answer.ttl == 2, "not renewed");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        anyhow::Ok(())
    };
    timeout(Duration::from_secs(20), ended).await??;
    assert!(time_to_live(&server, kept).await?.ttl >= 0);
    Ok(())
}
