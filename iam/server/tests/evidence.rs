//! What servers and other verifiers say that they enforce, and how steps of a rotation wait for it.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::time::Duration;

use holdfast_proto::iam::{
    AcknowledgeRequest, Binding, CreatePrincipalRequest, ExchangeTokenRequest, GrantRequest, ListSigningKeysRequest,
    ListVerifiersRequest, ListVerifiersResponse, RevokeTokenRequest, SigningKey, SigningKeysResponse,
    StepSigningKeyRequest, Versions, revoke_token_request::What,
};
use iam_server::{Doors, Iam, Settings};
use support::{ADMIN_TOKEN, Environment, Plane, Running, open, with};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

const SOON: Duration = Duration::from_secs(20);

fn named(name: &'static str) -> impl FnOnce(&mut Settings) {
    move |settings| {
        settings.member = name.to_owned();
        settings.members = ["s1", "s2", "s3"].map(str::to_owned).into();
    }
}

async fn three() -> (Plane, TempDir, [(Iam, Running); 2]) {
    let plane = Plane::set_up(Environment::default(), named("s1")).await;
    let folder = TempDir::new().unwrap();
    let others = [second(&plane, &folder, "s2").await, second(&plane, &folder, "s3").await];
    settled(&plane, |_| true).await;
    (plane, folder, others)
}

/// One more server, which keeps its data in `folder`.
async fn second(plane: &Plane, folder: &TempDir, name: &'static str) -> (Iam, Running) {
    let data = folder.path().join(name);
    std::fs::create_dir_all(&data).unwrap();
    let server = open(&plane.store, &plane.clock, &data, &Environment::default(), named(name)).unwrap();
    assert_eq!(server.0.settled().await, Doors::Open);
    server
}

async fn listed(plane: &Plane) -> ListVerifiersResponse {
    plane.verifiers().list(with(ADMIN_TOKEN, ListVerifiersRequest {})).await.unwrap().into_inner()
}

/// Waits until those of whom `of` says so enforce what there is.
async fn settled(plane: &Plane, of: impl Fn(&str) -> bool) {
    let all = async {
        while listed(plane).await.verifiers.iter().any(|verifier| of(&verifier.name) && verifier.behind) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, all).await.unwrap();
}

async fn add(plane: &Plane) -> String {
    plane.admin().add_signing_key(with(ADMIN_TOKEN, Default::default())).await.unwrap().into_inner().kid
}

#[derive(Clone, Copy)]
enum How {
    InTime,
    Now,
    Forced,
}

fn request(kid: &str, how: How) -> tonic::Request<StepSigningKeyRequest> {
    let (now, force) = (matches!(how, How::Now), matches!(how, How::Forced));
    with(ADMIN_TOKEN, StepSigningKeyRequest { kid: kid.into(), now, force, ..Default::default() })
}

async fn activate(plane: &Plane, kid: &str, how: How) -> Result<SigningKeysResponse, Status> {
    plane.admin().activate_signing_key(request(kid, how)).await.map(tonic::Response::into_inner)
}

async fn retire(plane: &Plane, kid: &str, how: How) -> Result<SigningKeysResponse, Status> {
    plane.admin().retire_signing_key(request(kid, how)).await.map(tonic::Response::into_inner)
}

fn first(answer: &SigningKeysResponse) -> String {
    answer.keys[0].kid.clone()
}

#[tokio::test]
async fn servers_say_by_themselves_what_they_enforce() {
    let (plane, _folder, _others) = three().await;
    let before = listed(&plane).await;
    assert_eq!(
        before.verifiers.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(),
        ["server/s1", "server/s2", "server/s3"]
    );
    plane.principal("user/mira", "reader").await;
    add(&plane).await;
    settled(&plane, |_| true).await;
    let (before, after) = (before.current.unwrap(), listed(&plane).await.current.unwrap());
    assert!(after.keys > before.keys && after.policy > before.policy);
    assert_eq!((after.trust, after.revocations), (before.trust, before.revocations));
    // What has not moved is not said again.
    let revision = plane.iam.applied().system_revision;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(plane.iam.applied().system_revision, revision);
}

