use anyhow::{Context as _, Result};
use holdfast_proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse, watch_request::RequestUnion};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::door::Doors;

/// Watchers that share a stream, as a client library lets them.
const PER_STREAM: usize = 100;

/// An open stream whose watchers all exist; it ends with the first half.
pub(super) struct Stream {
    _requests: mpsc::Sender<WatchRequest>,
    pub(super) responses: Streaming<WatchResponse>,
}

/// Opens `count` watchers, the n-th as `watcher(n)` says.
pub(super) async fn open(
    doors: &Doors,
    count: usize,
    watcher: impl Fn(usize) -> WatchCreateRequest,
) -> Result<Vec<Stream>> {
    let mut opening = JoinSet::new();
    let numbers: Vec<usize> = (0..count).collect();
    for (stream, numbers) in numbers.chunks(PER_STREAM).enumerate() {
        let watchers = numbers.iter().map(|number| watcher(*number)).collect();
        opening.spawn(one(doors.clone(), stream, watchers));
    }
    let mut streams = Vec::new();
    while let Some(stream) = opening.join_next().await {
        streams.push(stream??);
    }
    Ok(streams)
}

async fn one(doors: Doors, number: usize, watchers: Vec<WatchCreateRequest>) -> Result<Stream> {
    let wanted = watchers.len();
    let (requests, asked) = mpsc::channel(wanted);
    for create in watchers {
        requests.send(WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }).await?;
    }
    let mut responses = doors.watch(number).watch(ReceiverStream::new(asked)).await?.into_inner();
    let mut created = 0;
    while created < wanted {
        let response = responses.message().await?.context("a watch stream ended")?;
        created += usize::from(response.created);
    }
    Ok(Stream { _requests: requests, responses })
}
