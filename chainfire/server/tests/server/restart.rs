//! §2.7, §2.9: what is there again after a restart, and what goes on.

use std::time::Duration;

use holdfast_proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseTimeToLiveRequest, RangeRequest, StatusRequest,
    TxnRequest, request_op::Request,
};
use tokio::time::{sleep, timeout};
use tonic::Code;

use crate::kv::{get, put};
use crate::support::TestServer;
use crate::three::PATIENCE;
use crate::txn::op;

#[tokio::test]
async fn everything_acknowledged_is_there_after_a_restart() -> anyhow::Result<()> {
    let slow = ["--heartbeat-interval=500", "--election-timeout=3000"];
    let server = TestServer::start_with(&slow).await?;
    server.kv().put(put("a", "1")).await?;
    server.lease().lease_grant(LeaseGrantRequest { ttl: 60, id: 7 }).await?;
    let server = server.restart_with(&slow).await?;
    let found = server.kv().range(get("a")).await?.into_inner();
    assert_eq!((found.count, found.header.unwrap_or_default().revision), (1, 2));
    let lease = LeaseTimeToLiveRequest { id: 7, keys: false };
    let lease = server.lease().lease_time_to_live(lease).await?.into_inner();
    // §2.7: a new leader gives every lease its whole time again, and an election on top.
    assert!((60..=63).contains(&lease.ttl), "{}", lease.ttl);
    server.kv().put(put("b", "2")).await?;
    Ok(())
}

/// §2.1: the revision "must never go back – not on crash during compaction", even if its own row is compacted away.
#[tokio::test]
async fn the_revision_survives_the_compaction_of_its_row() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    server.kv().put(put("a", "1")).await?;
    let gone = DeleteRangeRequest { key: "a".into(), ..Default::default() };
    server.kv().delete_range(gone).await?;
    server.kv().compact(CompactionRequest { revision: 3, physical: true }).await?;
    let server = server.restart().await?;
    let header = server.kv().range(get("a")).await?.into_inner().header.unwrap_or_default();
    assert_eq!(header.revision, 3);
    let compacted = server.kv().compact(CompactionRequest { revision: 3, physical: false }).await.unwrap_err();
    assert_eq!(compacted.code(), Code::OutOfRange);
    assert_eq!(server.kv().put(put("a", "2")).await?.into_inner().header.unwrap_or_default().revision, 4);
    Ok(())
}

/// Gives `keys` keys `versions` new versions each, one revision for all of them, and returns the last.
async fn rewrite(server: &TestServer, keys: usize, versions: usize) -> anyhow::Result<i64> {
    let mut revision = 0;
    for version in 0..versions {
        let puts = (0..keys).map(|key| op(Request::RequestPut(put(&format!("k{key:04}"), &format!("{version:04}")))));
        let all = TxnRequest { success: puts.collect(), ..TxnRequest::default() };
        revision = server.kv().txn(all).await?.into_inner().header.unwrap_or_default().revision;
    }
    Ok(revision)
}

async fn size(server: &TestServer) -> anyhow::Result<i64> {
    Ok(server.maintenance().status(StatusRequest {}).await?.into_inner().db_size_in_use)
}

/// §2.5: "`physical=true` makes the RPC wait until the deletion is done", and "interrupted compaction resumes at start".
#[tokio::test]
async fn a_compaction_is_waited_for_or_goes_on_after_a_restart() -> anyhow::Result<()> {
    const KEYS: usize = 1_000;
    // As many steps of the removal.
    const VERSIONS: usize = 15;
    let many = format!("--max-txn-ops={KEYS}");
    let server = TestServer::start_with(&[&many]).await?;
    rewrite(&server, KEYS, 1).await?;
    // Later revisions take a little more.
    let one_version = size(&server).await? * 3 / 2;
    let revision = rewrite(&server, KEYS, VERSIONS).await?;
    assert!(size(&server).await? > 10 * one_version);
    server.kv().compact(CompactionRequest { revision, physical: true }).await?;
    let left = size(&server).await?;
    assert!(left < one_version, "waited for: {left} of {one_version}");

    let revision = rewrite(&server, KEYS, VERSIONS).await?;
    server.kv().compact(CompactionRequest { revision, physical: false }).await?;
    let left = size(&server).await?;
    assert!(left > 5 * one_version, "not waited for: {left} of {one_version}");
    let server = server.restart().await?;
    let finished = async {
        while size(&server).await? > one_version {
            sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, finished).await??;
    let newest = server.kv().range(get("k0000")).await?.into_inner();
    assert_eq!(newest.kvs[0].value, format!("{:04}", VERSIONS - 1));
    Ok(())
}

/// §2.5: "Auto-compaction modes".
#[tokio::test]
async fn history_is_compacted_by_itself_where_asked() -> anyhow::Result<()> {
    let retention = ["--auto-compaction-mode=periodic", "--auto-compaction-retention=1s"];
    let server = TestServer::start_with(&retention).await?;
    for value in ["1", "2", "3"] {
        server.kv().put(put("a", value)).await?;
    }
    let compacted = async {
        let early = RangeRequest { revision: 2, ..get("a") };
        loop {
            match server.kv().range(early.clone()).await {
                Ok(_) => sleep(Duration::from_millis(50)).await,
                Err(refused) => return refused,
            }
        }
    };
    let compacted = timeout(PATIENCE, compacted).await?;
    assert_eq!(compacted.message(), "etcdserver: mvcc: required revision has been compacted");
    assert_eq!(server.kv().range(RangeRequest { revision: 4, ..get("a") }).await?.into_inner().kvs[0].value, "3");
    Ok(())
}
