//! Tokens that are exchanged for narrower ones (RFC 8693).
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::time::Duration;

use axum::body::{Body, to_bytes};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use holdfast_keyspace::KeyRange;
use holdfast_proto::iam::{
    AddMemberRequest, Binding, CreateCredentialRequest, ExchangeTokenRequest, GrantRequest, IntrospectRequest,
    IssueTokenRequest, KeyGrant, ListCredentialsRequest, RevokeTokenRequest, revoke_token_request::What,
};
use http::{Request, StatusCode};
use iam_client::{Authority as _, KeyAccess, KeyAuthority as _};
use serde_json::Value;
use support::{ADMIN_TOKEN, Plane, with};
use tonic::{Code, Status};
use tower::ServiceExt as _;

const TYPE: &str = "subject_token_type=urn:ietf:params:oauth:token-type:access_token";
const GRANT: &str = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange";

async fn exchange(plane: &Plane, token: &str, roles: &[&str]) -> Result<String, Status> {
    let request = ExchangeTokenRequest { roles: roles.iter().map(|role| (*role).to_owned()).collect(), ttl_s: 0 };
    Ok(plane.tokens().exchange(with(token, request)).await?.into_inner().token)
}

async fn post(plane: &Plane, authorization: Option<&str>, body: String) -> (StatusCode, Value) {
    let mut request = Request::post("/oauth2/token").header("content-type", "application/x-www-form-urlencoded");
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let response = plane.api().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 65_536).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

/// Mira is an operator and an auditor, in a group of admins, with keys below `a/`.
async fn mira(plane: &Plane) -> String {
    let token = plane.principal("user/mira", "operator").await;
    let bindings = [
        Binding { subject: "user/mira".into(), role: "auditor".into(), ..Binding::default() },
        Binding { subject: "group/wheel".into(), role: "admin".into(), ..Binding::default() },
        Binding {
            subject: "user/mira".into(),
            keys: vec![KeyGrant { start: "a/".into(), end: "a0".into(), read: true, write: true, forbid: false }],
            ..Binding::default()
        },
    ];
    for binding in bindings {
        plane
            .admin()
            .grant(with(ADMIN_TOKEN, GrantRequest { binding: Some(binding), ..Default::default() }))
            .await
            .unwrap();
    }
    let member = AddMemberRequest { group: "wheel".into(), member: "user/mira".into() };
    plane.admin().add_member(with(ADMIN_TOKEN, member)).await.unwrap();
    token
}

#[tokio::test]
async fn a_narrowed_token_may_do_what_its_roles_permit() {
    let plane = Plane::start().await;
    let whole = mira(&plane).await;
    let narrow = exchange(&plane, &whole, &["auditor"]).await.unwrap();
    let (mira, less) = (plane.bearer(&whole).await.unwrap(), plane.bearer(&narrow).await.unwrap());
    assert_eq!(
        (less.principal.to_string().as_str(), less.roles.as_slice()),
        ("user/mira", &["auditor".to_owned()][..])
    );
    let may = |action: &str, resource: &str| {
        (plane.iam.authorize(&mira, action, resource).is_ok(), plane.iam.authorize(&less, action, resource).is_ok())
    };
    assert_eq!(may("history.Read", "history/*"), (true, true));
    assert_eq!(may("config.Publish", "versions/*"), (true, false));
    assert_eq!(may("iam.Admin", "iam/*"), (true, false), "a group's role was not asked for");
    let range = KeyRange::prefix(*b"a/");
    let keys = |access| {
        let may = |who| plane.iam.may_access_keys(who, access, &range).unwrap();
        (may(&mira), may(&less))
    };
    assert_eq!((keys(KeyAccess::Read), keys(KeyAccess::Write)), ((true, true), (true, false)), "auditors read keys");

    // A role that is taken from its owner is taken from the token.
    let of_group = exchange(&plane, &whole, &["admin"]).await.unwrap();
    let admin = plane.bearer(&of_group).await.unwrap();
    assert!(plane.iam.authorize(&admin, "iam.Admin", "iam/*").is_ok());
    let member = holdfast_proto::iam::RemoveMemberRequest { group: "wheel".into(), member: "user/mira".into() };
    plane.admin().remove_member(with(ADMIN_TOKEN, member)).await.unwrap();
    assert!(plane.iam.authorize(&admin, "iam.Admin", "iam/*").is_err());
}

