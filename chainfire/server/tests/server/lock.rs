//! The Lock service (§2.8): a lock is the oldest key below its name.

use std::time::Duration;

use holdfast_proto::{
    etcdserverpb::{
        Compare, LeaseGrantRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, RangeRequest,
        TxnRequest,
        compare::{CompareTarget, TargetUnion},
        request_op::Request,
    },
    mvccpb::KeyValue,
    v3lockpb::{LockRequest, LockResponse, UnlockRequest, lock_client::LockClient},
};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::{Code, Response, Status, transport::Channel};

use crate::{
    doors::{Suite, as_admin},
    kv::{get, put, range},
    support::TestServer,
    three::cluster,
    txn::op,
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

fn client(server: &TestServer) -> LockClient<Channel> {
    LockClient::new(server.channel())
}

fn on(name: &'static str, lease: i64) -> LockRequest {
    LockRequest { name: name.into(), lease }
}

pub(crate) async fn leases(server: &TestServer, ids: &[i64]) -> anyhow::Result<()> {
    for id in ids {
        server.lease().lease_grant(LeaseGrantRequest { ttl: 60, id: *id }).await?;
    }
    Ok(())
}

/// The keys below `name/`, once there are `count`.
pub(crate) async fn line(
    server: &TestServer,
    name: &'static [u8],
    end: &'static [u8],
    count: usize,
) -> anyhow::Result<Vec<KeyValue>> {
    let standing = async {
        loop {
            let found = server.kv().range(range(name, end)).await?.into_inner().kvs;
            if found.len() == count {
                return Ok(found);
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, standing).await?
}

fn waiting(server: &TestServer, request: LockRequest) -> JoinHandle<Result<Response<LockResponse>, Status>> {
    let mut client = client(server);
    tokio::spawn(async move { client.lock(request).await })
}

async fn soon<T>(task: JoinHandle<Result<Response<T>, Status>>) -> anyhow::Result<Result<T, Status>> {
    Ok(timeout(PATIENCE, task).await??.map(Response::into_inner))
}

/// "Key = name + "/" + lowercase hex of lease id (no padding)", with an empty value and the lease.
#[tokio::test]
async fn a_lock_is_an_empty_key_of_the_lease() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    leases(&server, &[0xa]).await?;
    let locked = client(&server).lock(on("mylock", 0xa)).await?.into_inner();
    assert_eq!(locked.key, "mylock/a");
    assert_eq!(locked.header.unwrap_or_default().revision, 2);
    let [kv] = line(&server, b"mylock/", b"mylock0", 1).await?.try_into().unwrap_or_default();
    assert_eq!((kv.key.as_ref(), kv.value.as_ref(), kv.lease), (&b"mylock/a"[..], &b""[..], 0xa));
    // Whoever asks again with the same lease has it already.
    let again = client(&server).lock(on("mylock", 0xa)).await?.into_inner();
    assert_eq!((again.key.as_ref(), line(&server, b"mylock/", b"mylock0", 1).await?.len()), (&b"mylock/a"[..], 1));
    let unlocked = client(&server).unlock(UnlockRequest { key: locked.key }).await?.into_inner();
    assert_eq!(unlocked.header.unwrap_or_default().revision, 3);
    line(&server, b"mylock/", b"mylock0", 0).await?;
    let nothing = client(&server).unlock(UnlockRequest { key: "mylock/a".into() }).await?.into_inner();
    assert_eq!(nothing.header.unwrap_or_default().revision, 3);
    Ok(())
}

/// "lease 0 in LockRequest → server makes a 60 s session lease".
#[tokio::test]
async fn without_a_lease_the_server_makes_one_of_a_minute() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let locked = client(&server).lock(on("l", 0)).await?.into_inner();
    let leases = server.lease().lease_leases(LeaseLeasesRequest {}).await?.into_inner().leases;
    let [lease] = leases.as_slice() else { anyhow::bail!("{leases:?}") };
    assert_eq!(locked.key, format!("l/{:x}", lease.id));
    let asked = LeaseTimeToLiveRequest { id: lease.id, keys: true };
    let lives = server.lease().lease_time_to_live(asked).await?.into_inner();
    assert_eq!((lives.granted_ttl, lives.keys), (60, vec![locked.key]));
    Ok(())
}

/// "(and orphans it: it is *not* kept alive)": whoever goes leaves it to run out, with the lock that is owned; only the
/// place of who still waits is given up.
#[tokio::test]
async fn the_servers_lease_is_nobodys() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let ttl = async |id: i64| {
        let asked = LeaseTimeToLiveRequest { id, keys: true };
        anyhow::Ok(server.lease().lease_time_to_live(asked).await?.into_inner())
    };
    // Of its own connection, which ends with it.
    let mut owner = LockClient::connect(format!("http://{}", server.address)).await?;
    let owned = owner.lock(on("l", 0)).await?.into_inner();
    let waiting = waiting(&server, on("l", 0));
    let [first, second]: [KeyValue; 2] =
        line(&server, b"l/", b"l0", 2).await?.try_into().map_err(|line| anyhow::anyhow!("{line:?}"))?;
    let (owners, waiters) = if first.key == owned.key { (first, second) } else { (second, first) };
    drop(owner);
    waiting.abort();
    let left = line(&server, b"l/", b"l0", 1).await?;
    assert_eq!(left, std::slice::from_ref(&owners));
    let (own, other) = (ttl(owners.lease).await?, ttl(waiters.lease).await?);
    assert_eq!((own.granted_ttl, own.keys), (60, vec![owned.key]));
    assert_eq!((other.granted_ttl, other.keys.len()), (60, 0));
    let running_out = async {
        while ttl(owners.lease).await?.ttl > 57 || ttl(waiters.lease).await?.ttl > 57 {
            sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    };
    timeout(Duration::from_secs(20), running_out).await??;
    assert_eq!(line(&server, b"l/", b"l0", 1).await?, [owners]);
    Ok(())
}

/// "Owner = smallest create_revision. Otherwise wait for deletion of the key with the largest create_revision < mine".
#[tokio::test]
async fn the_next_in_line_owns_the_lock_when_it_is_free() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    leases(&server, &[3, 2, 1]).await?;
    let first = client(&server).lock(on("l", 3)).await?.into_inner();
    let second = waiting(&server, on("l", 2));
    line(&server, b"l/", b"l0", 2).await?;
    let third = waiting(&server, on("l", 1));
    line(&server, b"l/", b"l0", 3).await?;

    client(&server).unlock(UnlockRequest { key: first.key }).await?;
    let second = soon(second).await??;
    assert_eq!(second.key, "l/2");
    assert!(!third.is_finished());
    // A lease that ends gives its lock up.
    server.lease().lease_revoke(LeaseRevokeRequest { id: 2 }).await?;
    let third = soon(third).await??;
    assert_eq!(third.key, "l/1");
    let header = server.kv().range(get("l/1")).await?.into_inner().header.unwrap_or_default();
    assert_eq!(third.header.unwrap_or_default().revision, header.revision);
    Ok(())
}

