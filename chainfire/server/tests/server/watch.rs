use std::time::Duration;

use holdfast_proto::{
    etcdserverpb::{
        CompactionRequest, DeleteRangeRequest, PutRequest, RequestOp, TxnRequest, WatchCancelRequest,
        WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse, request_op::Request,
        watch_create_request::FilterType, watch_request::RequestUnion,
    },
    mvccpb::{Event, event::EventType},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::kv::put;
use crate::support::TestServer;

/// A client's watch stream.
struct Stream {
    ask: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
}

impl Stream {
    async fn open(server: &TestServer) -> anyhow::Result<Self> {
        let (ask, asked) = mpsc::channel(16);
        let answers = server.watch().watch(ReceiverStream::new(asked)).await?.into_inner();
        Ok(Self { ask, answers })
    }

    async fn send(&self, request: RequestUnion) -> anyhow::Result<()> {
        Ok(self.ask.send(WatchRequest { request_union: Some(request) }).await?)
    }

    async fn create(&self, request: WatchCreateRequest) -> anyhow::Result<()> {
        self.send(RequestUnion::CreateRequest(request)).await
    }

    async fn next(&mut self) -> anyhow::Result<WatchResponse> {
        let next = timeout(Duration::from_secs(20), self.answers.message()).await??;
        next.ok_or_else(|| anyhow::anyhow!("the stream ended"))
    }

    /// Creates a watcher and expects that to work.
    async fn created(&mut self, request: WatchCreateRequest) -> anyhow::Result<i64> {
        self.create(request).await?;
        let created = self.next().await?;
        anyhow::ensure!(created.created && !created.canceled, "not created: {created:?}");
        Ok(created.watch_id)
    }
}

fn on(key: &'static str) -> WatchCreateRequest {
    WatchCreateRequest { key: key.into(), ..Default::default() }
}

fn prefix(key: &'static str, end: &'static str) -> WatchCreateRequest {
    WatchCreateRequest { range_end: end.into(), ..on(key) }
}

fn revision(response: &WatchResponse) -> i64 {
    response.header.as_ref().map_or(0, |header| header.revision)
}

fn changes(events: &[Event]) -> Vec<(EventType, String, i64)> {
    let change = |event: &Event| {
        let kv = event.kv.clone().unwrap_or_default();
        (event.r#type(), String::from_utf8_lossy(&kv.key).into_owned(), kv.mod_revision)
    };
    events.iter().map(change).collect()
}

fn change(kind: EventType, key: &str, revision: i64) -> (EventType, String, i64) {
    (kind, key.to_owned(), revision)
}

#[tokio::test]
async fn events_arrive_live_with_the_old_value_where_asked() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    server.kv().put(put("a", "0")).await?;
    let mut stream = Stream::open(&server).await?;
    stream.create(WatchCreateRequest { prev_kv: true, ..on("a") }).await?;
    let created = stream.next().await?;
    assert_eq!((created.created, created.watch_id, revision(&created)), (true, 0, 2));
    server.kv().put(put("a", "1")).await?;
    server.kv().put(put("other", "1")).await?;
    server.kv().delete_range(DeleteRangeRequest { key: "a".into(), ..Default::default() }).await?;

    let first = stream.next().await?;
    assert_eq!(revision(&first), 3);
    assert_eq!(changes(&first.events), [change(EventType::Put, "a", 3)]);
    let old = first.events.first().and_then(|event| event.prev_kv.clone()).unwrap_or_default();
    assert_eq!(old.value, "0");
    let second = stream.next().await?;
    assert_eq!(changes(&second.events), [change(EventType::Delete, "a", 5)]);
    let gone = second.events.first().and_then(|event| event.kv.clone()).unwrap_or_default();
    assert_eq!((gone.create_revision, gone.version, gone.value.len()), (0, 0, 0));
    Ok(())
}

#[tokio::test]
async fn history_comes_first_and_nothing_is_lost_or_repeated() -> anyhow::Result<()> {
    const PAST: i64 = 500;
    const LIVE: i64 = 500;
    let server = TestServer::start().await?;
    for n in 0..PAST {
        server.kv().put(put(&format!("k{}", n % 7), "v")).await?;
    }
    let mut stream = Stream::open(&server).await?;
    stream.created(WatchCreateRequest { start_revision: 2, ..prefix("k", "l") }).await?;
    let mut kv = server.kv();
    let writing = tokio::spawn(async move {
        for n in 0..LIVE {
            kv.put(put(&format!("k{}", n % 7), "v")).await?;
        }
        anyhow::Ok(())
    });
    let mut seen = Vec::new();
    while (seen.len() as i64) < PAST + LIVE {
        seen.extend(changes(&stream.next().await?.events).into_iter().map(|(_, _, revision)| revision));
    }
    writing.await??;
    assert_eq!(seen, (2..2 + PAST + LIVE).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn a_stream_that_is_not_read_loses_nothing_and_holds_up_nobody() -> anyhow::Result<()> {
    const WRITES: usize = 3_000;
    let server = TestServer::start().await?;
    let mut stream = Stream::open(&server).await?;
    stream.created(prefix("k", "l")).await?;
    let value = "x".repeat(2_000);
    for _ in 0..WRITES / 100 {
        let op = |n: usize| RequestOp { request: Some(Request::RequestPut(put(&format!("k{n}"), &value))) };
        for _ in 0..100 {
            server.kv().txn(TxnRequest { success: vec![op(0), op(1)], ..Default::default() }).await?;
        }
    }
    let mut next = 2;
    while next < 2 + WRITES as i64 {
        for pair in changes(&stream.next().await?.events).chunks(2) {
            let expected = [change(EventType::Put, "k0", next), change(EventType::Put, "k1", next)];
            assert_eq!(pair, expected);
            next += 1;
        }
    }
    Ok(())
}

#[tokio::test]
async fn failed_creations_are_answered_in_order() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut stream = Stream::open(&server).await?;
    stream.create(WatchCreateRequest { watch_id: 7, ..on("a") }).await?;
    stream.create(WatchCreateRequest { watch_id: 7, ..on("b") }).await?;
    stream.create(prefix("b", "a")).await?;
    stream.create(WatchCreateRequest { start_revision: -1, ..on("a") }).await?;
    stream.create(on("c")).await?;
    let mut answers = Vec::new();
    for _ in 0..5 {
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
            refused("etcdserver: mvcc: required revision has been compacted"),
            (0, false, String::new()),
        ]
    );
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

#[tokio::test]
async fn the_future_is_silent_until_it_begins() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut stream = Stream::open(&server).await?;
    stream.created(WatchCreateRequest { start_revision: 4, ..on("a") }).await?;
    stream.send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await?;
    for n in 0..3 {
        server.kv().put(put("a", &n.to_string())).await?;
    }
    assert_eq!(changes(&stream.next().await?.events), [change(EventType::Put, "a", 4)]);
    Ok(())
}

#[tokio::test]
async fn progress_follows_the_events_that_it_speaks_of() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut stream = Stream::open(&server).await?;
    stream.created(on("a")).await?;
    stream.send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await?;
    let quiet = stream.next().await?;
    assert_eq!((quiet.watch_id, revision(&quiet), quiet.events.len()), (-1, 1, 0));
    server.kv().put(put("a", "1")).await?;
    server.kv().put(put("b", "1")).await?;
    stream.send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await?;
    assert_eq!(changes(&stream.next().await?.events), [change(EventType::Put, "a", 2)]);
    let progress = stream.next().await?;
    assert_eq!((progress.watch_id, revision(&progress)), (-1, 3));
    Ok(())
}

