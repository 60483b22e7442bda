//! §2.6: ids, creations that fail, what is compacted, and how a watcher or its stream ends.

use holdfast_proto::{
    etcdserverpb::{
        CompactionRequest, DeleteRangeRequest, WatchCancelRequest, WatchCreateRequest, WatchRequest,
        watch_request::RequestUnion,
    },
    mvccpb::event::EventType,
};
use tonic::Code;

use super::{Stream, change, changes, on, prefix, revision};
use crate::{kv::put, support::TestServer};

/// "Server-chosen IDs start at 0 per stream and count up (skipping used ones)".
#[tokio::test]
async fn ids_count_up_and_leave_out_those_in_use() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut stream = Stream::open(&server).await?;
    for (asked, given) in [(1, 1), (0, 0), (0, 2), (3, 3), (0, 4)] {
        assert_eq!(stream.created(WatchCreateRequest { watch_id: asked, ..on("a") }).await?, given);
    }
    assert_eq!(Stream::open(&server).await?.created(on("a")).await?, 0, "of another stream");
    Ok(())
}

#[tokio::test]
async fn failed_creations_are_answered_in_order() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut stream = Stream::open(&server).await?;
    stream.create(WatchCreateRequest { watch_id: 7, ..on("a") }).await?;
    stream.create(WatchCreateRequest { watch_id: 7, ..on("b") }).await?;
    stream.create(prefix("b", "a")).await?;
    stream.create(prefix("b", "b")).await?;
    stream.create(WatchCreateRequest { start_revision: -1, ..on("a") }).await?;
    stream.create(on("c")).await?;
    let mut answers = Vec::new();
    for _ in 0..6 {
        let answer = stream.next().await?;
        assert!(answer.created);
        answers.push((answer.watch_id, answer.canceled, answer.cancel_reason));
    }
    let refused = |reason: &str| (-1, true, reason.to_owned());
    assert_eq!(
        answers,
        [
            (7, false, String::new()),
            refused("mvcc: duplicate watch ID provided on the WatchStream"),
            refused("mvcc: watcher range is empty"),
            refused("mvcc: watcher range is empty"),
            refused("etcdserver: mvcc: required revision has been compacted"),
            (0, false, String::new()),
        ]
    );
    Ok(())
}

/// "Empty key is treated as the single key `"\0"`".
#[tokio::test]
async fn no_key_is_the_smallest_key() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut stream = Stream::open(&server).await?;
    stream.created(on("")).await?;
    for key in ["a", "\0\0", "\0"] {
        server.kv().put(put(key, "v")).await?;
    }
    assert_eq!(changes(&stream.next().await?.events), [change(EventType::Put, "\0", 4)]);
    Ok(())
}

#[tokio::test]
async fn a_compacted_start_is_created_then_canceled() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    for n in 0..5 {
        server.kv().put(put("a", &n.to_string())).await?;
    }
    server.kv().delete_range(DeleteRangeRequest { key: "a".into(), ..Default::default() }).await?;
    server.kv().compact(CompactionRequest { revision: 7, physical: true }).await?;
    let mut stream = Stream::open(&server).await?;
    let id = stream.created(WatchCreateRequest { start_revision: 3, ..on("a") }).await?;
    let canceled = stream.next().await?;
    assert_eq!((canceled.watch_id, canceled.canceled, canceled.compact_revision), (id, true, 7));
    assert_eq!((revision(&canceled), canceled.cancel_reason.as_str()), (0, ""));
    // The deletion exactly at the compacted revision can still be seen.
    stream.created(WatchCreateRequest { start_revision: 7, ..on("a") }).await?;
    assert_eq!(changes(&stream.next().await?.events), [change(EventType::Delete, "a", 7)]);
    Ok(())
}

/// "The same cancel hits a slow watcher overtaken by a compaction."
#[tokio::test]
async fn a_slow_watcher_is_canceled_when_a_compaction_overtakes_it() -> anyhow::Result<()> {
    const WRITES: i64 = 20;
    let server = TestServer::start().await?;
    let mut stream = Stream::open(&server).await?;
    let id = stream.created(on("a")).await?;
    // More than waits for a client that does not read.
    let value = "x".repeat(700 << 10);
    for _ in 0..WRITES {
        server.kv().put(put("a", &value)).await?;
    }
    let newest = 1 + WRITES;
    server.kv().compact(CompactionRequest { revision: newest, physical: true }).await?;
    let mut next = 2;
    let canceled = loop {
        let response = stream.next().await?;
        if response.canceled {
            break response;
        }
        assert_eq!(changes(&response.events), [change(EventType::Put, "a", next)]);
        next += 1;
    };
    assert!((3..newest).contains(&next), "{next}");
    assert_eq!((canceled.watch_id, canceled.compact_revision, revision(&canceled)), (id, newest, 0));
    assert_eq!(canceled.cancel_reason, "");
    Ok(())
}

#[tokio::test]
async fn only_living_watchers_are_canceled_aloud() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut stream = Stream::open(&server).await?;
    let id = stream.created(on("a")).await?;
    for watch_id in [404, id, id] {
        stream.send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id })).await?;
    }
    let canceled = stream.next().await?;
    assert_eq!((canceled.watch_id, canceled.canceled), (id, true));
    server.kv().put(put("a", "1")).await?;
    let next = stream.created(on("b")).await?;
    assert_eq!(next, id + 1);
    Ok(())
}

/// "Unknown request types are ignored."
#[tokio::test]
async fn what_is_not_understood_is_not_answered() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut stream = Stream::open(&server).await?;
    stream.ask.send(WatchRequest { request_union: None }).await?;
    stream.created(on("a")).await?;
    Ok(())
}

/// "Stream dies … on server stop": with what makes clients go on at another server. What etcd says then reaches nobody,
/// because it closes the connections first.
#[tokio::test]
async fn a_server_that_stops_ends_its_streams() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut stream = Stream::open(&server).await?;
    stream.created(on("a")).await?;
    server.end().await?;
    let ended = stream.answers.message().await.unwrap_err();
    assert_eq!((ended.code(), ended.message()), (Code::Unavailable, "etcdserver: server stopped"));
    Ok(())
}