/// Who gives up in the middle of the line does not let those behind overtake.
#[tokio::test]
async fn a_gap_in_the_line_lets_nobody_overtake() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    leases(&server, &[1, 2, 3]).await?;
    let first = client(&server).lock(on("l", 1)).await?.into_inner();
    let second = waiting(&server, on("l", 2));
    line(&server, b"l/", b"l0", 2).await?;
    let third = waiting(&server, on("l", 3));
    line(&server, b"l/", b"l0", 3).await?;
    second.abort();
    // "on cancel they delete their key".
    let left = line(&server, b"l/", b"l0", 2).await?;
    assert_eq!(left.iter().map(|kv| kv.key.clone()).collect::<Vec<_>>(), ["l/1", "l/3"]);
    assert!(!third.is_finished());
    client(&server).unlock(UnlockRequest { key: first.key }).await?;
    assert_eq!(soon(third).await??.key, "l/3");
    Ok(())
}

/// "finally re-read own key: gone → session expired".
#[tokio::test]
async fn who_lost_the_session_in_the_line_is_told() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    leases(&server, &[1, 2]).await?;
    let first = client(&server).lock(on("l", 1)).await?.into_inner();
    let second = waiting(&server, on("l", 2));
    line(&server, b"l/", b"l0", 2).await?;
    server.lease().lease_revoke(LeaseRevokeRequest { id: 2 }).await?;
    client(&server).unlock(UnlockRequest { key: first.key }).await?;
    let expired = soon(second).await?.unwrap_err();
    assert_eq!((expired.code(), expired.message()), (Code::Unknown, "mutex: session is expired"));
    let missing = client(&server).lock(on("l", 99)).await.unwrap_err();
    assert_eq!((missing.code(), missing.message()), (Code::NotFound, "etcdserver: requested lease not found"));
    Ok(())
}

