//! §2.6: starts in the future, and notifications of progress.

use std::time::Duration;

use holdfast_proto::{
    etcdserverpb::{WatchCreateRequest, WatchProgressRequest, watch_request::RequestUnion},
    mvccpb::event::EventType,
};
use tokio::time::timeout;

use super::{Stream, change, changes, on, revision};
use crate::{kv::put, support::TestServer};

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
    let server = TestServer::start_with(&[OFTEN]).await?;
    server.kv().put(put("b", "1")).await?;
    let mut stream = Stream::open(&server).await?;
    let id = stream.created(WatchCreateRequest { progress_notify: true, ..on("a") }).await?;
    let progress = stream.next().await?;
    assert_eq!((progress.watch_id, revision(&progress), progress.events.len()), (id, 2, 0));
    Ok(())
}
