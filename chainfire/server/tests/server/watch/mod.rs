//! Watch streams (§2.6): what creates and ends a watcher, which events it gets, and what tells how far it is.

mod creations;
mod events;
mod progress;

use std::time::Duration;

use holdfast_proto::{
    etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse, watch_request::RequestUnion},
    mvccpb::{Event, event::EventType},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Extensions, Request, Streaming, metadata::MetadataMap};

use crate::support::TestServer;

/// A client's watch stream.
pub(crate) struct Stream {
    ask: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
}

impl Stream {
    pub(crate) async fn open(server: &TestServer) -> anyhow::Result<Self> {
        Self::open_with(server, MetadataMap::new()).await
    }

    pub(crate) async fn open_with(server: &TestServer, metadata: MetadataMap) -> anyhow::Result<Self> {
        let (ask, asked) = mpsc::channel(16);
        let request = Request::from_parts(metadata, Extensions::default(), ReceiverStream::new(asked));
        let answers = server.watch().watch(request).await?.into_inner();
        Ok(Self { ask, answers })
    }

    pub(crate) async fn send(&self, request: RequestUnion) -> anyhow::Result<()> {
        Ok(self.ask.send(WatchRequest { request_union: Some(request) }).await?)
    }

    pub(crate) async fn create(&self, request: WatchCreateRequest) -> anyhow::Result<()> {
        self.send(RequestUnion::CreateRequest(request)).await
    }

    pub(crate) async fn next(&mut self) -> anyhow::Result<WatchResponse> {
        let next = timeout(Duration::from_secs(20), self.answers.message()).await??;
        next.ok_or_else(|| anyhow::anyhow!("the stream ended"))
    }

    /// Creates a watcher and expects that to work.
    pub(crate) async fn created(&mut self, request: WatchCreateRequest) -> anyhow::Result<i64> {
        self.create(request).await?;
        let created = self.next().await?;
        anyhow::ensure!(created.created && !created.canceled, "not created: {created:?}");
        Ok(created.watch_id)
    }
}

pub(crate) fn on(key: &'static str) -> WatchCreateRequest {
    WatchCreateRequest { key: key.into(), ..Default::default() }
}

pub(crate) fn prefix(key: &'static str, end: &'static str) -> WatchCreateRequest {
    WatchCreateRequest { range_end: end.into(), ..on(key) }
}

pub(crate) fn revision(response: &WatchResponse) -> i64 {
    response.header.as_ref().map_or(0, |header| header.revision)
}

pub(crate) fn changes(events: &[Event]) -> Vec<(EventType, String, i64)> {
    let change = |event: &Event| {
        let kv = event.kv.clone().unwrap_or_default();
        (event.r#type(), String::from_utf8_lossy(&kv.key).into_owned(), kv.mod_revision)
    };
    events.iter().map(change).collect()
}

pub(crate) fn change(kind: EventType, key: &str, revision: i64) -> (EventType, String, i64) {
    (kind, key.to_owned(), revision)
}
