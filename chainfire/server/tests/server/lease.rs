//! Leases (§2.7): granted, kept alive, revoked and expired.

use std::time::{Duration, Instant};

use holdfast_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse, PutRequest, RangeRequest,
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
    assert_eq!(grant(&server, 10, 0).await?, (10, 2));
    assert_eq!(grant(&server, 11, 9_000_000_000).await?, (11, 9_000_000_000));
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
    // Whole seconds, rounded down: a moment after the grant one of them is not whole any more.
    assert!((50..=59).contains(&known.ttl), "{}", known.ttl);

    let revoked = server.lease().lease_revoke(LeaseRevokeRequest { id: 7 }).await?.into_inner();
    assert_eq!(revoked.header.unwrap_or_default().revision, 6);
    assert_eq!(server.kv().range(get("a")).await?.into_inner().count, 0);
    assert_eq!(server.kv().range(get("kept")).await?.into_inner().count, 1);
    let gone = time_to_live(&server, 7).await?;
    assert_eq!((gone.id, gone.ttl, gone.granted_ttl, gone.keys.len()), (7, -1, 0, 0));
    let missing = server.lease().lease_revoke(LeaseRevokeRequest { id: 7 }).await.unwrap_err();
    assert_eq!((missing.code(), missing.message()), (Code::NotFound, "etcdserver: requested lease not found"));
    Ok(())
}

/// "LeaseLeases: sorted by expiry on the serving member".
#[tokio::test]
async fn leases_are_listed_by_their_end() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    for (id, ttl) in [(7, 60), (6, 90), (9, 30)] {
        grant(&server, id, ttl).await?;
    }
    let leases = server.lease().lease_leases(LeaseLeasesRequest {}).await?.into_inner().leases;
    assert_eq!(leases.iter().map(|lease| lease.id).collect::<Vec<_>>(), [9, 7, 6]);
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
        seen.push((answer.id, answer.ttl, answer.header.unwrap_or_default().revision));
    }
    assert_eq!(seen, [(7, 60, 1), (404, 0, 1), (7, 60, 1)]);
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

/// "Renew on an expired-but-not-yet-revoked lease waits for the revoke": who hears that it is gone finds no key of it.
#[tokio::test]
async fn a_renewal_that_comes_too_late_waits_for_the_end() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut over = Vec::new();
    // Spread over the time from one scan for expired leases to the next.
    for id in 1..=5 {
        let (_, ttl) = grant(&server, id, 2).await?;
        over.push((id, Instant::now() + Duration::from_secs(u64::try_from(ttl)?)));
        server.kv().put(PutRequest { lease: id, ..put(&format!("k{id}"), "v") }).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (id, over) in over {
        tokio::time::sleep_until(over.into()).await;
        let request = tokio_stream::iter([LeaseKeepAliveRequest { id }]);
        let answer = server.lease().lease_keep_alive(request).await?.into_inner().message().await?.unwrap_or_default();
        let stale = RangeRequest { serializable: true, ..get(&format!("k{id}")) };
        assert_eq!((answer.ttl, server.kv().range(stale).await?.into_inner().count), (0, 0), "{id}");
    }
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
