//! How new a server's state is: said in every answer, and demanded by callers who have seen more elsewhere.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::sync::Arc;

use async_trait::async_trait;
use axum::{Router, body::Body, routing::any};
use chainfire_core::{AuthenticatedBy, Origin};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use iam_client::{
    Access, Authority, Evidence, IamLayer, Identity, Kind, Presented, PrincipalId, Refusal, Rule, Scope, StillHolds,
};
use tokio::sync::watch;
use tonic::{Code, Status};
use tower::ServiceExt as _;

/// The entry that ended Mira's token.
const REVOKED_AT: u64 = 7;

/// Knows Mira until the revocation is applied.
struct Keeper(watch::Sender<u64>);

impl StillHolds for Keeper {
    fn still_holds(&self, _: &Identity) -> Result<(), Refusal> {
        Ok(())
    }
}

#[async_trait]
impl Authority for Keeper {
    async fn authenticate(&self, presented: Presented) -> Result<Identity, Refusal> {
        if *self.0.borrow() >= REVOKED_AT {
            return Err(Refusal::Unauthenticated);
        }
        Ok(Identity {
            principal: PrincipalId::new(Kind::User, "mira").unwrap().into(),
            authenticated_by: AuthenticatedBy::Token,
            evidence: Evidence::None,
            token_id: None,
            roles: Vec::new(),
            scope: Scope::System,
            source: None,
            request_id: presented.request_id,
        })
    }

    fn authorize(&self, _: &Identity, _: &str, _: &str) -> Result<(), Refusal> {
        Ok(())
    }

    fn progress(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }

    fn record_denial(&self, _: &Origin, _: &str, _: &str, _: &str) {}
}

const RULES: &[Rule] = &[
    Rule::new("/health", Access::Public),
    Rule::new("/read", Access::Authenticated),
    Rule::new("/v1/*", Access::Deferred),
    Rule::new("/iam.v1.Tokens/Issue", Access::Authenticated),
    Rule::new("/etcdserverpb.KV/Range", Access::Authenticated),
];
const GRPC: (&str, &str) = ("content-type", "application/grpc");
const PATHS: [(&str, &[(&str, &str)]); 5] = [
    ("/health", &[]),
    ("/read", &[]),
    ("/v1/pre-reboot", &[]),
    ("/iam.v1.Tokens/Issue", &[GRPC]),
    ("/etcdserverpb.KV/Range", &[GRPC]),
];

/// A server that has applied so much.
fn server(applied: u64) -> (Router, Arc<Keeper>) {
    let keeper = Arc::new(Keeper(watch::Sender::new(applied)));
    let layer = IamLayer::new(Arc::clone(&keeper) as _, RULES.iter().copied());
    (Router::new().fallback(any(|| async { "done" })).layer(layer), keeper)
}

async fn ask(server: &Router, path: &str, headers: &[(&str, &str)], demanded: &[&str]) -> Response<Body> {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    for index in demanded {
        request = request.header("x-holdfast-min-index", *index);
    }
    server.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

fn index(response: &Response<Body>) -> &str {
    response.headers()["x-holdfast-index"].to_str().unwrap()
}

async fn body(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn every_answer_says_how_new_its_state_is() {
    let (server, _) = server(5);
    for (path, headers) in PATHS {
        for demanded in [&[][..], &["0"], &["5"]] {
            let response = ask(&server, path, headers, demanded).await;
            assert_eq!((response.status(), index(&response)), (StatusCode::OK, "5"), "{path}");
            assert_eq!(body(response).await, "done", "{path}");
        }
    }
    let refused = ask(&server, "/unknown", &[], &[]).await;
    assert_eq!((refused.status(), index(&refused)), (StatusCode::FORBIDDEN, "5"));
}

/// The state that decides is the one that was demanded, not the one that was there when the request came.
#[tokio::test]
async fn a_demanded_revocation_is_waited_for() {
    let (server, keeper) = server(5);
    assert_eq!(ask(&server, "/read", &[], &[]).await.status(), StatusCode::OK, "this server has not heard of it");
    let asked = tokio::spawn(async move { ask(&server, "/read", &[], &["7"]).await });
    tokio::task::yield_now().await;
    assert!(!asked.is_finished());
    keeper.0.send_replace(6);
    tokio::task::yield_now().await;
    assert!(!asked.is_finished());
    keeper.0.send_replace(REVOKED_AT);
    let response = asked.await.unwrap();
    assert_eq!((response.status(), index(&response)), (StatusCode::UNAUTHORIZED, "7"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_behind_says_where_it_is() {
    let (server, _) = server(5);
    let message = "this server has applied index 5, and not 6 yet; ask another one, or again";
    for (path, headers) in PATHS {
        let response = ask(&server, path, headers, &["6"]).await;
        assert_eq!(index(&response), "5");
        if let Some(status) = Status::from_header_map(response.headers()) {
            assert_eq!(status.code(), Code::Unavailable, "{path}");
            assert!(status.message().ends_with(message), "{path}: {status}");
        } else {
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
            let body = body(response).await;
            assert!(body.contains(message), "{path}: {body}");
        }
    }
}

#[tokio::test]
async fn nonsense_is_told_so_at_once() {
    let (server, _) = server(5);
    for (path, headers) in PATHS {
        for demanded in [&["soon"][..], &["-1"], &[""], &["1", "1"]] {
            let response = ask(&server, path, headers, demanded).await;
            match Status::from_header_map(response.headers()) {
                Some(status) => assert_eq!(status.code(), Code::InvalidArgument, "{path} {demanded:?}"),
                None => assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path} {demanded:?}"),
            }
        }
    }
}
