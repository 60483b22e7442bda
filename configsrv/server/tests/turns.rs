//! How often nodes may come, and with how many requests that wait.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::time::Duration;

use axum::{Router, body::Body};
use configsrv_server::{Settings, router};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use iam_client::Identity;
use serde_json::Value;
use support::{
    node, operator, service,
    tree::{Signer, Tree},
    until,
};
use tokio::{task::JoinSet, time::timeout};
use tower::ServiceExt as _;

/// A server that has published a version for pier2.
struct Fixture {
    router: Router,
}

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    bytes: Vec<u8>,
}

impl Fixture {
    async fn new() -> Self {
        let (service, _store) = service(Settings::default());
        let fixture = Self { router: router(service) };
        let tree = Tree::new(1, &Signer::new("primary")).body(0);
        assert_eq!(fixture.post(operator(), "/publish", tree).await.status, StatusCode::OK);
        fixture
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, bytes }
    }

    async fn get(&self, caller: Identity, path: &str) -> Answer {
        self.send(Request::builder().uri(path).extension(caller).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, caller: Identity, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder().method(Method::POST).uri(path).extension(caller).body(body.into()).unwrap();
        self.send(request).await
    }
}

impl Answer {
    fn error(&self) -> String {
        let answer: Value = serde_json::from_slice(&self.bytes).unwrap_or_default();
        answer["error"].as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    fn tells_to_slow_down(&self) {
        assert_eq!((self.status, self.error().as_str()), (StatusCode::TOO_MANY_REQUESTS, "slow_down"));
        assert_eq!(self.headers["retry-after"], "1");
    }
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let fixture = Fixture::new().await;
    let refused = until("too many", async || {
        let answer = fixture.get(node("pier2"), "/artifact/pier2?have=1").await;
        (answer.status != StatusCode::NOT_MODIFIED).then_some(answer)
    });
    let refused = refused.await;
    refused.tells_to_slow_down();
    assert_eq!(fixture.get(operator(), "/artifact/pier2").await.status, StatusCode::OK, "others are served");
    assert_eq!(fixture.get(node("pier2"), "/nodes/pier2").await.status, StatusCode::OK);
}

#[tokio::test]
async fn reports_and_looks_at_the_lane_have_turns_of_their_own() {
    let fixture = Fixture::new().await;
    let come = async |caller: Identity, path: &str| match path {
        "/nodes/pier2/status" => fixture.post(caller, path, r#"{"active":1}"#).await,
        "/nodes/pier2/revocations" => fixture.post(caller, path, r#"{"sequence":0}"#).await,
        _ => fixture.get(caller, path).await,
    };
    for path in ["/nodes/pier2/status", "/nodes/pier2/revocations", "/revocations?have=0"] {
        let first = come(node("pier2"), path).await.status;
        assert_ne!(first, StatusCode::TOO_MANY_REQUESTS, "{path}");
        let refused =
            until("too many", async || Some(come(node("pier2"), path).await).filter(|answer| answer.status != first));
        refused.await.tells_to_slow_down();
        assert_eq!(come(operator(), path).await.status, first, "others are served: {path}");
    }
}

#[tokio::test]
async fn a_node_waits_with_few_requests_at_a_time() {
    let fixture = Fixture::new().await;
    let poll = |path: &'static str| {
        let (router, request) = (fixture.router.clone(), Request::builder().uri(path).extension(node("pier2")));
        async move { router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap() }
    };
    for path in ["/artifact/pier2?have=1&wait=30s", "/revocations?have=0&wait=30s"] {
        let mut waiting = JoinSet::new();
        for _ in 0..17 {
            waiting.spawn(poll(path));
        }
        let refused = timeout(Duration::from_secs(10), waiting.join_next()).await.unwrap().unwrap().unwrap();
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        let bytes = refused.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap()["error"], "too_many_waiting");
        assert_eq!(fixture.get(node("pier2"), "/artifact/pier2").await.status, StatusCode::OK, "what does not wait");
        waiting.shutdown().await;
        let again = fixture.get(node("pier2"), &path.replace("30s", "1s")).await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    }
}
