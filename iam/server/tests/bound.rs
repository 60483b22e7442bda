//! Tokens that are good only with a client certificate (RFC 8705).
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use axum::{
    Router,
    body::{Body, to_bytes},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use holdfast_proto::iam::{
    CreateCredentialRequest, IntrospectRequest, IssueTokenRequest, StatusRequest, admin_client::AdminClient,
    tokens_client::TokensClient,
};
use http::{Request, StatusCode};
use iam_core::signing::Confirmation;
use serde_json::Value;
use support::{ADMIN_TOKEN, Plane, api_with, node::Node, with};
use tonic::Code;
use tower::ServiceExt as _;

async fn post(api: Router, path: &str, authorization: &str, body: &str) -> (StatusCode, Value) {
    let request = Request::post(path)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", authorization);
    let response = api.oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 65_536).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

/// What the layer says to a bearer.
async fn said(api: Router, token: &str) -> Code {
    let status = AdminClient::new(api).status(with(token, StatusRequest {})).await;
    status.map_or_else(|refused| refused.code(), |_| Code::Ok)
}

async fn basic(plane: &Plane, token: &str) -> String {
    let new = plane.credentials().create(with(token, CreateCredentialRequest::default())).await.unwrap().into_inner();
    let pair = format!("{}:{}", new.credential.unwrap().access_key_id, new.secret);
    format!("Basic {}", STANDARD.encode(pair))
}

#[tokio::test]
async fn a_token_is_good_with_the_certificate_that_it_was_issued_to() {
    let plane = Plane::start().await;
    let (own, other) = (Node::enroll(&plane, "pier1").await, Node::enroll(&plane, "pier2").await);
    let mira = plane.principal("user/mira", "reader").await;
    let basic = basic(&plane, &mira).await;
    let (here, there) = (|| api_with(&plane.iam, &own.chain), || api_with(&plane.iam, &other.chain));

    let (status, answer) = post(here(), "/oauth2/token", &basic, "grant_type=client_credentials").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!(said(here(), token).await, Code::Ok);
    assert_eq!(said(there(), token).await, Code::Unauthenticated);
    assert_eq!(said(plane.api(), token).await, Code::Unauthenticated);

    // Whoever asks about it need not be its owner, and learns what it takes.
    let bound = Confirmation::certificate(&own.chain[0]);
    let (_, state) = post(plane.api(), "/oauth2/introspect", &basic, &format!("token={token}")).await;
    assert_eq!((&state["active"], &state["cnf"]["x5t#S256"]), (&true.into(), &Value::from(bound.x5t_s256.clone())));
    let ask = with(&mira, IntrospectRequest { token: token.into() });
    assert_eq!(plane.tokens().introspect(ask).await.unwrap().into_inner().x5t_s256, bound.x5t_s256);
    let asked_with_it = post(here(), "/oauth2/introspect", &format!("Bearer {token}"), &format!("token={mira}")).await;
    assert_eq!(asked_with_it.1["active"], true);
    let elsewhere = post(there(), "/oauth2/introspect", &format!("Bearer {token}"), &format!("token={mira}")).await;
    assert_eq!(elsewhere.0, StatusCode::UNAUTHORIZED);

    // What it issues is bound like itself; a token without certificate is anybody's who has it, as before.
    let renew = with(token, IssueTokenRequest::default());
    let renewed = TokensClient::new(here()).issue(renew).await.unwrap().into_inner().token;
    assert_eq!((said(here(), &renewed).await, said(there(), &renewed).await), (Code::Ok, Code::Unauthenticated));
    assert_eq!((said(there(), &mira).await, said(plane.api(), &mira).await), (Code::Ok, Code::Ok));

    // Its owner ends it from anywhere: it may be in wrong hands.
    assert_eq!(post(plane.api(), "/oauth2/revoke", &basic, &format!("token={token}")).await.0, StatusCode::OK);
    assert_eq!(said(here(), token).await, Code::Unauthenticated);
    assert_eq!(said(here(), &renewed).await, Code::Unauthenticated);
}

#[tokio::test]
async fn a_token_for_somebody_else_is_not_bound() {
    let plane = Plane::start().await;
    let node = Node::enroll(&plane, "pier1").await;
    plane.principal("user/mira", "reader").await;
    let mut shown = TokensClient::new(api_with(&plane.iam, &node.chain));
    let issue = IssueTokenRequest { principal: "user/mira".into(), ttl_s: 0 };
    let token = shown.issue(with(ADMIN_TOKEN, issue)).await.unwrap().into_inner().token;
    assert_eq!(said(plane.api(), &token).await, Code::Ok);

    let own = shown.issue(IssueTokenRequest::default()).await.unwrap().into_inner().token;
    let ask = with(ADMIN_TOKEN, IntrospectRequest { token: own });
    let known = plane.tokens().introspect(ask).await.unwrap().into_inner();
    assert_eq!(known.principal, "node/pier1");
    assert_eq!(known.x5t_s256, Confirmation::certificate(&node.chain[0]).x5t_s256);
}
