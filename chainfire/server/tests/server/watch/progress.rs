//! §2.6: starts in the future, and notifications of progress.

use std::time::{Duration, Instant};

use holdfast_proto::{
    etcdserverpb::{WatchCreateRequest, WatchProgressRequest, watch_request::RequestUnion},
    mvccpb::event::EventType,
};
use tokio::time::{sleep, timeout};

use super::{Stream, change, changes, on, revision};
use crate::{errors::until, kv::put, support::TestServer};

const OFTEN: &str = "--experimental-watch-progress-notify-interval=100ms";

/// "r > current → silent until r (neither old events nor progress notifications before r)".
#[tokio::test]
async fn the_future_is_silent_until_it_begins() -> anyhow::Result<()> {
    let server = TestServer::start_with(&[OFTEN]).await?;
    let mut stream = Stream::open(&server).await?;
    stream.created(WatchCreateRequest { start_revision: 4, progress_notify: true, ..on("a") }).await?;
    stream.send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await?;
    let early = timeout(Duration::from_millis(500), stream.answers.message()).await;
    assert!(early.is_err(), "{early:?}");
    for n in 0..3 {
        server.kv().put(put("a", &n.to_string())).await?;
    }
    assert_eq!(changes(&stream.next().await?.events), [change(EventType::Put, "a", 4)]);
    // From then on it is told like any other.
    assert_eq!(revision(&stream.next().await?), 4);
    Ok(())
}

/// "one empty response with watch_id −1 if *all* watchers of the stream are synced"; "must work for a never-notified
/// watcher".
#[tokio::test]
async fn progress_is_told_when_asked() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut stream = Stream::open(&server).await?;
    stream.created(on("a")).await?;
    stream.send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await?;
    let quiet = stream.next().await?;
    assert_eq!((quiet.watch_id, revision(&quiet), quiet.events.len()), (-1, 1, 0));
    server.kv().put(put("a", "1")).await?;
    server.kv().put(put("b", "1")).await?;
    assert_eq!(changes(&stream.next().await?.events), [change(EventType::Put, "a", 2)]);
    stream.send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await?;
    let progress = stream.next().await?;
    assert_eq!((progress.watch_id, revision(&progress)), (-1, 3));
    Ok(())
}

/// "Must go through the same queue as events", also when they wait for a client that does not read.
#[tokio::test]
async fn progress_follows_the_events_that_it_speaks_of() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut stream = Stream::open(&server).await?;
    stream.created(on("a")).await?;
    // More than a connection takes, less than makes the watcher read from the disk.
    let value = "x".repeat(700 << 10);
    for _ in 2..=6 {
        server.kv().put(put("a", &value)).await?;
    }
    stream.send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await?;
    // The creation was the first.
    let asked = r#"grpc_server_msg_received_total{grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"} 2"#;
    until(&server, asked).await?;
    for revision in 2..=6 {
        assert_eq!(changes(&stream.next().await?.events), [change(EventType::Put, "a", revision)]);
    }
    let progress = stream.next().await?;
    assert_eq!((progress.watch_id, revision(&progress)), (-1, 6));
    Ok(())
}

#[tokio::test]
async fn idle_watchers_are_told_how_far_the_store_is() -> anyhow::Result<()> {
    let server = TestServer::start_with(&[OFTEN]).await?;
    server.kv().put(put("b", "1")).await?;
    let mut stream = Stream::open(&server).await?;
    let id = stream.created(WatchCreateRequest { progress_notify: true, ..on("a") }).await?;
    let progress = stream.next().await?;
    assert_eq!((progress.watch_id, revision(&progress), progress.events.len()), (id, 2, 0));
    Ok(())
}

/// "empty response per watcher if it saw no event in the last interval": who has just seen one hears nothing.
#[tokio::test]
async fn busy_watchers_are_not_told_how_far_the_store_is() -> anyhow::Result<()> {
    const INTERVAL: Duration = Duration::from_millis(300);
    let server = TestServer::start_with(&["--watch-progress-notify-interval=300ms"]).await?;
    let mut stream = Stream::open(&server).await?;
    stream.created(WatchCreateRequest { progress_notify: true, ..on("a") }).await?;
    let begun = Instant::now();
    let mut last = None;
    while begun.elapsed() < 6 * INTERVAL {
        let written = Instant::now();
        server.kv().put(put("a", "1")).await?;
        while stream.next().await?.events.is_empty() {
            let quiet = last.map_or(INTERVAL, |last: Instant| last.elapsed());
            assert!(quiet >= INTERVAL, "progress {quiet:?} after an event");
        }
        last = Some(written);
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
