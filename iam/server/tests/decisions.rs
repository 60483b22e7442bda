//! The decision log: what is in it, what survives, what happens when it is full.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::{fs, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdfast_proto::iam::{CreateCredentialRequest, StatusRequest};
use iam_client::{Authority as _, DecisionRecord, Presented, Refusal};
use iam_server::Iam;
use std::sync::Arc;
use support::{ADMIN_TOKEN, Environment, Plane, bearer, open, with};
use tonic::{Code, Request};

fn records(iam: &Iam) -> Vec<Arc<DecisionRecord>> {
    iam.decisions().read(0, 10_000).unwrap()
}

/// Ends the server and opens it again on the same folder.
async fn reopen(plane: Plane) -> Plane {
    let Plane { store, clock, folder, iam, running } = plane;
    running.end().await;
    drop(iam);
    let (iam, running) = open(&store, &clock, folder.path(), &Environment::default(), |_| {}).unwrap();
    iam.settled().await;
    Plane { store, clock, folder, iam, running }
}

#[tokio::test]
async fn logins_and_issues_are_on_disk_before_the_answer() {
    let plane = Plane::start().await;
    let token = plane.principal("user/mira", "reader").await;
    let found = records(&plane.iam);
    assert!(found.iter().enumerate().all(|(index, record)| record.sequence == index as u64 + 1));
    let issue = found.iter().find(|record| record.action == "iam.TokenIssue").unwrap();
    let jti = plane.bearer(&token).await.unwrap().token_id;
    assert_eq!(
        (issue.principal.as_str(), issue.resource.as_str(), &issue.token_id),
        ("bootstrap/admin", "user/mira", &jti)
    );
    assert_eq!((issue.outcome.as_str(), issue.event_id.len()), ("done", 36));
    assert!(!issue.request_id.is_empty());
    assert!(found.iter().any(|record| record.authenticated_by == "bootstrap-token"));
    let text = found.iter().map(|record| format!("{record:?}")).collect::<String>();
    assert!(!text.contains(ADMIN_TOKEN) && !text.contains(&token));
}

#[tokio::test]
async fn the_log_survives_and_goes_on() {
    let plane = Plane::start().await;
    plane.principal("user/mira", "reader").await;
    let before = records(&plane.iam);
    let plane = reopen(plane).await;
    assert_eq!(records(&plane.iam), before);
    plane.token("user/mira").await;
    let after = records(&plane.iam);
    assert_eq!(after[..before.len()], before);
    assert_eq!(after.last().unwrap().sequence, after.len() as u64);

    // A torn write at the end was never acknowledged.
    let segment = fs::read_dir(plane.folder.path().join("decisions")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&segment).unwrap();
    bytes.extend_from_slice(b"HF\x04\x03\x00\x01\x00\x00");
    fs::write(&segment, bytes).unwrap();
    let plane = reopen(plane).await;
    assert_eq!(records(&plane.iam), after);
    plane.token("user/mira").await;
    assert!(records(&plane.iam).len() > after.len());
}

#[tokio::test]
async fn the_cursor_is_remembered() {
    let plane = Plane::start().await;
    plane.principal("user/mira", "reader").await;
    let newest = records(&plane.iam).len() as u64;
    plane.iam.decisions().shipped(newest).unwrap();
    assert_eq!(plane.iam.status().unwrap().decisions.shipped, newest);
    let plane = reopen(plane).await;
    let status = plane.iam.status().unwrap().decisions;
    assert_eq!((status.shipped, status.newest), (newest, newest));
    assert_eq!(plane.iam.decisions().read(newest, 10).unwrap(), []);
}

#[tokio::test]
async fn denials_are_counted_together() {
    let plane = Plane::start().await;
    let token = plane.principal("user/mira", "").await;
    for _ in 0..50 {
        assert!(plane.admin().status(with(&token, StatusRequest {})).await.is_err());
        plane.bearer("eyJhbGciOiJub25lIn0.e30.").await.unwrap_err();
    }
    // Ending the server writes what is still being counted.
    let plane = reopen(plane).await;
    let found = records(&plane.iam);
    let denied: Vec<_> = found.iter().filter(|record| record.outcome == "denied").collect();
    let status = |record: &&&Arc<DecisionRecord>| record.action == "cluster.Read";
    let counted: u64 = denied.iter().filter(status).map(|record| record.count).sum();
    assert_eq!(counted, 50);
    let first = denied.iter().find(status).unwrap();
    assert_eq!((first.principal.as_str(), first.source.as_deref()), ("user/mira", Some("192.0.2.7")));
    assert!(denied.len() <= 6, "{denied:#?}");
}

#[tokio::test]
async fn forged_tokens_are_one_row_whatever_they_name() {
    let plane = Plane::start().await;
    for number in 0..50 {
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"EdDSA","kid":"key-{number}"}}"#));
        plane.bearer(&format!("{header}.e30.AAAA")).await.unwrap_err();
    }
    let plane = reopen(plane).await;
    let denied = records(&plane.iam).into_iter().filter(|record| record.outcome == "denied").collect::<Vec<_>>();
    assert_eq!(denied.iter().map(|record| record.count).sum::<u64>(), 50);
    assert!(denied.len() <= 3 && denied.iter().all(|record| record.resource == "iam/tokens"), "{denied:#?}");
}

