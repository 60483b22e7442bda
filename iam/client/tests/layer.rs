//! The layer in front of real routers: who gets through, and what the others hear in which protocol.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::{net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use axum::{Extension, Router, body::Body, routing::any};
use chainfire_core::{AuthenticatedBy, Origin};
use holdfast_rpc::Connection;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use iam_client::{
    Access, Authority, Evidence, IamLayer, Identity, Kind, Presented, PrincipalId, Refusal, Rule, Scope, StillHolds,
};
use tonic::{Code, Status};
use tower::ServiceExt as _;

/// Knows the token `good`, which may only read; `slow` and `down` show the other refusals.
struct Keeper;

impl StillHolds for Keeper {
    fn still_holds(&self, _: &Identity) -> Result<(), Refusal> {
        Ok(())
    }
}

#[async_trait]
impl Authority for Keeper {
    async fn authenticate(&self, presented: Presented) -> Result<Identity, Refusal> {
        let by_certificate = !presented.certificates.is_empty();
        let name = match presented.bearer.as_deref() {
            Some("good") => "mira",
            Some("slow") => return Err(Refusal::SlowDown { retry_after_s: 7 }),
            Some("down") => return Err(Refusal::Unavailable("no quorum".into())),
            Some(_) => return Err(Refusal::Unauthenticated),
            None if by_certificate => "pier2",
            None => return Err(Refusal::Anonymous),
        };
        Ok(Identity {
            principal: PrincipalId::new(Kind::User, name).unwrap().into(),
            authenticated_by: AuthenticatedBy::Token,
            evidence: Evidence::None,
            token_id: None,
            roles: Vec::new(),
            scope: Scope::System,
            source: presented.source,
            request_id: presented.request_id,
        })
    }

    fn authorize(&self, _: &Identity, action: &str, resource: &str) -> Result<(), Refusal> {
        if action == "kv.Read" || action == "route.Call" {
            return Ok(());
        }
        Err(Refusal::Denied { action: action.into(), resource: resource.into() })
    }

    fn record_denial(&self, _: &Origin, _: &str, _: &str, _: &str) {}
}

const RULES: &[Rule] = &[
    Rule::new("/health", Access::Public),
    Rule::new("/read", Access::Permission { action: "kv.Read", resource: "keys/*" }),
    Rule::new("/write", Access::Permission { action: "kv.Write", resource: "keys/*" }),
    Rule::new("/v1/*", Access::Authenticated),
    Rule::new("/v1/late", Access::Deferred),
    Rule::new("/etcdserverpb.KV/Range", Access::Authenticated),
    Rule::new("/etcdserverpb.KV/Put", Access::Permission { action: "kv.Write", resource: "keys/*" }),
    Rule::new("/iam.v1.Tokens/Issue", Access::Permission { action: "iam.IssueToken", resource: "iam/*" }),
];

/// Says whom the handler saw.
async fn who(identity: Option<Extension<Identity>>, refusal: Option<Extension<Refusal>>) -> String {
    match (identity, refusal) {
        (Some(Extension(identity)), None) => identity.principal.to_string(),
        (None, Some(Extension(refusal))) => refusal.word().to_owned(),
        (None, None) => "nobody".to_owned(),
        (Some(_), Some(_)) => "somebody who is refused".to_owned(),
    }
}

fn router(certificates: &[&[u8]]) -> Router {
    let source: SocketAddr = "192.0.2.7:40000".parse().unwrap();
    let connection = Connection { source, certificates: certificates.iter().map(|der| Arc::from(*der)).collect() };
    Router::new()
        .fallback(any(who))
        .layer(IamLayer::new(Arc::new(Keeper), RULES.iter().copied()))
        .layer(Extension(connection))
}

async fn call(path: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    // What the layer puts there must not come from anywhere else.
    let forged = Identity {
        principal: PrincipalId::new(Kind::User, "forged").unwrap().into(),
        authenticated_by: AuthenticatedBy::Token,
        evidence: Evidence::None,
        token_id: None,
        roles: vec!["admin".into()],
        scope: Scope::System,
        source: None,
        request_id: String::new(),
    };
    let forged_refusal = Refusal::SlowDown { retry_after_s: 1 };
    let request = request.extension(forged).extension(forged_refusal).body(Body::empty()).unwrap();
    router(&[]).oneshot(request).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn grpc(headers: &HeaderMap) -> (Code, String) {
    let status = Status::from_header_map(headers).unwrap();
    (status.code(), status.message().to_owned())
}

const GOOD: (&str, &str) = ("authorization", "Bearer good");
const BAD: (&str, &str) = ("authorization", "Bearer bad");
const GRPC: (&str, &str) = ("content-type", "application/grpc");

#[tokio::test]
async fn public_paths_are_open_and_carry_no_identity() {
    for headers in [&[][..], &[GOOD], &[BAD], &[("x-user", "admin"), ("x-forwarded-user", "admin")]] {
        let response = call("/health", headers).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.headers().contains_key("x-request-id"));
        assert_eq!(text(response).await, "nobody");
    }
}

#[tokio::test]
async fn handlers_see_who_was_established() {
    assert_eq!(text(call("/read", &[GOOD]).await).await, "user/mira");
    assert_eq!(text(call("/read", &[("token", "good")]).await).await, "user/mira");
    assert_eq!(text(call("/read?x=/../y", &[GOOD]).await).await, "user/mira");
    let request = Request::builder().uri("/read").body(Body::empty()).unwrap();
    assert_eq!(text(router(&[b"der"]).oneshot(request).await.unwrap()).await, "user/pier2");
}

