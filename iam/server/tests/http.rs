//! The HTTP doors: keys, discovery, OAuth2 for access keys.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use axum::{
    body::{Body, to_bytes},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use holdfast_proto::iam::{CreateCredentialRequest, SetPrincipalRequest};
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
    let authorization = basic.map(|basic| format!("Basic {}", STANDARD.encode(basic)));
    post(plane, "/oauth2/token", authorization.as_deref(), content, body).await
}

async fn post(
    plane: &Plane,
    path: &str,
    authorization: Option<&str>,
    content: &str,
    body: &str,
) -> (StatusCode, Value) {
    let mut request = Request::post(path).header("content-type", content);
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let response = plane.api().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let status = response.status();
    let kept = response.headers().get("cache-control").is_none_or(|value| value != "no-store");
    let body = to_bytes(response.into_body(), 65_536).await.unwrap();
    assert!(status != StatusCode::OK || body.is_empty() || !kept);
    (status, if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() })
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

/// RFC 7662; spec §3: "introspection (RFC 7662)".
#[tokio::test]
async fn a_service_asks_whether_a_token_is_good() {
    let plane = Plane::start().await;
    let mira = plane.principal("user/mira", "reader").await;
    let ci = plane.principal("service/ci", "").await;
    let basic = access_key(&plane, &ci).await;
    let bearer = format!("Bearer {ci}");
    let ask = async |authorization: Option<&str>, body: &str| {
        post(&plane, "/oauth2/introspect", authorization, FORM, body).await
    };
    let before = plane.iam.decisions().read(0, 10_000).unwrap().len();
    for authorization in [&basic, &bearer] {
        let (status, answer) = ask(Some(authorization), &format!("token={mira}&token_type_hint=access_token")).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!((&answer["active"], &answer["username"]), (&Value::from(true), &Value::from("user/mira")));
        assert_eq!((&answer["iss"], &answer["roles"][0]), (&Value::from(ISSUER), &Value::from("reader")));
        assert_eq!(answer["exp"].as_u64().unwrap() - answer["iat"].as_u64().unwrap(), 3600);
    }
    let after = plane.iam.decisions().read(0, 10_000).unwrap().len();
    assert_eq!(after - before, 1, "a login with the secret is recorded, asking with a token is not");

    let inactive = serde_json::json!({ "active": false });
    let forged = format!("{}x", mira);
    for token in ["nonsense", forged.as_str(), support::ADMIN_TOKEN] {
        assert_eq!(ask(Some(&bearer), &format!("token={token}")).await, (StatusCode::OK, inactive.clone()));
    }
    let disable = SetPrincipalRequest { id: "user/mira".into(), disabled: true, ..Default::default() };
    plane.admin().set_principal(with(support::ADMIN_TOKEN, disable)).await.unwrap();
    assert_eq!(ask(Some(&bearer), &format!("token={mira}")).await, (StatusCode::OK, inactive));

    let own = format!("token={ci}");
    for authorization in [None, Some("Bearer nonsense"), Some("Basic eDp5"), Some("Digest x")] {
        let (status, answer) = ask(authorization, &own).await;
        assert_eq!((status, &answer["error"]), (StatusCode::UNAUTHORIZED, &Value::from("invalid_client")));
    }
    let (status, answer) = ask(Some(&bearer), "hint=x").await;
    assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &Value::from("invalid_request")));
}

/// An access key of the token's owner, as HTTP Basic.
async fn access_key(plane: &Plane, token: &str) -> String {
    let new = plane.credentials().create(with(token, CreateCredentialRequest::default())).await.unwrap().into_inner();
    let secret = format!("{}:{}", new.credential.unwrap().access_key_id, new.secret);
    format!("Basic {}", STANDARD.encode(secret))
}

/// RFC 7009; spec §3: "revocation (RFC 7009)".
#[tokio::test]
async fn a_client_revokes_its_own_tokens_and_an_admin_all() {
    let plane = Plane::start().await;
    let (mira, root) = (plane.principal("user/mira", "reader").await, plane.principal("user/noor", "admin").await);
    let (own, admin) = (access_key(&plane, &mira).await, access_key(&plane, &root).await);
    let revoke =
        async |authorization: Option<&str>, body: &str| post(&plane, "/oauth2/revoke", authorization, FORM, body).await;
    let (first, second) = (plane.token("user/mira").await, plane.token("user/mira").await);
    assert_eq!(revoke(Some(&own), &format!("token={first}")).await.0, StatusCode::OK);
    assert!(plane.bearer(&first).await.is_err() && plane.bearer(&second).await.is_ok());
    // Once more, and garbage: nothing to do, says the RFC.
    for token in [first.as_str(), "nonsense"] {
        assert_eq!(revoke(Some(&own), &format!("token={token}")).await, (StatusCode::OK, Value::Null));
    }
    let (status, answer) = revoke(Some(&own), &format!("token={root}")).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{answer}");
    assert!(plane.bearer(&root).await.is_ok());
    assert_eq!(revoke(Some(&admin), &format!("token={second}")).await.0, StatusCode::OK);
    assert!(plane.bearer(&second).await.is_err());

    let (status, answer) = revoke(None, &format!("token={root}")).await;
    assert_eq!((status, &answer["error"]), (StatusCode::UNAUTHORIZED, &Value::from("invalid_client")));
    assert_eq!(revoke(Some(&own), "").await.0, StatusCode::BAD_REQUEST);
}
