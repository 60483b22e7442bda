//! The gRPC interface: the same answers as over HTTP, in its own words.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use axum::{Router, body::Body};
use chainfire_client::memory::MemoryStore;
use chainfire_core::Origin;
use configsrv_server::{ACCESS_GRPC, ACCESS_HTTP, ConfigService, Settings, grpc, router};
use holdfast_proto::configsrv::{
    GetArtifactRequest, ListNodesRequest, ListVersionsRequest, WatchRequest, config_service_client::ConfigServiceClient,
};
use holdfast_service::Stop;
use http::{Request as HttpRequest, StatusCode, header};
use iam_client::{Authority, IamLayer, Identity, Presented, Refusal, StillHolds};
use support::{
    OPERATOR, Rules, service,
    tree::{Signer, Tree},
    until,
};
use tokio_stream::StreamExt as _;
use tonic::{Code, Request, service::Routes};
use tower::ServiceExt as _;

/// Rules whose callers all end at the same time.
#[derive(Default)]
struct Ending(AtomicBool);

impl StillHolds for Ending {
    fn still_holds(&self, _: &Identity) -> Result<(), Refusal> {
        if self.0.load(Ordering::SeqCst) { Err(Refusal::Unauthenticated) } else { Ok(()) }
    }
}

#[async_trait]
impl Authority for Ending {
    async fn authenticate(&self, presented: Presented) -> Result<Identity, Refusal> {
        Rules.authenticate(presented).await
    }

    fn authorize(&self, identity: &Identity, action: &str, resource: &str) -> Result<(), Refusal> {
        Rules.authorize(identity, action, resource)
    }

    fn record_denial(&self, _: &Origin, _: &str, _: &str, _: &str) {}
}

/// Both interfaces behind the layer.
fn start() -> (Router, Stop) {
    let (service, _store) = service(Settings::default());
    let stop = Stop::new();
    tokio::spawn(service.clone().run(stop.clone()));
    let rules = ACCESS_HTTP.iter().chain(ACCESS_GRPC).copied();
    let app = Routes::new(grpc(service.clone())).into_axum_router().merge(router(service));
    (app.layer(IamLayer::new(Arc::new(Rules), rules)), stop)
}

fn with<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

async fn publish(app: &Router, tree: &Tree<'_>, base_version: u64) {
    let request = HttpRequest::post("/publish").header(header::AUTHORIZATION, format!("Bearer {OPERATOR}"));
    let answer = app.clone().oneshot(request.body(Body::from(tree.body(base_version))).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn artifacts_nodes_and_versions() {
    let (app, stop) = start();
    let mut client = ConfigServiceClient::new(app.clone());
    let ask = GetArtifactRequest { node: "pier2".into(), ..GetArtifactRequest::default() };
    let nothing = client.get_artifact(with("node:pier2", ask.clone())).await.unwrap_err();
    assert_eq!(nothing.code(), Code::Unavailable);

    let signer = Signer::new("primary");
    let tree = Tree::new(1, &signer);
    publish(&app, &tree, 0).await;
    let found = client.get_artifact(with("node:pier2", ask.clone())).await.unwrap().into_inner();
    assert_eq!((found.version, found.artifact.as_deref()), (1, Some(tree.artifacts()[0].bytes())));
    let have = GetArtifactRequest { have: Some(1), ..ask.clone() };
    assert_eq!(client.get_artifact(with("node:pier2", have)).await.unwrap().into_inner().artifact, None);
    let future = GetArtifactRequest { version: Some(2), ..ask.clone() };
    assert_eq!(client.get_artifact(with("node:pier2", future)).await.unwrap_err().code(), Code::NotFound);
    let absurd = GetArtifactRequest { version: Some(u64::MAX), ..ask.clone() };
    assert_eq!(client.get_artifact(with("node:pier2", absurd)).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(client.get_artifact(with("node:pier3", ask.clone())).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(client.get_artifact(ask).await.unwrap_err().code(), Code::Unauthenticated);

    let nodes = until("the fetch is noted", async || {
        let nodes = client.list_nodes(with(OPERATOR, ListNodesRequest::default())).await.unwrap().into_inner();
        Some(nodes).filter(|nodes| !nodes.nodes[0].stale)
    });
    let nodes = nodes.await;
    assert_eq!((nodes.version, nodes.nodes[0].name.as_str()), (1, "pier2"));
    let versions = client.list_versions(with(OPERATOR, ListVersionsRequest::default())).await.unwrap().into_inner();
    assert_eq!((versions.current, versions.versions[0].published_by.as_str()), (1, "user/mira"));
    let denied = client.list_nodes(with("node:pier2", ListNodesRequest::default())).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    stop.request();
}

#[tokio::test]
async fn a_watch_begins_with_what_is_and_tells_what_comes() {
    let (app, stop) = start();
    let signer = Signer::new("primary");
    publish(&app, &Tree::new(3, &signer), 0).await;
    let mut client = ConfigServiceClient::new(app.clone());
    let mut versions = client.watch(with("node:pier2", WatchRequest {})).await.unwrap().into_inner();
    let seen = async |versions: &mut tonic::Streaming<_>, wanted: u64| {
        let waiting = async {
            while let Some(Ok(holdfast_proto::configsrv::WatchResponse { version })) = versions.next().await {
                if version == wanted {
                    return true;
                }
            }
            false
        };
        assert_eq!(tokio::time::timeout(Duration::from_secs(10), waiting).await, Ok(true));
    };
    seen(&mut versions, 3).await;
    publish(&app, &Tree::new(4, &signer), 3).await;
    seen(&mut versions, 4).await;
    stop.request();
}

#[tokio::test]
async fn a_node_has_few_watches_at_a_time() {
    let (app, stop) = start();
    let mut client = ConfigServiceClient::new(app);
    let mut watches = Vec::new();
    let refused = loop {
        match client.watch(with("node:pier2", WatchRequest {})).await {
            Ok(watch) => watches.push(watch.into_inner()),
            Err(refused) => break refused,
        }
    };
    assert_eq!((refused.code(), watches.len()), (Code::ResourceExhausted, 16));
    assert!(client.watch(with("node:pier3", WatchRequest {})).await.is_ok());
    let mut of_operator = Vec::new();
    for _ in 0..20 {
        of_operator.push(client.watch(with(OPERATOR, WatchRequest {})).await.unwrap());
    }
    watches.pop();
    until("the place of the watch that ended", async || {
        client.clone().watch(with("node:pier2", WatchRequest {})).await.ok()
    })
    .await;
    stop.request();
}

#[tokio::test]
async fn a_watch_ends_with_its_caller() {
    let authority = Arc::new(Ending::default());
    let store = Arc::new(MemoryStore::new().unwrap());
    let service = ConfigService::new(store, Arc::clone(&authority) as _, Settings::default());
    let app = Routes::new(grpc(service)).into_axum_router();
    let app = app.layer(IamLayer::new(Arc::clone(&authority) as _, ACCESS_GRPC.iter().copied()));
    let mut client = ConfigServiceClient::new(app);
    let mut versions = client.watch(with("node:pier2", WatchRequest {})).await.unwrap().into_inner();
    assert_eq!(versions.next().await.unwrap().unwrap().version, 0);
    authority.0.store(true, Ordering::SeqCst);
    let ended = tokio::time::timeout(Duration::from_secs(10), versions.next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::Unauthenticated);
    assert!(versions.next().await.is_none());
}
