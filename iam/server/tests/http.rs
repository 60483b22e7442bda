//! The HTTP doors: keys, discovery, OAuth2 for access keys.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use axum::{
    body::{Body, to_bytes},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use holdfast_proto::iam::CreateCredentialRequest;
use http::{Request, StatusCode};
use serde_json::Value;
use support::{ISSUER, Plane, with};
use tower::ServiceExt as _;

async fn get(plane: &Plane, path: &str, etag: &str) -> Response {
    let request = Request::get(path).header("if-none-match", etag).body(Body::empty()).unwrap();
    plane.api().oneshot(request).await.unwrap()
}

async fn json(response: Response) -> Value {
    serde_json::from_slice(&to_bytes(response.into_body(), 65_536).await.unwrap()).unwrap()
}

async fn token(plane: &Plane, basic: Option<&str>, content: &str, body: &str) -> (StatusCode, Value) {
    let mut request = Request::post("/oauth2/token").header("content-type", content);
    if let Some(basic) = basic {
        request = request.header("authorization", format!("Basic {}", STANDARD.encode(basic)));
    }
    let response = plane.api().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    assert!(response.status() != StatusCode::OK || response.headers()["cache-control"] == "no-store");
    (response.status(), json(response).await)
}

const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn keys_are_published_with_cache_headers() {
    let plane = Plane::start().await;
    let response = get(&plane, "/jwks.json", "").await;
    assert_eq!(response.headers()["cache-control"], "public, max-age=300");
    let etag = response.headers()["etag"].to_str().unwrap().to_owned();
    let keys = json(response).await;
    assert_eq!(keys["keys"][0]["alg"], "EdDSA");
    assert_eq!(keys["keys"][0]["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    assert!(keys["keys"][0].get("d").is_none());
    assert_eq!(get(&plane, "/jwks.json", &etag).await.status(), StatusCode::NOT_MODIFIED);
    let discovery = json(get(&plane, "/.well-known/openid-configuration", "").await).await;
    assert_eq!(discovery["issuer"], ISSUER);
    assert_eq!(discovery["jwks_uri"], format!("{ISSUER}/jwks.json"));
}

#[tokio::test]
async fn access_keys_get_tokens() {
    let plane = Plane::start().await;
    let mira = plane.principal("user/mira", "reader").await;
    let new = plane.credentials().create(with(&mira, CreateCredentialRequest::default())).await.unwrap().into_inner();
    let (id, secret) = (new.credential.unwrap().access_key_id, new.secret);
    let basic = format!("{id}:{secret}");
    let posted = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    for (basic, body) in [(Some(basic.as_str()), "grant_type=client_credentials"), (None, posted.as_str())] {
        let (status, answer) = token(&plane, basic, FORM, body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let identity = plane.bearer(answer["access_token"].as_str().unwrap()).await.unwrap();
        assert_eq!(identity.principal.to_string(), "user/mira");
    }
    let wrong = format!("{id}:wrong");
    let twice = format!("{posted}&client_id={id}");
    let cases = [
        (Some(wrong.as_str()), FORM, "grant_type=client_credentials", StatusCode::UNAUTHORIZED, "invalid_client"),
        (None, FORM, "grant_type=client_credentials", StatusCode::UNAUTHORIZED, "invalid_client"),
        (Some(&basic), FORM, "grant_type=password", StatusCode::BAD_REQUEST, "unsupported_grant_type"),
        (Some(&basic), FORM, "", StatusCode::BAD_REQUEST, "invalid_request"),
        (Some(&basic), FORM, &posted, StatusCode::BAD_REQUEST, "invalid_request"),
        (None, FORM, &twice, StatusCode::BAD_REQUEST, "invalid_request"),
        (Some(&basic), "application/json", "{}", StatusCode::BAD_REQUEST, "invalid_request"),
    ];
    for (basic, content, body, status, word) in cases {
        let answer = token(&plane, basic, content, body).await;
        assert_eq!((answer.0, &answer.1["error"]), (status, &Value::from(word)), "{body}");
    }
}
