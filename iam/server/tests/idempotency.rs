//! Changes that are sent again because their answer was lost.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::time::Duration;

use axum::Router;
use futures::future::join_all;
use holdfast_proto::iam::{
    Binding, CreateCredentialRequest, CreateCredentialResponse, CreateJoinTokenRequest, CreatePrincipalRequest,
    CreatePrincipalResponse, Credential, EnrollRequest, GetCredentialSecretRequest, GrantRequest,
    ListCredentialsRequest, RevokeCredentialRequest, admin_client::AdminClient, credentials_client::CredentialsClient,
};
use support::{ADMIN_TOKEN, Environment, Plane, api, open, with};
use tempfile::TempDir;
use tonic::{Code, Request, Status};

fn keyed<T>(token: &str, key: &str, message: T) -> Request<T> {
    let mut request = with(token, message);
    request.metadata_mut().insert("idempotency-key", key.parse().unwrap());
    request
}

async fn create(api: Router, token: &str, key: &str, note: &str) -> Result<CreateCredentialResponse, Status> {
    let request = CreateCredentialRequest { note: note.into(), ..CreateCredentialRequest::default() };
    CredentialsClient::new(api).create(keyed(token, key, request)).await.map(tonic::Response::into_inner)
}

async fn principal(api: Router, key: &str, id: &str) -> Result<CreatePrincipalResponse, Status> {
    let request = CreatePrincipalRequest { id: id.into(), ..Default::default() };
    AdminClient::new(api).create_principal(keyed(ADMIN_TOKEN, key, request)).await.map(tonic::Response::into_inner)
}

async fn live(plane: &Plane, principal: &str) -> Vec<Credential> {
    let request = with(ADMIN_TOKEN, ListCredentialsRequest { principal: principal.into() });
    let found = plane.credentials().list(request).await.unwrap().into_inner().credentials;
    found.into_iter().filter(|credential| !credential.revoked).collect()
}