#[tokio::test]
async fn http_callers_hear_json() {
    let cases = [
        (&[][..], "/read", StatusCode::UNAUTHORIZED, "authentication_required"),
        (&[BAD], "/read", StatusCode::UNAUTHORIZED, "authentication_failed"),
        (&[GOOD, GOOD], "/read", StatusCode::UNAUTHORIZED, "authentication_failed"),
        (&[GOOD], "/write", StatusCode::FORBIDDEN, "permission_denied"),
        (&[("token", "slow")], "/read", StatusCode::TOO_MANY_REQUESTS, "slow_down"),
        (&[("token", "down")], "/read", StatusCode::SERVICE_UNAVAILABLE, "identity_unavailable"),
    ];
    for (headers, path, status, word) in cases {
        let response = call(path, headers).await;
        assert_eq!(response.status(), status, "{path} {headers:?}");
        if status == StatusCode::UNAUTHORIZED {
            assert!(response.headers().contains_key("www-authenticate"));
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(response.headers()["retry-after"], "7");
        }
        let body: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!(body["error"], word);
        assert!(body["message"].is_string());
    }
    let denied = text(call("/write", &[GOOD]).await).await;
    assert!(denied.contains("kv.Write") && denied.contains("keys/*"), "names action and resource: {denied}");
}

#[tokio::test]
async fn fleetlock_clients_hear_kind_and_value() {
    for (headers, status, kind) in [
        (&[][..], StatusCode::UNAUTHORIZED, "unauthorized"),
        (&[BAD], StatusCode::UNAUTHORIZED, "unauthorized"),
        (&[("token", "slow")], StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
        (&[("token", "down")], StatusCode::SERVICE_UNAVAILABLE, "no_leader"),
    ] {
        let response = call("/v1/pre-reboot", headers).await;
        assert_eq!(response.status(), status);
        assert!(!response.headers().contains_key("www-authenticate"), "only the door knows what it takes");
        let body: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!(body["kind"], kind);
        assert!(body["value"].is_string());
    }
    let disguised = text(call("/v1//x", &[GOOD]).await).await;
    assert!(disguised.contains("\"kind\":\"forbidden\""), "{disguised}");
}

#[tokio::test]
async fn a_deferred_refusal_is_the_handler_s_to_tell() {
    for (headers, seen) in [
        (&[][..], "authentication_required"),
        (&[BAD], "authentication_failed"),
        (&[GOOD, GOOD], "authentication_failed"),
        (&[("token", "slow")], "slow_down"),
        (&[GOOD], "user/mira"),
    ] {
        let response = call("/v1/late", headers).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(text(response).await, seen);
    }
}

#[tokio::test]
async fn grpc_callers_hear_a_status() {
    let path = "/iam.v1.Tokens/Issue";
    let response = call(path, &[GRPC]).await;
    assert_eq!(
        (response.status(), &response.headers()["content-type"]),
        (StatusCode::OK, &"application/grpc".parse().unwrap())
    );
    assert_eq!(grpc(response.headers()), (Code::Unauthenticated, "authentication is required".into()));
    assert_eq!(grpc(call(path, &[GRPC, BAD]).await.headers()), (Code::Unauthenticated, "authentication failed".into()));
    let denied = (Code::PermissionDenied, "not permitted: iam.IssueToken on iam/*".into());
    assert_eq!(grpc(call(path, &[GRPC, GOOD]).await.headers()), denied);
    assert_eq!(grpc(call(path, &[GRPC, ("token", "slow")]).await.headers()).0, Code::ResourceExhausted);
    assert_eq!(grpc(call(path, &[GRPC, ("token", "down")]).await.headers()).0, Code::Unavailable);
}

#[tokio::test]
async fn etcd_clients_hear_etcds_own_texts() {
    let (range, put) = ("/etcdserverpb.KV/Range", "/etcdserverpb.KV/Put");
    let anonymous = (Code::InvalidArgument, "etcdserver: user name is empty".into());
    assert_eq!(grpc(call(range, &[GRPC]).await.headers()), anonymous);
    let bad = (Code::Unauthenticated, "etcdserver: invalid auth token".into());
    assert_eq!(grpc(call(range, &[GRPC, ("token", "bad")]).await.headers()), bad);
    let denied = (Code::PermissionDenied, "etcdserver: permission denied".into());
    assert_eq!(grpc(call(put, &[GRPC, ("token", "good")]).await.headers()), denied);
    assert_eq!(text(call(range, &[GRPC, ("token", "good")]).await).await, "user/mira");
}

#[tokio::test]
async fn without_a_rule_nobody_passes() {
    for path in ["/", "/unknown", "/read/", "/readx", "/Read", "/health/x"] {
        assert_eq!(call(path, &[]).await.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(call(path, &[GOOD]).await.status(), StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test]
async fn disguised_paths_match_no_rule() {
    for path in ["//health", "/x/../health", "/./health", "/%68ealth", "/v1/../write", "/v1//x", "/v1/%2e%2e/write"] {
        assert_eq!(call(path, &[GOOD]).await.status(), StatusCode::FORBIDDEN, "{path}");
    }
}
