//! What etcd has no call for (§0, "Beyond etcd"): a key's whole history, and reads by time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_proto::{
    chainfire::{
        RangeAtRequest, RevisionAtRequest, RevisionAtResponse, Version, VersionsRequest, VersionsResponse,
        history_client::HistoryClient,
    },
    etcdserverpb::{CompactionRequest, DeleteRangeRequest, RangeRequest},
    mvccpb::event::EventType,
};
use tonic::{Code, transport::Channel};

use crate::{
    doors::Suite,
    kv::{get, put, range},
    support::TestServer,
};

fn client(server: &TestServer) -> HistoryClient<Channel> {
    HistoryClient::new(server.channel())
}

fn of(key: &'static str) -> VersionsRequest {
    VersionsRequest { key: key.into(), ..VersionsRequest::default() }
}

async fn parts(server: &TestServer, request: VersionsRequest) -> anyhow::Result<Vec<VersionsResponse>> {
    let mut stream = client(server).versions(request).await?.into_inner();
    let mut parts = Vec::new();
    while let Some(part) = stream.message().await? {
        parts.push(part);
    }
    Ok(parts)
}

fn told(parts: &[VersionsResponse]) -> Vec<(EventType, i64, String)> {
    let told = |version: &Version| {
        let kv = version.kv.clone().unwrap_or_default();
        (version.r#type(), kv.mod_revision, String::from_utf8_lossy(&kv.value).into_owned())
    };
    parts.iter().flat_map(|part| part.versions.iter().map(told)).collect()
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The clock's next millisecond.
async fn later(than: i64) -> i64 {
    while now_ms() <= than {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    now_ms()
}

#[tokio::test]
async fn a_keys_history_tells_every_version_and_its_time() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let began = now_ms();
    for value in ["1", "2"] {
        server.kv().put(put("a", value)).await?;
    }
    server.kv().delete_range(DeleteRangeRequest { key: "a".into(), ..Default::default() }).await?;
    server.kv().put(put("b", "x")).await?;
    server.kv().put(put("a", "3")).await?;
    let ended = now_ms();

    let history = parts(&server, of("a")).await?;
    let put = |revision, value: &str| (EventType::Put, revision, value.to_owned());
    let all = vec![put(2, "1"), put(3, "2"), (EventType::Delete, 4, String::new()), put(6, "3")];
    assert_eq!(told(&history), all);
    assert!(history.iter().all(|part| part.header.unwrap_or_default().revision == 6 && part.compact_revision == 0));
    let times: Vec<_> = history.iter().flat_map(|part| part.versions.iter().map(|version| version.time_ms)).collect();
    assert!(times.is_sorted() && times[0] >= began && times[3] <= ended, "{began} {times:?} {ended}");

    let newest = parts(&server, VersionsRequest { newest_first: true, limit: 2, ..of("a") }).await?;
    assert_eq!(told(&newest), [all[3].clone(), all[2].clone()]);
    let between =
        parts(&server, VersionsRequest { from_revision: 3, to_revision: 5, keys_only: true, ..of("a") }).await?;
    assert_eq!(told(&between), [put(3, ""), all[2].clone()]);
    assert_eq!(told(&parts(&server, of("nobody")).await?), []);
    assert_eq!(parts(&server, of("nobody")).await?.len(), 1);

    server.kv().compact(CompactionRequest { revision: 4, physical: true }).await?;
    let kept = parts(&server, of("a")).await?;
    assert_eq!((told(&kept), kept[0].compact_revision), (all[2..].to_vec(), 4));
    let empty = client(&server).versions(of("")).await.unwrap_err();
    assert_eq!((empty.code(), empty.message()), (Code::InvalidArgument, "etcdserver: key is not provided"));
    Ok(())
}

/// A history of any size comes in parts of bounded size.
#[tokio::test]
async fn a_long_history_comes_in_parts() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    for n in 0..8 {
        server.kv().put(put("a", &format!("{n}{}", "x".repeat(400_000)))).await?;
    }
    let history = parts(&server, of("a")).await?;
    assert_eq!(history.iter().map(|part| part.versions.len()).collect::<Vec<_>>(), [3, 3, 2]);
    let first: Vec<_> = told(&history).iter().map(|(_, _, value)| value[..1].to_owned()).collect();
    assert_eq!(first, ["0", "1", "2", "3", "4", "5", "6", "7"]);
    Ok(())
}

/// "a point-in-time read by revision *or time*".
#[tokio::test]
async fn a_time_names_a_revision_that_can_be_read() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let at = async |time_ms| -> Result<RevisionAtResponse, tonic::Status> {
        Ok(client(&server).revision_at(RevisionAtRequest { time_ms }).await?.into_inner())
    };
    let fresh = at(now_ms()).await?;
    assert_eq!((fresh.revision, fresh.time_ms), (1, 0));
    let empty = later(now_ms()).await;
    later(empty).await;
    server.kv().put(put("a", "1")).await?;
    let one = later(now_ms()).await;
    later(one).await;
    server.kv().put(put("a", "2")).await?;

    assert_eq!(at(empty).await?.revision, 1);
    let found = at(one).await?;
    assert_eq!((found.revision, found.header.unwrap_or_default().revision), (2, 3));
    assert!(found.time_ms > empty && found.time_ms <= one);
    assert_eq!(at(i64::MAX).await?.revision, 3);
    assert_eq!(at(-1).await?.revision, 1);

    let read = async |time_ms| -> Result<_, tonic::Status> {
        let request = RangeAtRequest { time_ms, range: Some(range(b"a", b"b")) };
        let answer = client(&server).range_at(request).await?.into_inner();
        Ok((answer.kvs.first().map(|kv| kv.value.clone()), answer.count))
    };
    assert_eq!(read(one).await?, (Some("1".into()), 1));
    assert_eq!(read(now_ms()).await?, (Some("2".into()), 1));
    assert_eq!(read(empty).await?, (None, 0));
    server.kv().compact(CompactionRequest { revision: 3, physical: true }).await?;
    assert_eq!(read(now_ms()).await?, (Some("2".into()), 1));
    for gone in [at(one).await.map(drop), read(one).await.map(drop)] {
        assert_eq!(gone.unwrap_err().message(), "etcdserver: mvcc: required revision has been compacted");
    }
    Ok(())
}

#[tokio::test]
async fn a_history_takes_the_right_to_its_key() -> anyhow::Result<()> {
    let suite = Suite::start().await?;
    let mut history = HistoryClient::new(suite.channel.clone());
    history.versions(of("own/a")).await?;
    let read = |key: &'static str| RangeAtRequest {
        time_ms: now_ms(),
        range: Some(RangeRequest { serializable: true, ..get(key) }),
    };
    history.range_at(read("own/a")).await?;
    let denied = [history.versions(of("other")).await.map(drop), history.range_at(read("other")).await.map(drop)];
    assert_eq!(denied.map(|denied| denied.unwrap_err().code()), [Code::PermissionDenied; 2]);
    suite.end().await;
    Ok(())
}