/// Nothing is refused that the history does not know of.
#[tokio::test]
async fn every_refusal_leaves_its_row() {
    let plane = Plane::start().await;
    let status = async |request| plane.admin().status(request).await.unwrap_err().code();
    assert_eq!(status(Request::new(StatusRequest {})).await, Code::Unauthenticated);
    let mut twice = with(ADMIN_TOKEN, StatusRequest {});
    twice.metadata_mut().append("authorization", "Bearer other".parse().unwrap());
    assert_eq!(status(twice).await, Code::Unauthenticated);
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    assert_eq!(status(with(&format!("{none}.e30."), StatusRequest {})).await, Code::Unauthenticated);
    for _ in 0..9 {
        assert_eq!(status(with("a-wrong-guess", StatusRequest {})).await, Code::Unauthenticated);
    }
    assert_eq!(status(with("a-wrong-guess", StatusRequest {})).await, Code::ResourceExhausted);

    let plane = reopen(plane).await;
    let denied = records(&plane.iam).into_iter().filter(|record| record.outcome == "denied").collect::<Vec<_>>();
    for (action, resource, reason, count) in [
        ("route.Call", "route/*", "no credentials", 1),
        ("iam.Authenticate", "iam/headers", "credentials that contradict each other, or that cannot be read", 1),
        ("iam.Authenticate", "iam/tokens", "algorithm not allowed for this key", 1),
        ("iam.Authenticate", "iam/secrets", "malformed token, or a wrong bootstrap token", 9),
        ("iam.GuessAlert", "iam/*", "guesses secrets or forges tokens; slowed down", 1),
        ("iam.Authenticate", "iam/secrets", "not looked at, after too many failures", 1),
    ] {
        let same = denied.iter().filter(|row| {
            (row.action.as_str(), row.resource.as_str(), row.reason.as_deref()) == (action, resource, Some(reason))
        });
        assert_eq!(same.map(|row| row.count).sum::<u64>(), count, "{action} {reason}: {denied:#?}");
    }
}

/// All access keys of a principal are one target, from wherever they are tried.
#[tokio::test]
async fn a_principal_is_guessed_at_once_only() {
    let plane = Plane::start().await;
    plane.principal("user/mira", "reader").await;
    let create = || CreateCredentialRequest { principal: "user/mira".into(), note: String::new() };
    let mut keys = Vec::new();
    for _ in 0..2 {
        let new = plane.credentials().create(with(ADMIN_TOKEN, create())).await.unwrap().into_inner();
        keys.push((new.credential.unwrap().access_key_id, new.secret));
    }
    let login = async |from: u8, id: &str, secret: &str| {
        let source = Some(([192, 0, 2, from], 40_000).into());
        let basic = Some((id.to_owned(), secret.to_owned()));
        plane.iam.authenticate(Presented { basic, source, ..Presented::default() }).await
    };
    assert!(login(50, &keys[1].0, &keys[1].1).await.is_ok());
    for from in 0..10 {
        let (id, _) = &keys[usize::from(from) % 2];
        assert_eq!(login(from, id, "wrong").await.unwrap_err(), Refusal::Unauthenticated);
    }
    for (id, secret) in &keys {
        assert!(matches!(login(99, id, secret).await, Err(Refusal::SlowDown { .. })), "also the right one waits");
    }
    for (id, secret) in &keys {
        assert!(login(50, id, secret).await.is_ok(), "others do not lock out who was right a moment ago");
    }
    assert_eq!(login(98, "user/mira", "wrong").await.unwrap_err(), Refusal::Unauthenticated, "a name is no key");
    plane.advance(Duration::from_secs(2));
    assert!(login(99, &keys[0].0, &keys[0].1).await.is_ok());
}

#[tokio::test]
async fn a_full_log_refuses_logins_and_nothing_else() {
    let plane = Plane::start().await;
    let token = plane.principal("user/mira", "reader").await;
    let (small, _running) = {
        let folder = plane.folder.path().join("small");
        open(&plane.store, &plane.clock, &folder, &Environment::default(), |settings| settings.decision_budget = 300)
            .unwrap()
    };
    small.settled().await;
    assert!(bearer(&small, ADMIN_TOKEN).await.is_ok());
    let full = bearer(&small, ADMIN_TOKEN).await.unwrap_err();
    assert!(matches!(&full, Refusal::Unavailable(text) if text.contains("budget")), "{full}");
    assert!(bearer(&small, &token).await.is_ok(), "a token that was issued before is no login");
    // Shipping makes room as soon as the next file begins; here a restart with the normal budget does.
    assert_eq!(records(&small).len(), 1);
    plane.advance(Duration::from_secs(1));
}
