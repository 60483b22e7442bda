//! A member whose data differ is found (§2.9, §3.3): the damage is done to its files while it is down.

use std::{path::Path, time::Duration};

use holdfast_proto::etcdserverpb::{AlarmMember, AlarmRequest, AlarmType, HashRequest};
use rocksdb::{DB, IteratorMode, Options};
use tokio::{net::TcpListener, time::sleep, time::timeout};
use tonic::Code;

use crate::{
    kv::put,
    support::TestServer,
    three::{PATIENCE, cluster, flags, id},
};

/// Changes the newest value in a member's files. Their checksums are right: it is as if apply had gone wrong.
fn tamper(data: &Path) -> anyhow::Result<()> {
    let path = data.join("chainfire-state/generation-1");
    let tables = DB::list_cf(&Options::default(), &path)?;
    let db = DB::open_cf(&Options::default(), &path, tables)?;
    let rows = db.cf_handle("kv.rows").ok_or_else(|| anyhow::anyhow!("no rows"))?;
    let newest = db.iterator_cf(&rows, IteratorMode::End).next();
    let (key, mut value) = newest.ok_or_else(|| anyhow::anyhow!("nothing is stored"))??;
    // Field 5, two bytes: the value.
    let at = value.windows(4).position(|part| part == b"\x2a\x02ok").ok_or_else(|| anyhow::anyhow!("{value:?}"))?;
    value[at + 3] = b'!';
    db.put_cf(&rows, key, value)?;
    Ok(db.flush_cf(&rows)?)
}

async fn damaged(flags_of_all: &[&str], flags_of_damaged: &[&str]) -> anyhow::Result<(Vec<TestServer>, TestServer)> {
    let mut servers = cluster(flags_of_all).await?;
    for n in 0..5 {
        servers[0].kv().put(put(&format!("k{n}"), "ok")).await?;
    }
    let last = servers.pop().ok_or_else(|| anyhow::anyhow!("three servers"))?;
    // It has applied everything, and its orderly end makes that durable.
    last.kv().range(crate::kv::get("k4")).await?;
    let (peers, own) = (last.peers, flags(&servers, &last, flags_of_damaged));
    let folder = last.end().await?;
    tamper(folder.path())?;
    let listener = TcpListener::bind(peers).await?;
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    Ok((servers, TestServer::member_in(folder, &own, listener).await?))
}

async fn alarms(server: &TestServer) -> anyhow::Result<Vec<AlarmMember>> {
    Ok(server.maintenance().alarm(AlarmRequest::default()).await?.into_inner().alarms)
}

async fn found(server: &TestServer) -> anyhow::Result<Vec<AlarmMember>> {
    let raised = async {
        loop {
            match alarms(server).await {
                Ok(alarms) if alarms.is_empty() => sleep(Duration::from_millis(100)).await,
                other => return other,
            }
        }
    };
    timeout(PATIENCE * 2, raised).await?
}

#[tokio::test]
async fn a_member_that_differs_is_found_without_being_asked_for() -> anyhow::Result<()> {
    let (servers, last) = damaged(&[], &[]).await?;
    let wrong = AlarmMember { member_id: id(&last).await?, alarm: AlarmType::Corrupt.into() };
    assert_eq!(found(&servers[0]).await?, [wrong]);
    let refused = servers[0].kv().put(put("a", "1")).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::DataLoss, "etcdserver: corrupt cluster"));
    let hash = |server: &TestServer| {
        let mut maintenance = server.maintenance();
        async move { anyhow::Ok(maintenance.hash(HashRequest {}).await?.into_inner().hash) }
    };
    assert_eq!(hash(&servers[0]).await?, hash(&servers[1]).await?);
    assert_ne!(hash(&servers[0]).await?, hash(&last).await?);
    Ok(())
}

#[tokio::test]
async fn the_whole_store_is_compared_where_that_is_asked_for() -> anyhow::Result<()> {
    let (servers, last) = damaged(&["--experimental-corrupt-check-time=300ms"], &[]).await?;
    let wrong = AlarmMember { member_id: id(&last).await?, alarm: AlarmType::Corrupt.into() };
    assert_eq!(found(&servers[0]).await?, [wrong]);
    Ok(())
}

#[tokio::test]
async fn a_member_that_checks_itself_does_not_serve_what_differs() -> anyhow::Result<()> {
    let (_servers, last) = damaged(&[], &["--experimental-initial-corrupt-check"]).await?;
    let ended = timeout(PATIENCE, last.ended()).await?.unwrap_err().to_string();
    assert!(ended.starts_with("initial corruption check: the data of this member differ from those of"), "{ended}");
    Ok(())
}