#[tokio::test]
async fn it_is_no_way_to_more() {
    let plane = Plane::start().await;
    let whole = plane.principal("user/mira", "operator").await;
    let narrow = exchange(&plane, &whole, &["operator"]).await.unwrap();
    for roles in [&["admin"][..], &["operator", "auditor"], &["nothing"], &[]] {
        assert_eq!(exchange(&plane, &whole, roles).await.unwrap_err().code(), Code::InvalidArgument, "{roles:?}");
    }
    let denied = |result: Result<(), Status>| assert_eq!(result.unwrap_err().code(), Code::PermissionDenied);
    denied(exchange(&plane, &narrow, &["operator"]).await.map(drop));
    denied(plane.tokens().issue(with(&narrow, IssueTokenRequest::default())).await.map(drop));
    denied(plane.credentials().create(with(&narrow, CreateCredentialRequest::default())).await.map(drop));
    denied(plane.credentials().list(with(&narrow, ListCredentialsRequest::default())).await.map(drop));
    let all = RevokeTokenRequest { what: Some(What::Principal("user/mira".into())), wait_s: 0 };
    denied(plane.tokens().revoke(with(&narrow, all)).await.map(drop));
    let bootstrap = exchange(&plane, ADMIN_TOKEN, &["admin"]).await.unwrap_err();
    assert_eq!(bootstrap.code(), Code::InvalidArgument, "only tokens are exchanged");

    // It ends with what it was made of.
    let known = plane.bearer(&whole).await.unwrap();
    let known_of = async |token: &str| {
        let ask = with(ADMIN_TOKEN, IntrospectRequest { token: token.into() });
        plane.tokens().introspect(ask).await.unwrap().into_inner()
    };
    plane.advance(Duration::from_secs(600));
    let later = exchange(&plane, &whole, &["operator"]).await.unwrap();
    let (of_whole, of_later) = (known_of(&whole).await, known_of(&later).await);
    assert_eq!((of_later.expires_ms, of_later.scope.as_str()), (of_whole.expires_ms, "operator"));
    let revoke = RevokeTokenRequest { what: Some(What::Jti(known.token_id.unwrap())), wait_s: 0 };
    plane.tokens().revoke(with(ADMIN_TOKEN, revoke)).await.unwrap();
    for token in [&whole, &narrow, &later] {
        assert!(plane.bearer(token).await.is_err());
    }
}

#[tokio::test]
async fn oauth_clients_exchange_as_the_rfc_says() {
    let plane = Plane::start().await;
    let (mira, noor) = (mira(&plane).await, plane.principal("user/noor", "reader").await);
    let form = |token: &str, more: &str| format!("{GRANT}&{TYPE}&subject_token={token}{more}");
    let (status, answer) = post(&plane, None, form(&mira, "&scope=auditor")).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!((&answer["scope"], &answer["token_type"]), (&"auditor".into(), &"Bearer".into()));
    assert_eq!(answer["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    assert_eq!(plane.bearer(answer["access_token"].as_str().unwrap()).await.unwrap().roles, ["auditor"]);

    let key = async |token: &str| {
        let create = with(token, CreateCredentialRequest::default());
        let new = plane.credentials().create(create).await.unwrap().into_inner();
        format!("Basic {}", STANDARD.encode(format!("{}:{}", new.credential.unwrap().access_key_id, new.secret)))
    };
    let (own, other) = (key(&mira).await, key(&noor).await);
    assert_eq!(post(&plane, Some(&own), form(&mira, "&scope=auditor")).await.0, StatusCode::OK);
    let cases = [
        (Some(&other), form(&mira, "&scope=auditor"), StatusCode::UNAUTHORIZED),
        (None, form("nonsense", "&scope=auditor"), StatusCode::UNAUTHORIZED),
        (None, form(&mira, ""), StatusCode::BAD_REQUEST),
        (None, form(&mira, "&scope=reader"), StatusCode::BAD_REQUEST),
        (None, form(&mira, "&scope=auditor&audience=elsewhere"), StatusCode::BAD_REQUEST),
        (None, form(&mira, "&scope=auditor&actor_token=x"), StatusCode::BAD_REQUEST),
        (None, format!("{GRANT}&subject_token={mira}&scope=auditor"), StatusCode::BAD_REQUEST),
        (None, format!("{GRANT}&{TYPE}&scope=auditor"), StatusCode::BAD_REQUEST),
    ];
    for (authorization, form, expected) in cases {
        let (status, answer) = post(&plane, authorization.map(String::as_str), form.clone()).await;
        assert_eq!(status, expected, "{form}: {answer}");
    }
}