#[tokio::test]
async fn a_key_signs_at_once_when_every_server_says_that_it_knows_it() {
    let (plane, folder, [second_server, _third]) = three().await;
    let kid = add(&plane).await;
    let early = activate(&plane, &kid, How::InTime).await.unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition, "who says nothing is bounded by time: {early}");
    activate(&plane, &kid, How::Now).await.unwrap();

    // One that is down is named, and waited for until it is cut off anyway.
    second_server.1.end().await;
    let kid = add(&plane).await;
    let refused = activate(&plane, &kid, How::Now).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    for part in [
        "possible in 600 s",
        "these acknowledge: server/s2 (last 0 s ago); forced, what it makes is refused by server/s2",
    ] {
        assert!(refused.message().contains(part), "{part}: {refused}");
    }
    let back = second(&plane, &folder, "s2").await;
    activate(&plane, &kid, How::Now).await.unwrap();

    back.1.end().await;
    let kid = add(&plane).await;
    settled(&plane, |name| name != "server/s2").await;
    let forced = activate(&plane, &kid, How::Forced).await.unwrap();
    assert!(forced.breaks.contains("refused by server/s2 until they know it"), "{}", forced.breaks);
    let kid = add(&plane).await;
    plane.advance(Duration::from_secs(600));
    assert_eq!(activate(&plane, &kid, How::InTime).await.unwrap().breaks, "", "it stopped by itself by now");
}

#[tokio::test]
async fn a_key_is_retired_when_the_last_token_that_any_server_signed_has_ended() {
    let (plane, _folder, [_second, third]) = three().await;
    let days = |count: u64| Duration::from_secs(count * 24 * 3600);
    let old = first(&activate(&plane, &add(&plane).await, How::Now).await.unwrap());
    // The first key may have signed before the servers began.
    plane.advance(days(2));
    retire(&plane, &old, How::InTime).await.unwrap();

    let used = plane.iam.clone();
    let token = plane.principal("user/mira", "").await;
    let before = add(&plane).await;
    let ring = activate(&plane, &before, How::Now).await.unwrap();
    settled(&plane, |_| true).await;
    let second_key = ring.keys[1].kid.clone();
    let early = retire(&plane, &second_key, How::InTime).await.unwrap_err();
    assert!(early.message().contains("is verify-only; to retire it becomes possible in 3630 s, at 20"), "{early}");
    plane.advance(Duration::from_secs(3629));
    assert!(retire(&plane, &second_key, How::InTime).await.is_err());
    assert!(support::bearer(&used, &token).await.is_ok());
    plane.advance(Duration::from_secs(1));
    assert!(support::bearer(&used, &token).await.is_err(), "it has ended");
    retire(&plane, &second_key, How::InTime).await.unwrap();

    // A key that signed nothing waits for nobody's tokens, but for the word of every server, or for the worst case.
    third.1.end().await;
    activate(&plane, &add(&plane).await, How::Forced).await.unwrap();
    settled(&plane, |name| name != "server/s3").await;
    let refused = retire(&plane, &before, How::InTime).await.unwrap_err();
    assert!(refused.message().contains("possible in 86730 s"), "{refused}");
    assert!(refused.message().contains("acknowledge: server/s3"), "{refused}");
    let forced = retire(&plane, &before, How::Forced).await.unwrap();
    assert!(forced.breaks.starts_with("what was made with it is void at once"), "{}", forced.breaks);
}

#[tokio::test]
async fn a_server_that_ended_counts_what_it_may_have_signed() {
    let (plane, folder, [second_server, _third]) = three().await;
    plane.advance(Duration::from_secs(3 * 24 * 3600));
    second_server.1.end().await;
    // While it is away the key that it may have signed with is superseded.
    let ring = activate(&plane, &add(&plane).await, How::Forced).await.unwrap();
    let back = second(&plane, &folder, "s2").await;
    settled(&plane, |_| true).await;
    let listed = listed(&plane).await;
    let second_word = &listed.verifiers[1];
    let now_ms = plane.clock.now_ms.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(second_word.signed_until_ms[&first(&ring)], now_ms + 24 * 3_600_000);
    // And it is not forgotten when it ends again without anything having moved.
    let signed = second_word.signed_until_ms.clone();
    back.1.end().await;
    plane.advance(Duration::from_secs(60));
    second(&plane, &folder, "s2").await;
    // It has looked at what it said last once it says something new.
    plane.principal("user/mira", "").await;
    settled(&plane, |_| true).await;
    add(&plane).await;
    settled(&plane, |_| true).await;
    let listed = self::listed(&plane).await;
    assert_eq!(listed.verifiers[1].signed_until_ms[&first(&ring)], signed[&first(&ring)]);
}

