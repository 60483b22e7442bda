//! What was given away comes back: in one server, in three, from an etcd's file (§0, §2.1, §2.9).

use std::path::Path;

use chainfire_backup::{Passphrase, Reader, Writer};
use chainfire_server::restore::{self, Restored, Target};
use holdfast_proto::{
    chainfire::BackupRequest,
    etcdserverpb::{
        DeleteRangeRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, RangeRequest,
        SnapshotRequest, WatchCreateRequest, WatchRequest, watch_request::RequestUnion,
    },
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::Code;

use crate::{
    copies::{LAST, backup, fill, save, save_as},
    kv::{get, put},
    support::TestServer,
    three::PATIENCE,
    users::{QUICK, denied, from, guarded, nobody, refused},
};

const BUMP: u64 = 1_000_000;
const BUMPED: i64 = LAST + 1_000_000;

fn target(folder: &TempDir) -> Target<'_> {
    Target { data_dir: folder.path(), bump: BUMP }
}

/// Everything live, with its revisions.
pub(crate) async fn everything(server: &TestServer) -> anyhow::Result<Vec<holdfast_proto::mvccpb::KeyValue>> {
    let all = RangeRequest { key: "\0".into(), range_end: "\0".into(), ..Default::default() };
    Ok(server.kv().range(all).await?.into_inner().kvs)
}

/// What holds for every restored server.
async fn check(server: &TestServer, before: &[holdfast_proto::mvccpb::KeyValue]) -> anyhow::Result<()> {
    assert_eq!(everything(server).await?, before);
    let now = server.kv().range(get("k1")).await?.into_inner();
    assert_eq!(now.header.unwrap_or_default().revision, BUMPED);
    let past = server.kv().range(RangeRequest { revision: LAST, ..get("k1") }).await.err();
    let past = past.map(|status| status.message().to_owned());
    assert_eq!(past.as_deref(), Some("etcdserver: mvcc: required revision has been compacted"));

    // A client that goes on from what it saw in the old cluster is told to begin anew.
    let create = WatchCreateRequest { key: "k1".into(), start_revision: LAST + 1, ..Default::default() };
    let (ask, asked) = tokio::sync::mpsc::channel(1);
    ask.send(WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }).await?;
    let mut events = server.watch().watch(tokio_stream::wrappers::ReceiverStream::new(asked)).await?.into_inner();
    let created = events.message().await?.unwrap_or_default();
    let canceled = events.message().await?.unwrap_or_default();
    assert!(created.created && canceled.canceled, "{created:?} {canceled:?}");
    assert_eq!(canceled.compact_revision, BUMPED);
    drop(ask);

    let leases = server.lease().lease_leases(LeaseLeasesRequest {}).await?.into_inner().leases;
    let mut ids: Vec<i64> = leases.iter().map(|lease| lease.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [77, i64::MAX]);
    let left = LeaseTimeToLiveRequest { id: i64::MAX, keys: true };
    let left = server.lease().lease_time_to_live(left).await?.into_inner();
    assert_eq!((left.granted_ttl, left.keys.as_slice()), (700, ["leased".into()].as_slice()));
    assert!(left.ttl > 600, "{}", left.ttl);

    let written = server.kv().put(put("k1", "new")).await?.into_inner().header.unwrap_or_default();
    assert_eq!(written.revision, BUMPED + 1);
    server.lease().lease_revoke(LeaseRevokeRequest { id: i64::MAX }).await?;
    assert_eq!(server.kv().range(get("leased")).await?.into_inner().count, 0);
    server.kv().delete_range(DeleteRangeRequest { key: "k5".into(), ..Default::default() }).await?;
    Ok(())
}

#[tokio::test]
async fn a_backup_comes_back() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    fill(&server).await?;
    let (before, bytes) = (everything(&server).await?, backup(&server).await?);
    drop(server);
    let (files, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let file = files.path().join("backup");
    std::fs::write(&file, &bytes)?;
    let restored = restore::from_backup(&file, None, target(&folder), &[])?;
    let expected = Restored { revision: LAST, bumped: BUMPED, groups: vec!["chainfire".to_owned()], notes: Vec::new() };
    assert_eq!(restored, expected);
    let again = restore::from_backup(&file, None, target(&folder), &[]).unwrap_err();
    assert!(again.to_string().contains("not empty"), "{again}");
    let server = TestServer::open(folder, &[]).await?;
    check(&server, &before).await?;
    let server = server.restart().await?;
    assert_eq!(server.kv().range(get("k1")).await?.into_inner().kvs[0].value, "new");
    Ok(())
}

#[tokio::test]
async fn damage_is_refused_before_the_folder_is_touched() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    fill(&server).await?;
    let (bytes, files) = (backup(&server).await?, tempfile::tempdir()?);
    let write = |name: &str, bytes: &[u8]| {
        let path = files.path().join(name);
        std::fs::write(&path, bytes).map(|()| path)
    };
    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let saved = files.path().join("saved");
    save(&server, &saved).await?;
    let mut snapshot = std::fs::read(&saved)?;
    snapshot[100_000] ^= 1;
    let folder = files.path().join("data");
    let target = Target { data_dir: &folder, bump: BUMP };
    for (name, damaged) in [("flipped", &flipped[..]), ("cut", &bytes[..bytes.len() - 10]), ("empty", b"")] {
        let error = restore::from_backup(&write(name, damaged)?, None, target, &[]).unwrap_err();
        assert!(matches!(error, restore::RestoreError::Backup(_)), "{name}: {error}");
        assert!(!folder.exists(), "{name}");
    }
    let error = restore::from_etcd(&write("snapshot", &snapshot)?, target).unwrap_err();
    assert!(matches!(error, restore::RestoreError::Checksum), "{error}");
    for (name, other) in [("backup", &bytes[..]), ("text", b"no database"), ("none", b"")] {
        assert!(restore::from_etcd(&write(name, other)?, target).is_err(), "{name}");
    }
    assert!(!folder.exists());
    Ok(())
}