#[tokio::test]
async fn an_access_key_whose_answer_was_lost_is_found_again() {
    let plane = Plane::start().await;
    let ci = plane.principal("service/ci", "").await;
    let made = create(plane.api(), &ci, "build-7", "for builds").await.unwrap();
    let id = made.credential.unwrap().access_key_id;

    let again = create(plane.api(), &ci, "build-7", "for builds").await.unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists);
    assert!(again.message().contains(&format!("access-key/{id} at revision {}", made.revision)), "{again:?}");
    assert!(!again.message().contains(&made.secret));
    assert_eq!(live(&plane, "service/ci").await.len(), 1, "nothing that its owner does not know of");
    let request = with(&ci, GetCredentialSecretRequest { access_key_id: id.clone() });
    assert_eq!(plane.credentials().get_credential_secret(request).await.unwrap().into_inner().secret, made.secret);

    // Another server has heard of it, too.
    let folder = TempDir::new().unwrap();
    let (other, running) = open(&plane.store, &plane.clock, folder.path(), &Environment::default(), |_| {}).unwrap();
    other.settled().await;
    assert_eq!(create(api(&other), &ci, "build-7", "for builds").await.unwrap_err().code(), Code::AlreadyExists);
    running.end().await;

    let another = create(plane.api(), &ci, "build-8", "for builds").await.unwrap().credential.unwrap();
    assert_ne!(another.access_key_id, id);
    // An answer without a secret is given again.
    let request = RevokeCredentialRequest { access_key_id: id, force: false };
    let revoked = plane.credentials().revoke(keyed(&ci, "build-9", request.clone())).await.unwrap().into_inner();
    assert_eq!(plane.credentials().revoke(keyed(&ci, "build-9", request)).await.unwrap().into_inner(), revoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_the_same_time_are_made_once() {
    let plane = Plane::start().await;
    let ci = plane.principal("service/ci", "").await;
    let send = |_| {
        let (api, ci) = (plane.api(), ci.clone());
        tokio::spawn(async move { create(api, &ci, "build-7", "").await })
    };
    let answers: Vec<_> = join_all((0..8).map(send)).await.into_iter().map(Result::unwrap).collect();
    let made: Vec<_> = answers.iter().flatten().collect();
    assert_eq!(made.len(), 1, "{answers:?}");
    let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
    assert!(refused.clone().all(|status| status.code() == Code::AlreadyExists), "{answers:?}");
    assert_eq!(live(&plane, "service/ci").await.len(), 1);
}

#[tokio::test]
async fn a_repeated_change_answers_as_the_first_did() {
    let plane = Plane::start().await;
    let first = principal(plane.api(), "k", "user/mira").await.unwrap();
    assert_eq!(principal(plane.api(), "k", "user/mira").await.unwrap(), first);
    assert_eq!(principal(plane.api(), "other", "user/mira").await.unwrap_err().code(), Code::Aborted);

    let other = principal(plane.api(), "k", "user/noor").await.unwrap_err();
    assert_eq!(other.code(), Code::InvalidArgument);
    assert!(other.message().contains("was used for another request"), "{other:?}");
    // Another method is another request; another caller has keys of its own.
    let binding = Binding { subject: "user/mira".into(), role: "admin".into(), ..Binding::default() };
    let grant = GrantRequest { binding: Some(binding), ..Default::default() };
    let refused = plane.admin().grant(keyed(ADMIN_TOKEN, "k", grant.clone())).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    plane.admin().grant(with(ADMIN_TOKEN, grant)).await.unwrap();
    let mira = plane.token("user/mira").await;
    let request = CreatePrincipalRequest { id: "user/noor".into(), ..CreatePrincipalRequest::default() };
    plane.admin().create_principal(keyed(&mira, "k", request)).await.unwrap();

    // A day later it is a key like any other.
    plane.advance(Duration::from_secs(24 * 3600));
    assert_eq!(principal(plane.api(), "k", "user/mira").await.unwrap(), first);
    plane.advance(Duration::from_secs(1));
    assert_eq!(principal(plane.api(), "k", "user/mira").await.unwrap_err().code(), Code::Aborted);
    principal(plane.api(), "k", "user/sol").await.unwrap();
}

#[tokio::test]
async fn what_was_refused_has_not_used_its_key() {
    let plane = Plane::start().await;
    let binding = Binding { subject: "user/mira".into(), role: "reader".into(), ..Binding::default() };
    let grant = GrantRequest { binding: Some(binding), ..Default::default() };
    let refused = plane.admin().grant(keyed(ADMIN_TOKEN, "k", grant.clone())).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    principal(plane.api(), "mira", "user/mira").await.unwrap();
    let made = plane.admin().grant(keyed(ADMIN_TOKEN, "k", grant.clone())).await.unwrap().into_inner();
    assert_eq!(plane.admin().grant(keyed(ADMIN_TOKEN, "k", grant)).await.unwrap().into_inner(), made);
}

#[tokio::test]
async fn keys_that_are_none_are_refused() {
    let plane = Plane::start().await;
    for key in ["", "two words", &"k".repeat(129)] {
        let refused = principal(plane.api(), key, "user/mira").await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{key:?}");
    }
    let request = CreatePrincipalRequest { id: "user/mira".into(), ..CreatePrincipalRequest::default() };
    let mut twice = keyed(ADMIN_TOKEN, "a", request);
    twice.metadata_mut().append("idempotency-key", "b".parse().unwrap());
    assert_eq!(plane.admin().create_principal(twice).await.unwrap_err().code(), Code::InvalidArgument);
    // Whom nobody knows has no keys; a join token is good once without one.
    let mut enroll = Request::new(EnrollRequest::default());
    enroll.metadata_mut().insert("idempotency-key", "k".parse().unwrap());
    assert_eq!(plane.enrollment().enroll(enroll).await.unwrap_err().code(), Code::InvalidArgument);

    principal(plane.api(), "pier2", "node/pier2").await.unwrap();
    let request = CreateJoinTokenRequest { node: "pier2".into(), ttl_s: 60 };
    plane.enrollment().create_join_token(keyed(ADMIN_TOKEN, "join", request.clone())).await.unwrap();
    let again = plane.enrollment().create_join_token(keyed(ADMIN_TOKEN, "join", request)).await.unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists);
    assert!(again.message().contains("iam.JoinTokenCreate node/pier2"), "{again:?}");
}