#[tokio::test]
async fn nodes_and_services_acknowledge_and_are_waited_for() {
    let (plane, _folder, _others) = three().await;
    for id in ["service/gateway", "user/mira"] {
        let request = CreatePrincipalRequest { id: id.into(), ..Default::default() };
        plane.admin().create_principal(with(ADMIN_TOKEN, request)).await.unwrap();
    }
    let (gateway, mira) = (plane.token("service/gateway").await, plane.token("user/mira").await);
    let current = listed(&plane).await.current.unwrap();
    let say = async |token: &str, versions| {
        let request = AcknowledgeRequest { versions: Some(versions) };
        plane.verifiers().acknowledge(with(token, request)).await.map(|answer| answer.into_inner().current.unwrap())
    };
    assert_eq!(say(&mira, current).await.unwrap_err().code(), Code::InvalidArgument);
    let ahead = Versions { keys: current.keys + 1, ..current };
    assert_eq!(say(&gateway, ahead).await.unwrap_err().code(), Code::InvalidArgument);
    let binding = Binding { subject: "service/gateway".into(), role: "reader".into(), ..Binding::default() };
    plane
        .admin()
        .grant(with(ADMIN_TOKEN, GrantRequest { binding: Some(binding), ..Default::default() }))
        .await
        .unwrap();
    let current = listed(&plane).await.current.unwrap();
    let narrow = ExchangeTokenRequest { roles: vec!["reader".into()], ttl_s: 0 };
    let narrow = plane.tokens().exchange(with(&gateway, narrow)).await.unwrap().into_inner().token;
    assert_eq!(
        say(&narrow, current).await.unwrap_err().code(),
        Code::InvalidArgument,
        "it does not speak for its owner"
    );
    assert_eq!(say(&gateway, current).await.unwrap(), current);
    let named = listed(&plane).await;
    assert_eq!(named.verifiers.last().map(|last| (last.name.as_str(), last.behind)), Some(("service/gateway", false)));

    let kid = add(&plane).await;
    let refused = activate(&plane, &kid, How::Now).await.unwrap_err();
    assert!(
        refused.message().contains("possible in 300 s") && refused.message().contains("service/gateway"),
        "{refused}"
    );
    let current = listed(&plane).await.current.unwrap();
    say(&gateway, current).await.unwrap();
    activate(&plane, &kid, How::Now).await.unwrap();

    // Who says nothing for a day is waited for no longer.
    plane.advance(Duration::from_secs(25 * 3600));
    assert!(listed(&plane).await.verifiers.iter().all(|verifier| verifier.name != "service/gateway"));
}

#[tokio::test]
async fn a_compromised_key_is_void_at_once_and_stays_so() {
    let plane = Plane::start().await;
    let token = plane.principal("user/mira", "").await;
    let ring = activate(&plane, &add(&plane).await, How::Now).await.unwrap();
    let (old, active) = (first(&ring), ring.kid.clone());
    let give_up = async |kid: &str| plane.admin().compromise_signing_key(request(kid, How::InTime)).await;
    assert_eq!(give_up(&active).await.unwrap_err().code(), Code::FailedPrecondition);
    assert!(plane.bearer(&token).await.is_ok());
    let gone = give_up(&old).await.unwrap().into_inner();
    assert_eq!(gone.keys[0].state, "compromised");
    assert!(plane.bearer(&token).await.is_err());
    let refused = activate(&plane, &old, How::Forced).await.unwrap_err();
    assert!(refused.message().contains("is compromised"), "{refused}");
}