#[tokio::test]
async fn idle_watchers_are_told_how_far_the_store_is() -> anyhow::Result<()> {
    let server = TestServer::start_with(&["--experimental-watch-progress-notify-interval=100ms"]).await?;
    server.kv().put(put("b", "1")).await?;
    let mut stream = Stream::open(&server).await?;
    let id = stream.created(WatchCreateRequest { progress_notify: true, ..on("a") }).await?;
    let progress = stream.next().await?;
    assert_eq!((progress.watch_id, revision(&progress), progress.events.len()), (id, 2, 0));
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

#[tokio::test]
async fn filtered_events_send_nothing() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut stream = Stream::open(&server).await?;
    let filters = vec![FilterType::Noput.into()];
    stream.created(WatchCreateRequest { filters, ..on("a") }).await?;
    server.kv().put(put("a", "1")).await?;
    server.kv().delete_range(DeleteRangeRequest { key: "a".into(), ..Default::default() }).await?;
    assert_eq!(changes(&stream.next().await?.events), [change(EventType::Delete, "a", 3)]);
    Ok(())
}

#[tokio::test]
async fn large_revisions_come_in_fragments_where_asked() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let half = PutRequest { value: vec![b'x'; 700 << 10].into(), ..Default::default() };
    let op = |key: &'static str| RequestOp {
        request: Some(Request::RequestPut(PutRequest { key: key.into(), ..half.clone() })),
    };
    let both = TxnRequest { success: vec![op("k0"), op("k1")], ..Default::default() };
    server.kv().txn(both.clone()).await?;
    let mut stream = Stream::open(&server).await?;
    // With their old values, two events are too large for one message.
    stream.created(WatchCreateRequest { fragment: true, prev_kv: true, ..prefix("k", "l") }).await?;
    server.kv().txn(both).await?;
    for (key, more) in [("k0", true), ("k1", false)] {
        let part = stream.next().await?;
        assert_eq!(changes(&part.events), [change(EventType::Put, key, 3)]);
        assert_eq!(part.fragment, more);
    }
    Ok(())
}