#[tokio::test]
async fn an_encrypted_backup_comes_back_with_its_passphrase() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    fill(&server).await?;
    let (before, bytes) = (everything(&server).await?, backup(&server).await?);
    let (files, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (file, secret) = (files.path().join("backup"), Passphrase::new(b"correct horse battery")?);
    // As florctl does it, on the operator's side.
    let mut reader = Reader::open(bytes.as_slice(), None)?;
    let mut writer = Writer::begin(std::fs::File::create(&file)?, reader.manifest().clone(), Some(&secret))?;
    while let Some(item) = reader.next_item()? {
        writer.item(item)?;
    }
    writer.finish()?;
    let refused = restore::from_backup(&file, None, target(&folder), &[]).unwrap_err();
    assert!(refused.to_string().contains("passphrase"), "{refused}");
    restore::from_backup(&file, Some(&secret), target(&folder), &[])?;
    check(&TestServer::open(folder, &[]).await?, &before).await
}

#[tokio::test]
async fn our_own_snapshot_comes_back_as_an_etcds() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    fill(&server).await?;
    let (before, files) = (everything(&server).await?, tempfile::tempdir()?);
    let saved = files.path().join("saved");
    save(&server, &saved).await?;
    drop(server);
    from_file(&saved, &before).await?;
    // Without the checksum it is what lies in an etcd's data folder.
    let bytes = std::fs::read(&saved)?;
    let database = files.path().join("db");
    std::fs::write(&database, &bytes[..bytes.len() - 32])?;
    from_file(&database, &before).await
}

pub(crate) async fn from_file(file: &Path, before: &[holdfast_proto::mvccpb::KeyValue]) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let restored = restore::from_etcd(file, target(&folder))?;
    assert_eq!((restored.revision, restored.bumped), (LAST, BUMPED));
    check(&TestServer::open(folder, &[]).await?, before).await
}

#[tokio::test]
async fn three_members_begin_with_one_restored_folder() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    fill(&server).await?;
    let (before, bytes) = (everything(&server).await?, backup(&server).await?);
    drop(server);
    let (files, first) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let file = files.path().join("backup");
    std::fs::write(&file, &bytes)?;
    restore::from_backup(&file, None, target(&first), &[])?;

    let names = ["x", "y", "z"];
    let mut listeners = Vec::new();
    for _ in names {
        listeners.push(TcpListener::bind("127.0.0.1:0").await?);
    }
    let addresses: Result<Vec<_>, _> = listeners.iter().map(TcpListener::local_addr).collect();
    let members: Vec<_> =
        names.iter().zip(addresses?).map(|(name, address)| format!("{name}=http://{address}")).collect();
    let cluster = format!("--initial-cluster={}", members.join(","));
    let mut folders = vec![first, tempfile::tempdir()?, tempfile::tempdir()?];
    // The first waits for the others while it opens.
    let opening = names.iter().zip(listeners).map(|(name, listener)| {
        let (own, cluster, folder) = (format!("--name={name}"), cluster.as_str(), folders.remove(0));
        async move { TestServer::member_in(folder, &[&own, cluster], listener).await }
    });
    let servers = futures::future::try_join_all(opening).await?;
    check(&servers[2], &before).await?;
    let everywhere = everything(&servers[0]).await?;
    for server in &servers {
        assert_eq!(everything(server).await?, everywhere);
    }
    Ok(())
}

#[tokio::test]
async fn users_come_along_and_only_root_makes_copies() -> anyhow::Result<()> {
    let (server, root, mira) = guarded().await?;
    server.kv().put(from(&root, put("r/a", "1"))).await?;
    assert_eq!(refused(server.maintenance().snapshot(from(&mira, SnapshotRequest {})).await), denied());
    assert_eq!(refused(server.admin().backup(from(&mira, BackupRequest { local: false })).await), denied());
    assert_eq!(refused(server.admin().backup(BackupRequest { local: false }).await), nobody());
    let (files, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let saved = files.path().join("saved");
    save_as(&root, &server, &saved).await?;
    drop(server);

    let restored = restore::from_etcd(&saved, target(&folder))?;
    assert!(restored.notes.iter().any(|note| note.contains("authentication is enabled")), "{restored:?}");
    let server = TestServer::member_in(folder, &[QUICK], TcpListener::bind("127.0.0.1:0").await?).await?;
    let login = async {
        loop {
            match server.log_in("mira").await {
                Err(status) if status.code() == Code::Unavailable => tokio::task::yield_now().await,
                answered => return answered,
            }
        }
    };
    let mira = tokio::time::timeout(PATIENCE, login).await??;
    assert_eq!(server.kv().range(from(&mira, get("r/a"))).await?.into_inner().count, 1);
    assert_eq!(refused(server.kv().put(from(&mira, put("r/a", "2"))).await), denied());
    server.kv().put(from(&mira, put("rw/a", "2"))).await?;
    assert_eq!(refused(server.kv().range(get("r/a")).await), nobody());
    Ok(())
}