/// "fencing = compare create_revision in the guarded txn": who has lost the lock changes nothing any more.
#[tokio::test]
async fn a_lock_fences_what_it_guards() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    leases(&server, &[1, 2]).await?;
    let held = client(&server).lock(on("l", 1)).await?.into_inner();
    let [kv] = line(&server, b"l/", b"l0", 1).await?.try_into().unwrap_or_default();
    let guarded = TxnRequest {
        compare: vec![Compare {
            target: CompareTarget::Create.into(),
            key: held.key.clone(),
            target_union: Some(TargetUnion::CreateRevision(kv.create_revision)),
            ..Compare::default()
        }],
        success: vec![op(Request::RequestPut(put("guarded", "v")))],
        failure: Vec::new(),
    };
    assert!(server.kv().txn(guarded.clone()).await?.into_inner().succeeded);
    client(&server).unlock(UnlockRequest { key: held.key }).await?;
    assert!(!server.kv().txn(guarded.clone()).await?.into_inner().succeeded);
    // Not even under the same name.
    client(&server).lock(on("l", 1)).await?;
    assert!(!server.kv().txn(guarded).await?.into_inner().succeeded);
    Ok(())
}

/// Whichever members those in the line have asked.
#[tokio::test]
async fn a_line_goes_through_all_members() -> anyhow::Result<()> {
    let servers = cluster(&[]).await?;
    let [first, second, third] = servers.as_slice() else { anyhow::bail!("three members") };
    first.kv().range(get("ready")).await?;
    leases(second, &[1, 2]).await?;
    let held = client(first).lock(on("l", 1)).await?.into_inner();
    let next = waiting(second, on("l", 2));
    line(third, b"l/", b"l0", 2).await?;
    client(third).unlock(UnlockRequest { key: held.key }).await?;
    assert_eq!(soon(next).await??.key, "l/2");
    Ok(())
}

/// Histories that are compacted while somebody waits change nothing for those who wait.
#[tokio::test]
async fn a_compaction_does_not_disturb_the_line() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    leases(&server, &[1, 2]).await?;
    let first = client(&server).lock(on("l", 1)).await?.into_inner();
    let second = waiting(&server, on("l", 2));
    line(&server, b"l/", b"l0", 2).await?;
    let revision = server.kv().put(put("x", "1")).await?.into_inner().header.unwrap_or_default().revision;
    let compaction = holdfast_proto::etcdserverpb::CompactionRequest { revision, physical: true };
    server.kv().compact(compaction).await?;
    client(&server).unlock(UnlockRequest { key: first.key }).await?;
    assert_eq!(soon(second).await??.key, "l/2");
    Ok(())
}

/// The recipe has the caller's rights on keys, not the server's.
#[tokio::test]
async fn a_lock_takes_the_right_to_its_keys() -> anyhow::Result<()> {
    let suite = Suite::start().await?;
    let mut locks = LockClient::new(suite.channel.clone());
    let own = locks.lock(LockRequest { name: "own/l".into(), lease: 0 }).await?.into_inner();
    let foreign = LockRequest { name: "other".into(), lease: 0 };
    let denied = locks.lock(foreign.clone()).await.unwrap_err();
    assert_eq!((denied.code(), denied.message()), (Code::PermissionDenied, "etcdserver: permission denied"));
    let theirs = locks.lock(as_admin(foreign)).await?.into_inner();
    let denied = locks.unlock(UnlockRequest { key: theirs.key }).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    locks.unlock(UnlockRequest { key: own.key.clone() }).await?;
    let gone = RangeRequest { key: own.key, ..Default::default() };
    assert_eq!(suite.kv().range(gone).await?.into_inner().count, 0);
    suite.end().await;
    Ok(())
}
