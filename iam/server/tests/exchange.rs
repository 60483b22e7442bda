//! Tokens that are exchanged for narrower ones (RFC 8693).
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::time::Duration;

use axum::body::{Body, to_bytes};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use holdfast_keyspace::KeyRange;
use holdfast_proto::iam::{
    AddMemberRequest, AuthorizeRequest, Binding, CreateCredentialRequest, ExchangeTokenRequest, ExplainRequest,
    GrantRequest, IntrospectRequest, IssueTokenRequest, KeyGrant, ListCredentialsRequest, RevokeTokenRequest,
    revoke_token_request::What,
};
use http::{Request, StatusCode};
use iam_client::{Authority as _, KeyAccess, KeyAuthority as _};
use serde_json::{Value, json};
use support::{ADMIN_TOKEN, Environment, Plane, open, with};
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
    let (request, narrow) = ("invalid_request", exchange(&plane, &mira, &["auditor"]).await.unwrap());
    let forged = format!("{}A", &mira[..mira.len() - 3]);
    let cases = [
        // Whatever is wrong with the subject token, the answer is one.
        (Some(&other), form(&mira, "&scope=auditor"), request, "the subject token is not accepted"),
        (None, form("nonsense", "&scope=auditor"), request, "the subject token is not accepted"),
        (None, form(&forged, "&scope=auditor"), request, "the subject token is not accepted"),
        (None, form(ADMIN_TOKEN, "&scope=admin"), request, "the subject token is not accepted"),
        (None, form(&narrow, "&scope=auditor"), request, "the subject token is not accepted"),
        (None, form(&mira, ""), request, "name the roles that the new token is to have"),
        (None, form(&mira, "&scope=reader"), "invalid_scope", "a role in scope is unknown or not held"),
        (None, form(&mira, "&scope=auditor+nothing"), "invalid_scope", "a role in scope is unknown or not held"),
        (None, form(&mira, "&scope=auditor&audience=elsewhere"), request, "actor_token, audience and resource"),
        (None, form(&mira, "&scope=auditor&actor_token=x"), request, "actor_token, audience and resource"),
        (None, format!("{GRANT}&subject_token={mira}&scope=auditor"), request, "only access tokens are exchanged"),
        (None, format!("{GRANT}&{TYPE}&scope=auditor"), request, "subject_token is missing"),
    ];
    for (authorization, form, error, description) in cases {
        let (status, answer) = post(&plane, authorization.map(String::as_str), form.clone()).await;
        assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &error.into()), "{form}: {answer}");
        assert!(answer["error_description"].as_str().unwrap().starts_with(description), "{form}: {answer}");
    }
    let wrong = format!("Basic {}", STANDARD.encode("HFAK0123456789ABCDEF:wrong"));
    let (status, answer) = post(&plane, Some(&wrong), form(&mira, "&scope=auditor")).await;
    assert_eq!((status, &answer["error"]), (StatusCode::UNAUTHORIZED, &"invalid_client".into()), "the client itself");
}

#[tokio::test]
async fn a_client_asks_for_less_than_it_has() {
    let plane = Plane::start().await;
    let mira = mira(&plane).await;
    let new = plane.credentials().create(with(&mira, CreateCredentialRequest::default())).await.unwrap().into_inner();
    let key = format!("Basic {}", STANDARD.encode(format!("{}:{}", new.credential.unwrap().access_key_id, new.secret)));
    let ask = |scope: &str| post(&plane, Some(&key), format!("grant_type=client_credentials&scope={scope}"));
    let (status, answer) = ask("auditor+operator").await;
    assert_eq!((status, &answer["scope"]), (StatusCode::OK, &"auditor operator".into()), "{answer}");
    let narrow = plane.bearer(answer["access_token"].as_str().unwrap()).await.unwrap();
    assert_eq!(narrow.roles, ["operator", "auditor"]);
    assert!(plane.iam.authorize(&narrow, "iam.Admin", "iam/*").is_err(), "that is the group's");
    for scope in ["reader", "auditor+openid"] {
        let (status, answer) = ask(scope).await;
        assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &"invalid_scope".into()), "{scope}");
    }
    let (_, whole) = ask("").await;
    assert!(whole.get("scope").is_none());
    assert!(plane.bearer(whole["access_token"].as_str().unwrap()).await.unwrap().roles.contains(&"admin".to_owned()));
}

