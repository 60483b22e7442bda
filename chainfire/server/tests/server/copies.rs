//! Copies of everything that a running server gives away: etcd's `Snapshot` (§2.9) and `Backup` (§0).

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use chainfire_backup::{Item, Reader};
use chainfire_server::Doors;
use holdfast_proto::{
    chainfire::{BackupRequest, admin_client::AdminClient},
    etcdserverpb::{
        CompactionRequest, DeleteRangeRequest, HashKvRequest, LeaseGrantRequest, PutRequest, SnapshotRequest,
        SnapshotResponse, TxnRequest, maintenance_client::MaintenanceClient, request_op::Request,
    },
};
use iam_client::{DisclosureLog, Identity, Refusal};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tonic::{Code, transport::Endpoint};

use crate::{
    kv::put,
    support::{Single, TestServer},
    txn::op,
    users::from,
};

/// A keyspace with history, deletions, leases, a compaction, and values of several pages. The newest revision is 18.
pub(crate) async fn fill(server: &TestServer) -> anyhow::Result<()> {
    let (mut kv, mut lease) = (server.kv(), server.lease());
    let delete = |key: &'static str| DeleteRangeRequest { key: key.into(), ..Default::default() };
    for n in 1..=5 {
        kv.put(put(&format!("k{n}"), &format!("v{n}"))).await?;
    }
    kv.put(put("k1", "again")).await?;
    kv.delete_range(delete("k2")).await?;
    kv.put(put("k2", "back")).await?;
    kv.compact(CompactionRequest { revision: 6, physical: true }).await?;
    kv.delete_range(delete("k3")).await?;
    lease.lease_grant(LeaseGrantRequest { ttl: 600, id: 77 }).await?;
    lease.lease_grant(LeaseGrantRequest { ttl: 700, id: i64::MAX }).await?;
    kv.put(PutRequest { lease: 77, ..put("leased", "x") }).await?;
    kv.put(PutRequest { lease: i64::MAX, ..put("leased", "y") }).await?;
    let success = vec![
        op(Request::RequestPut(put("t1", "a"))),
        op(Request::RequestPut(put("t2", "b"))),
        op(Request::RequestDeleteRange(delete("k4"))),
    ];
    kv.txn(TxnRequest { success, ..Default::default() }).await?;
    for n in 0..4 {
        kv.put(put(&format!("large{n}"), &"x".repeat(1 + n * 300_000))).await?;
    }
    let revision = kv.put(put("last", "")).await?.into_inner().header.unwrap_or_default().revision;
    anyhow::ensure!(revision == LAST, "{revision}");
    Ok(())
}

/// The newest revision of [`fill`], and the compacted one.
pub(crate) const LAST: i64 = 18;
pub(crate) const COMPACTED: i64 = 6;

/// HashKV at every revision that an etcd of any release hashes: up to 3.4 not the compacted one.
pub(crate) async fn hashes(server: &TestServer) -> anyhow::Result<Vec<u32>> {
    let mut hashes = Vec::new();
    for revision in COMPACTED + 1..=LAST {
        hashes.push(server.maintenance().hash_kv(HashKvRequest { revision }).await?.into_inner().hash);
    }
    Ok(hashes)
}

/// All messages of `Snapshot`.
pub(crate) async fn snapshot(server: &TestServer) -> anyhow::Result<Vec<SnapshotResponse>> {
    let mut stream = server.maintenance().snapshot(SnapshotRequest {}).await?.into_inner();
    let mut parts = Vec::new();
    while let Some(part) = stream.message().await? {
        parts.push(part);
    }
    Ok(parts)
}

/// What `snapshot save` would write.
pub(crate) async fn save(server: &TestServer, path: &Path) -> anyhow::Result<()> {
    save_as("", server, path).await
}

/// The same for who holds `token`.
pub(crate) async fn save_as(token: &str, server: &TestServer, path: &Path) -> anyhow::Result<()> {
    let mut stream = server.maintenance().snapshot(from(token, SnapshotRequest {})).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(part) = stream.message().await? {
        bytes.extend_from_slice(&part.blob);
    }
    Ok(std::fs::write(path, bytes)?)
}

pub(crate) async fn backup(server: &TestServer) -> anyhow::Result<Vec<u8>> {
    let mut stream = server.admin().backup(BackupRequest { local: false }).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(part) = stream.message().await? {
        bytes.extend_from_slice(&part.data);
    }
    Ok(bytes)
}

