//! How identity begins, and which servers do not belong.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::sync::{Arc, atomic::Ordering};

use chainfire_client::{StoreError, memory::MemoryStore};
use holdfast_proto::iam::CreatePrincipalRequest;
use iam_client::{Authority, Presented, Refusal};
use iam_server::{Doors, cached_check};
use support::{ADMIN_TOKEN, Environment, Plane, TestClock, bearer, open, with};
use tempfile::TempDir;
use tonic::Code;

const OTHER_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB\n-----END PRIVATE KEY-----\n";

#[tokio::test]
async fn servers_with_the_same_secrets_share_one_identity() {
    let store = Arc::new(MemoryStore::new().unwrap());
    let clock = TestClock::new();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap()];
    let servers =
        folders.each_ref().map(|folder| open(&store, &clock, folder.path(), &Environment::default(), |_| {}).unwrap());
    let [(first, running), (second, _), (third, _)] = servers;
    let servers = [first.clone(), second, third];
    for server in &servers {
        assert_eq!(server.settled().await, Doors::Open);
    }
    assert!(first.status().unwrap().bootstrap_token_enabled);
    // One signs, the others verify.
    let plane = Plane { store, clock, folder: TempDir::new().unwrap(), iam: first, running };
    let token = plane.principal("user/mira", "reader").await;
    for server in &servers {
        assert_eq!(bearer(server, &token).await.unwrap().principal.to_string(), "user/mira");
    }
}

#[tokio::test]
async fn a_server_with_other_secrets_keeps_its_doors_closed_and_says_why() {
    let plane = Plane::start().await;
    let cases = [
        (
            Environment { admin_token: "another-token-0123456789-abcdefgh".into(), ..Environment::default() },
            "IAM_ADMIN_TOKEN",
        ),
        (Environment { master_key: "ff".repeat(32), ..Environment::default() }, "IAM_CRED_MASTER_KEY"),
        (Environment { signing_key: Some(OTHER_KEY.into()), ..Environment::default() }, "signing key"),
    ];
    for (environment, reason) in cases {
        let folder = TempDir::new().unwrap();
        let (iam, _) = open(&plane.store, &plane.clock, folder.path(), &environment, |_| {}).unwrap();
        let Doors::Closed(reasons) = iam.settled().await else { panic!("{reason}: the doors are open") };
        assert!(reasons.len() == 1 && reasons[0].contains(reason), "{reasons:?}");
        let refused = bearer(&iam, &environment.admin_token).await.unwrap_err();
        assert!(matches!(&refused, Refusal::Unavailable(text) if text.contains(reason)), "{refused}");
        assert_eq!(cached_check(folder.path()).unwrap(), None);
    }
    // The first server goes on.
    assert!(plane.bearer(ADMIN_TOKEN).await.is_ok());
}

#[tokio::test]
async fn later_starts_need_no_signing_key() {
    let plane = Plane::start().await;
    let check = cached_check(plane.folder.path()).unwrap().unwrap();
    assert_eq!(check.len(), 64);
    assert!(std::fs::read_to_string(plane.folder.path().join("iam-ca.pem")).unwrap().starts_with("-----BEGIN CERT"));
    let folder = TempDir::new().unwrap();
    let environment = Environment { signing_key: None, ..Environment::default() };
    let (iam, _) = open(&plane.store, &plane.clock, folder.path(), &environment, |_| {}).unwrap();
    assert_eq!(iam.settled().await, Doors::Open);
}

#[tokio::test]
async fn doors_wait_for_a_quorum() {
    let store = Arc::new(MemoryStore::new().unwrap());
    store.fail_with(Some(StoreError::Unavailable("no leader".into())));
    let clock = TestClock::new();
    let folder = TempDir::new().unwrap();
    let (iam, running) = open(&store, &clock, folder.path(), &Environment::default(), |_| {}).unwrap();
    let refused = iam.authenticate(Presented::default()).await.unwrap_err();
    assert!(matches!(refused, Refusal::Unavailable(_)), "{refused}");
    store.fail_with(None);
    assert_eq!(iam.settled().await, Doors::Open);
    running.end().await;
}

#[tokio::test]
async fn a_server_that_is_cut_off_answers_until_the_stale_limit() {
    let plane = Plane::start().await;
    let token = plane.principal("user/mira", "reader").await;
    plane.store.fail_with(Some(StoreError::Unavailable("no leader".into())));
    plane.clock.steady_ms.store(300_000, Ordering::Relaxed);
    assert!(plane.bearer(&token).await.is_ok(), "verification goes on from the last known state");
    let refused = plane.admin().create_principal(with(ADMIN_TOKEN, user("user/noor"))).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "a write does not");
    plane.clock.steady_ms.store(300_001, Ordering::Relaxed);
    let refused = plane.bearer(&token).await.unwrap_err();
    assert!(matches!(&refused, Refusal::Unavailable(text) if text.contains("quorum")), "{refused}");
}

fn user(id: &str) -> CreatePrincipalRequest {
    CreatePrincipalRequest { id: id.into(), ..Default::default() }
}
