//! When and from where access keys were used last.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::{sync::atomic::Ordering, time::Duration};

use axum::Router;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chainfire_client::SystemStore as _;
use holdfast_proto::iam::{
    CreateCredentialRequest, Credential, ListCredentialsRequest, credentials_client::CredentialsClient,
};
use iam_core::{
    PrincipalId,
    credential_use::LastUses,
    record::{Record as _, key},
};
use support::{ADMIN_TOKEN, Environment, Plane, api, open, with};
use tempfile::TempDir;
use tokio::time::timeout;
use tonic::Request;

/// An access key and its secret, as a caller presents them.
struct Made {
    id: String,
    basic: String,
}

async fn make(plane: &Plane, principal: &str) -> Made {
    let request = CreateCredentialRequest { principal: principal.into(), ..CreateCredentialRequest::default() };
    let new = plane.credentials().create(with(ADMIN_TOKEN, request)).await.unwrap().into_inner();
    let id = new.credential.unwrap().access_key_id;
    let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{}", new.secret)));
    Made { id, basic }
}

/// What its owner sees of it; asking is a use of what is shown.
async fn list(api: Router, authorization: &str, principal: &str) -> Vec<Credential> {
    let mut request = Request::new(ListCredentialsRequest { principal: principal.into() });
    request.metadata_mut().insert("authorization", authorization.parse().unwrap());
    CredentialsClient::new(api).list(request).await.unwrap().into_inner().credentials
}

fn admin() -> String {
    format!("Bearer {ADMIN_TOKEN}")
}

/// What is stored of the uses, and the revision of that.
fn stored(plane: &Plane, principal: &str) -> Option<(LastUses, u64)> {
    let id: PrincipalId = principal.parse().unwrap();
    let found = plane.store.get(&key::last_uses(&id)).unwrap()?;
    Some((LastUses::decode(&found.value).unwrap(), found.revision))
}

/// Waits until what is stored is newer than `revision`.
async fn stored_after(plane: &Plane, principal: &str, revision: u64) -> (LastUses, u64) {
    let mut changes = plane.store.changes();
    let newer = async {
        loop {
            changes.mark_unchanged();
            if let Some(found) = stored(plane, principal).filter(|(_, at)| *at > revision) {
                return found;
            }
            changes.changed().await.unwrap();
        }
    };
    timeout(Duration::from_secs(10), newer).await.unwrap()
}

#[tokio::test]
async fn the_last_use_is_shown_and_stored_once_an_hour() {
    let plane = Plane::start().await;
    plane.principal("service/ci", "operator").await;
    let (used, idle) = (make(&plane, "service/ci").await, make(&plane, "service/ci").await);
    let seen = list(plane.api(), &admin(), "service/ci").await;
    assert!(seen.iter().all(|credential| (credential.last_used_ms, credential.last_used_from.as_str()) == (0, "")));
    assert_eq!(stored(&plane, "service/ci"), None);

    plane.advance(Duration::from_secs(60));
    let first_ms = plane.clock.now_ms.load(Ordering::Relaxed);
    list(plane.api(), &used.basic, "").await;
    let (_, revision) = stored_after(&plane, "service/ci", 0).await;
    let show =
        |seen: Vec<Credential>, id: &str| seen.into_iter().find(|credential| credential.access_key_id == id).unwrap();
    let shown = show(list(plane.api(), &admin(), "service/ci").await, &used.id);
    assert_eq!((shown.last_used_ms, shown.last_used_from.as_str()), (first_ms, "192.0.2.7"));
    assert_eq!(show(list(plane.api(), &admin(), "service/ci").await, &idle.id).last_used_ms, 0);

    // This server knows the next uses exactly; the others, and whoever reads later, to the hour.
    let folder = TempDir::new().unwrap();
    let (other, running) = open(&plane.store, &plane.clock, folder.path(), &Environment::default(), |_| {}).unwrap();
    other.settled().await;
    plane.advance(Duration::from_secs(59 * 60));
    list(plane.api(), &used.basic, "").await;
    let here = show(list(plane.api(), &admin(), "service/ci").await, &used.id);
    let there = show(list(api(&other), &admin(), "service/ci").await, &used.id);
    assert_eq!((here.last_used_ms, there.last_used_ms), (first_ms + 59 * 60_000, first_ms));
    // The other one lets the caller in, too, and has nothing to store.
    list(api(&other), &used.basic, "").await;
    assert_eq!(stored(&plane, "service/ci").unwrap().1, revision);

    plane.advance(Duration::from_secs(60));
    list(plane.api(), &used.basic, "").await;
    let (uses, _) = stored_after(&plane, "service/ci", revision).await;
    assert_eq!(uses.uses.into_values().map(|one| one.at_ms).collect::<Vec<_>>(), [first_ms + 3_600_000]);
    running.end().await;
}

#[tokio::test]
async fn who_is_not_let_in_has_used_nothing() {
    let plane = Plane::start().await;
    plane.principal("service/ci", "operator").await;
    let made = make(&plane, "service/ci").await;
    let wrong = format!("Basic {}", STANDARD.encode(format!("{}:guess", made.id)));
    let mut request = Request::new(ListCredentialsRequest::default());
    request.metadata_mut().insert("authorization", wrong.parse().unwrap());
    plane.credentials().list(request).await.unwrap_err();
    assert_eq!(list(plane.api(), &admin(), "service/ci").await[0].last_used_ms, 0);
}