#[tokio::test]
async fn a_snapshot_is_a_bolt_file_and_its_checksum() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    fill(&server).await?;
    let parts = snapshot(&server).await?;
    let (digest, payload) = parts.split_last().ok_or_else(|| anyhow::anyhow!("no parts"))?;
    let length: u64 = payload.iter().map(|part| part.blob.len() as u64).sum();
    assert_eq!(length % 512, 0);
    let mut left = length;
    for part in payload {
        left -= part.blob.len() as u64;
        assert!(part.blob.len() <= 32 << 10 && !part.blob.is_empty());
        assert_eq!((part.remaining_bytes, part.version.as_str()), (left, "3.6.0"));
    }
    assert!(payload.len() > 10, "{} parts", payload.len());
    assert_eq!(payload[0].header.as_ref().map(|header| header.revision), Some(LAST));
    let bytes: Vec<u8> = payload.iter().flat_map(|part| part.blob.to_vec()).collect();
    let expected = ring::digest::digest(&ring::digest::SHA256, &bytes);
    assert_eq!((digest.blob.as_ref(), digest.remaining_bytes), (expected.as_ref(), 0));

    let file = chainfire_bolt::Reader::open(bytes)?;
    let count = |name: &str| -> anyhow::Result<usize> {
        let bucket = file.bucket(name.as_bytes())?.ok_or_else(|| anyhow::anyhow!("no bucket {name}"))?;
        Ok(file.pairs(&bucket)?.collect::<Result<Vec<_>, _>>()?.len())
    };
    // k1 to k5 as compacted; then everything since.
    assert_eq!((count("key")?, count("lease")?, count("members")?, count("meta")?), (5 + 14, 2, 1, 6));
    assert_eq!(count("auth")?, 2, "off, and how often it was changed");
    for empty in ["alarm", "authUsers", "authRoles", "members_removed"] {
        assert_eq!(count(empty)?, 0, "{empty}");
    }
    Ok(())
}

#[tokio::test]
async fn copies_are_few_at_a_time_and_stop_no_writes() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    // More than waits on its way to a client that does not read.
    for n in 0..16 {
        server.kv().put(put(&format!("large{n}"), &"x".repeat(1 << 20))).await?;
    }
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = server.maintenance().snapshot(SnapshotRequest {}).await?.into_inner();
        held.push((stream.message().await?, stream));
    }
    let refused = server.maintenance().snapshot(SnapshotRequest {}).await.err();
    assert_eq!(refused.map(|status| status.message().to_owned()).as_deref(), Some("etcdserver: too many requests"));
    server.kv().put(put("a", "1")).await?;
    held.clear();
    let again = async {
        while snapshot(&server).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::three::PATIENCE, again).await?;
    Ok(())
}

/// What was shown to whom; full if it takes no more.
#[derive(Default)]
struct Shown {
    records: Mutex<Vec<(String, &'static str)>>,
    full: AtomicBool,
}

#[async_trait]
impl DisclosureLog for Shown {
    async fn record_disclosure(&self, caller: &Identity, action: &'static str, _: &str) -> Result<(), Refusal> {
        if self.full.load(Ordering::SeqCst) {
            return Err(Refusal::Unavailable("the decision log is full".to_owned()));
        }
        self.records.lock().push((caller.principal.to_string(), action));
        Ok(())
    }
}

#[tokio::test]
async fn a_copy_of_everything_is_recorded_or_not_given() -> anyhow::Result<()> {
    let (single, shown) = (Single::start().await?, Arc::new(Shown::default()));
    let doors = Doors { disclosures: Some(shown.clone()), ..Doors::open() };
    let router = single.chainfire.routes(doors).into_axum_router();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let channel = Endpoint::new(format!("http://{}", listener.local_addr()?))?.connect_lazy();
    tokio::spawn(holdfast_rpc::serve(listener, router, None, holdfast_rpc::Limits::default(), single.stop.clone()));
    let (mut maintenance, mut admin) = (MaintenanceClient::new(channel.clone()), AdminClient::new(channel));
    drop(maintenance.snapshot(SnapshotRequest {}).await?);
    drop(admin.backup(BackupRequest { local: true }).await?);
    let anonymous = "anonymous".to_owned();
    let expected = [(anonymous.clone(), "maintenance.Snapshot"), (anonymous, "cluster.Backup")];
    assert_eq!(shown.records.lock().as_slice(), expected);
    shown.full.store(true, Ordering::SeqCst);
    let mut refused = async || {
        let snapshot = maintenance.snapshot(SnapshotRequest {}).await.err().map(|status| status.code());
        let backup = admin.backup(BackupRequest { local: true }).await.err().map(|status| status.code());
        (snapshot, backup)
    };
    let answers = loop {
        // The two from before may still be on their way.
        let answers = refused().await;
        if answers.0 != Some(Code::ResourceExhausted) && answers.1 != Some(Code::ResourceExhausted) {
            break answers;
        }
    };
    assert_eq!(answers, (Some(Code::Unavailable), Some(Code::Unavailable)));
    single.end().await;
    Ok(())
}

#[tokio::test]
async fn a_backup_says_what_it_is_and_proves_whole() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    fill(&server).await?;
    let bytes = backup(&server).await?;
    let mut reader = Reader::open(bytes.as_slice(), None)?;
    let manifest = reader.manifest().clone();
    assert_eq!((manifest.revision, manifest.compacted), (LAST, Some(COMPACTED)));
    assert_eq!(manifest.groups.len(), 1);
    assert_eq!(reader.next_item()?, Some(Item::Group("chainfire".to_owned())));
    let mut frames = 0;
    while let Some(item) = reader.next_item()? {
        assert!(matches!(item, Item::Frame(_)));
        frames += 1;
    }
    assert!(frames > 3, "{frames}");
    Ok(())
}