#[tokio::test]
async fn a_revocation_says_who_enforces_it_and_for_how_long_others_matter() {
    let (plane, _folder, [_second, third]) = three().await;
    let now_s = plane.clock.now_ms.load(std::sync::atomic::Ordering::Relaxed) / 1000;
    let token = plane.principal("user/mira", "").await;
    let jti = plane.bearer(&token).await.unwrap().token_id.unwrap();
    let revoke = async |token: &str, what, wait_s| {
        let request = RevokeTokenRequest { what: Some(what), wait_s };
        plane.tokens().revoke(with(token, request)).await.map(tonic::Response::into_inner)
    };
    assert_eq!(revoke(&token, What::Jti(jti.clone()), 31).await.unwrap_err().code(), Code::InvalidArgument);
    let receipt = revoke(&token, What::Jti(jti), 20).await.unwrap();
    assert_eq!((receipt.enforced, receipt.servers, receipt.stragglers.len()), (3, 3, 0));
    assert_eq!((receipt.servers_until_ms, receipt.outside_until_ms), (0, (now_s + 3600 + 30) * 1000), "its own end");

    third.1.end().await;
    let before = plane.token("user/mira").await;
    let receipt = revoke(ADMIN_TOKEN, What::Principal("user/mira".into()), 1).await.unwrap();
    assert_eq!((receipt.enforced, receipt.servers, receipt.stragglers[0].verifier.as_str()), (2, 3, "server/s3"));
    assert_eq!(receipt.servers_until_ms, (now_s + 300) * 1000, "then it is cut off");
    assert_eq!(receipt.outside_until_ms, (now_s + 24 * 3600 + 30) * 1000);
    assert!(plane.bearer(&before).await.is_err());
}

#[tokio::test]
async fn what_a_key_signed_is_revoked_with_it_or_alone() {
    let plane = Plane::start().await;
    let (token, kid) = (plane.principal("user/mira", "").await, listed_keys(&plane).await[0].kid.clone());
    let revoke = |what| with(ADMIN_TOKEN, RevokeTokenRequest { what: Some(what), wait_s: 0 });
    let unknown = plane.tokens().revoke(revoke(What::Kid("x".into()))).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    plane.tokens().revoke(revoke(What::Kid(kid.clone()))).await.unwrap();
    assert!(plane.bearer(&token).await.is_err());
    let later = plane.token("user/mira").await;
    assert!(plane.bearer(&later).await.is_ok(), "signed after the revocation, in the same second");

    let ring = activate(&plane, &add(&plane).await, How::Now).await.unwrap();
    assert!(retire(&plane, &kid, How::InTime).await.is_err());
    let request = StepSigningKeyRequest { kid: kid.clone(), revoke_population: true, ..Default::default() };
    let early = plane.admin().activate_signing_key(with(ADMIN_TOKEN, request.clone())).await.unwrap_err();
    assert_eq!(early.code(), Code::InvalidArgument);
    let rehearsal = StepSigningKeyRequest { dry_run: true, ..request.clone() };
    let would = plane.admin().retire_signing_key(with(ADMIN_TOKEN, rehearsal)).await.unwrap().into_inner();
    assert!(would.breaks.starts_with("what was made with it is void at once"), "{}", would.breaks);
    assert!(plane.bearer(&later).await.is_ok());
    let retired = plane.admin().retire_signing_key(with(ADMIN_TOKEN, request)).await.unwrap().into_inner();
    assert_eq!((retired.keys[0].state.as_str(), &retired.breaks), ("retired", &would.breaks));
    assert!(plane.bearer(&later).await.is_err());
    assert!(plane.bearer(&plane.token("user/mira").await).await.is_ok());
    let signed_until_ms = listed_keys(&plane).await.iter().map(|key| key.signed_until_ms).collect::<Vec<_>>();
    assert!(signed_until_ms[0] > 0 && signed_until_ms.len() == ring.keys.len());
}

async fn listed_keys(plane: &Plane) -> Vec<SigningKey> {
    let request = with(ADMIN_TOKEN, ListSigningKeysRequest {});
    plane.admin().list_signing_keys(request).await.unwrap().into_inner().keys
}