#[tokio::test]
async fn everybody_is_told_of_the_roles_within_its_scope() {
    let plane = Plane::start().await;
    let whole = mira(&plane).await;
    let narrow = exchange(&plane, &whole, &["auditor"]).await.unwrap();
    let ask = with(&whole, IntrospectRequest { token: narrow.clone() });
    assert_eq!(plane.tokens().introspect(ask).await.unwrap().into_inner().roles, ["auditor"]);
    let request = Request::post("/oauth2/introspect")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", format!("Bearer {whole}"))
        .body(Body::from(format!("token={narrow}")));
    let response = plane.api().oneshot(request.unwrap()).await.unwrap();
    let answer: Value = serde_json::from_slice(&to_bytes(response.into_body(), 65_536).await.unwrap()).unwrap();
    assert_eq!((&answer["roles"], &answer["scope"]), (&json!(["auditor"]), &"auditor".into()));

    // Its questions are about itself, and so are both decisions.
    let publish = || ("config.Publish".to_owned(), "versions/*".to_owned());
    let allowed = async |token: &str| {
        let (action, resource) = publish();
        let question = AuthorizeRequest { action, resource, ..AuthorizeRequest::default() };
        let said = plane.authz().authorize(with(token, question)).await.unwrap().into_inner();
        (said.allowed, said.roles)
    };
    assert_eq!(allowed(&narrow).await, (false, vec!["auditor".to_owned()]));
    assert!(allowed(&whole).await.0);
    let explained = async |token: &str, action: &str, resource: &str| {
        let (action, resource) = (action.to_owned(), resource.to_owned());
        let question = ExplainRequest { action, resource, ..ExplainRequest::default() };
        let said = plane.authz().explain(with(token, question)).await.unwrap().into_inner();
        (said.allowed, said.outside_scope, said.roles.into_iter().map(|held| held.role).collect::<Vec<_>>())
    };
    let (action, resource) = publish();
    assert_eq!(explained(&narrow, &action, &resource).await, (false, true, vec!["auditor".to_owned()]));
    let (allowed, outside, roles) = explained(&whole, &action, &resource).await;
    assert_eq!((allowed, outside, roles.len()), (true, false, 3));
    let (allowed, outside, _) = explained(&narrow, "history.Read", "history/*").await;
    assert_eq!((allowed, outside), (true, false));
}

#[tokio::test]
async fn the_history_says_what_a_token_comes_from_and_what_it_lacked() {
    let plane = Plane::start().await;
    let whole = mira(&plane).await;
    let jti = plane.bearer(&whole).await.unwrap().token_id.unwrap();
    let narrow = exchange(&plane, &whole, &["auditor"]).await.unwrap();
    let less = plane.bearer(&narrow).await.unwrap();
    let of_less = less.token_id.clone().unwrap();
    plane.iam.authorize(&less, "config.Publish", "versions/*").unwrap_err();
    let noor = plane.principal("user/noor", "operator").await;
    let noor = plane.bearer(&exchange(&plane, &noor, &["operator"]).await.unwrap()).await.unwrap();
    plane.iam.authorize(&noor, "iam.Admin", "iam/*").unwrap_err();
    let range = KeyRange::prefix(*b"a/");
    plane.iam.authorize_keys(&less, KeyAccess::Write, &range).unwrap_err();
    let issued = plane.tokens().issue(with(&whole, IssueTokenRequest::default())).await.unwrap().into_inner().jti;
    let of_admin = IssueTokenRequest { principal: "user/mira".into(), ttl_s: 0 };
    let first = plane.tokens().issue(with(ADMIN_TOKEN, of_admin)).await.unwrap().into_inner().jti;

    let Plane { store, clock, folder, iam, running } = plane;
    running.end().await;
    drop(iam);
    let (iam, _running) = open(&store, &clock, folder.path(), &Environment::default(), |_| {}).unwrap();
    let rows = iam.decisions().read(0, 10_000).unwrap();
    let comes_from = |jti: &str| {
        let row = rows.iter().find(|row| row.action == "iam.TokenIssue" && row.token_id.as_deref() == Some(jti));
        row.unwrap().reason.clone()
    };
    assert_eq!(comes_from(&of_less).unwrap(), format!("by token {jti}, lin {jti}, scope auditor"));
    assert_eq!(comes_from(&issued).unwrap(), format!("by token {jti}, lin {jti}"));
    assert_eq!(comes_from(&first), None);
    let outside = format!("outside the token's scope (auditor), token {of_less}: ");
    let denied = |action: &str| {
        let row = rows.iter().find(|row| row.action == action && row.outcome == "denied").unwrap();
        row.reason.clone().unwrap()
    };
    assert_eq!(denied("config.Publish"), format!("{outside}nothing permits it"));
    assert_eq!(denied("kv.Write"), format!("{outside}no right on these keys"));
    assert_eq!(denied("iam.Admin"), "nothing permits it", "its owner may not either");
}
