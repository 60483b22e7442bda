//! Authorities that come and go, and certificates that do not count.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::time::Duration;

use axum::body::Body;
use holdfast_proto::iam::{
    AddRootRequest, AllowRequest, CheckRequest, CreateJoinTokenRequest, DenyRequest, EnrollRequest, ListDeniedRequest,
    ListRootsRequest, RootsResponse, StepRootRequest,
};
use http::Request;
use iam_ca::{Authority, KeyAlgorithm, Leaf, PrivateKey, Root, Usage, Validity};
use iam_client::Refusal;
use iam_server::Settings;
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use support::{ADMIN_TOKEN, Environment, Plane, node::Node, open::Open, with};
use time::OffsetDateTime;
use tonic::Code;
use tower::ServiceExt as _;
use x509_parser::extensions::ParsedExtension;

fn step(id: &str) -> StepRootRequest {
    StepRootRequest { id: id.to_owned(), ..StepRootRequest::default() }
}

fn states(answer: &RootsResponse) -> Vec<&str> {
    answer.roots.iter().map(|root| root.state.as_str()).collect()
}

async fn list(plane: &Plane) -> RootsResponse {
    plane.trust().list(with(ADMIN_TOKEN, ListRootsRequest {})).await.unwrap().into_inner()
}

async fn add(plane: &Plane, certificate: &[u8]) -> Result<RootsResponse, tonic::Status> {
    let request =
        AddRootRequest { certificate: certificate.to_vec().into(), own_names: true, ..AddRootRequest::default() };
    plane.trust().add_root(with(ADMIN_TOKEN, request)).await.map(tonic::Response::into_inner)
}

fn now_ms(plane: &Plane) -> u64 {
    plane.clock.now_ms.load(std::sync::atomic::Ordering::Relaxed)
}

fn now(plane: &Plane) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(i64::try_from(now_ms(plane) / 1000).unwrap()).unwrap()
}

fn issuer(certificate: &[u8]) -> Vec<u8> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).unwrap();
    let key = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(authority) => authority.key_identifier.as_ref(),
        _ => None,
    });
    key.unwrap().0.to_vec()
}

async fn join_token(plane: &Plane, node: &str) -> String {
    let request = CreateJoinTokenRequest { node: node.into(), ttl_s: 600 };
    plane.enrollment().create_join_token(with(ADMIN_TOKEN, request)).await.unwrap().into_inner().join_token
}

/// An authority that has nothing to do with the plane, and a certificate of it.
fn foreign(plane: &Plane, uri: &str) -> (Authority, Vec<u8>) {
    let (from, until) = (now(plane) - Duration::from_secs(60), now(plane) + Duration::from_secs(3600));
    let validity = Validity { from, until, serial: [7; 16] };
    let root = Root { organization: None, common_name: "foreign", uri: None, below: 0 };
    let authority = Authority::root(&root, PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap(), validity).unwrap();
    let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap().public_key_info();
    let leaf = Leaf { common_name: "x", uri, usage: Usage::Client };
    let certificate = authority.certify(&leaf, &key, Validity { serial: [8; 16], ..validity }).unwrap().der;
    (authority, certificate)
}

#[tokio::test]
async fn authorities_rotate_with_overlap_and_removal_closes_connections() {
    let plane = Plane::start().await;
    let first = list(&plane).await.roots[0].id.clone();
    let old = Node::enroll(&plane, "pier1").await;
    let second = add(&plane, &[]).await.unwrap();
    assert_eq!((states(&second), second.enforced.len()), (vec!["active", "trusted"], 1));
    assert!(second.roots[1].own && second.enforced[0].enforced);
    let second = second.id;
    let between = Node::enroll(&plane, "pier2").await;
    assert_eq!(between.bundle.len(), 2, "who joins meanwhile knows both");

    let early = plane.trust().activate(with(ADMIN_TOKEN, step(&second))).await.unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition);
    assert!(early.message().contains("to activate it becomes possible in 300 s"), "{}", early.message());
    let early = plane.trust().remove(with(ADMIN_TOKEN, step(&first))).await.unwrap_err();
    assert!(early.message().contains("activate another one first"), "{}", early.message());
    let (late, too_late) = (join_token(&plane, "late").await, join_token(&plane, "too-late").await);
    plane.advance(Duration::from_secs(300));
    let active = plane.trust().activate(with(ADMIN_TOKEN, step(&second))).await.unwrap().into_inner();
    assert_eq!(states(&active), ["overlap", "active"]);
    let csr_der = CertificateParams::default().serialize_request(&KeyPair::generate().unwrap()).unwrap();
    let csr_der: bytes::Bytes = csr_der.der().to_vec().into();
    let request = EnrollRequest { join_token: late, csr_der: csr_der.clone() };
    plane.advance(Duration::from_secs(60));
    let joined = plane.enrollment().enroll(request).await.unwrap().into_inner();
    let late = Node { chain: vec![joined.certificate_chain[0].to_vec()], bundle: Vec::new() };
    assert!(late.identity(&plane).await.is_ok(), "by the authority that its token names");
    assert_eq!(issuer(&late.chain[0]), issuer(&old.chain[0]));
    assert_eq!(joined.ca_bundle.len(), 2, "and it is told of the next");
    // It ends when everything of the old authority does, so that nothing keeps that from its removal.
    let since_activation_s = (joined.expires_ms - now_ms(&plane)).div_ceil(1000) + 60;
    assert!((86_399..=86_400).contains(&since_activation_s), "{since_activation_s}");

    let new = Node::enroll(&plane, "pier3").await;
    for node in [&old, &between, &new] {
        assert!(node.identity(&plane).await.is_ok(), "both count");
    }
    let early = plane.trust().remove(with(ADMIN_TOKEN, step(&first))).await.unwrap_err();
    assert!(early.message().contains("becomes possible in 86370 s"), "{}", early.message());
    let rehearsal = StepRootRequest { force: true, dry_run: true, ..step(&first) };
    let rehearsal = plane.trust().remove(with(ADMIN_TOKEN, rehearsal)).await.unwrap().into_inner();
    assert!(rehearsal.breaks.contains("what was made with it is void at once"), "{}", rehearsal.breaks);
    assert_eq!(states(&list(&plane).await), ["overlap", "active"]);

    let [mut of_old, mut of_new] =
        [Open::to(&plane, old.chain.clone()).await, Open::to(&plane, new.chain.clone()).await];
    assert!(of_old.is_known(None).await && of_new.is_known(None).await);
    let forced = StepRootRequest { force: true, ..step(&first) };
    let removed = plane.trust().remove(with(ADMIN_TOKEN, forced)).await.unwrap().into_inner();
    assert_eq!(states(&removed), ["removed", "active"]);
    assert_eq!((removed.enforced[0].enforced, removed.enforced[0].closed), (true, 1));
    assert!(of_old.ends().await && of_new.is_known(None).await);
    assert_eq!(old.identity(&plane).await.unwrap_err(), Refusal::Unauthenticated);
    let request = EnrollRequest { join_token: too_late, csr_der };
    let refused = plane.enrollment().enroll(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "the node would not believe the other authority: {refused}");
    assert_eq!(Node::enroll(&plane, "pier4").await.bundle, [list(&plane).await.roots[1].certificate.to_vec()]);
    let bundle = std::fs::read_to_string(plane.folder.path().join("iam-ca.pem")).unwrap();
    assert_eq!(bundle.matches("BEGIN CERTIFICATE").count(), 1);

    let early = plane.trust().purge(with(ADMIN_TOKEN, step(&first))).await.unwrap_err();
    assert!(early.message().contains("becomes possible in 86400 s"), "{}", early.message());
    plane.advance(Duration::from_secs(86_400));
    for _ in 0..2 {
        let purged = plane.trust().purge(with(ADMIN_TOKEN, step(&first))).await.unwrap().into_inner();
        assert_eq!(states(&purged), ["active"]);
    }
}

#[tokio::test]
async fn nobody_joins_with_a_certificate_that_ends_at_once() {
    let brief = |settings: &mut Settings| settings.lifetimes.certificate = Duration::from_secs(600);
    let plane = Plane::set_up(Environment::default(), brief).await;
    let first = list(&plane).await.roots[0].id.clone();
    let second = add(&plane, &[]).await.unwrap().id;
    plane.advance(Duration::from_secs(300));
    let (late, too_late) = (join_token(&plane, "late").await, join_token(&plane, "too-late").await);
    plane.trust().activate(with(ADMIN_TOKEN, step(&second))).await.unwrap();
    let enroll = async |join_token: &str| {
        let csr = CertificateParams::default().serialize_request(&KeyPair::generate().unwrap()).unwrap();
        let request = EnrollRequest { join_token: join_token.into(), csr_der: csr.der().to_vec().into() };
        plane.enrollment().enroll(request).await.map(drop)
    };
    plane.advance(Duration::from_secs(540));
    enroll(&late).await.unwrap();
    plane.advance(Duration::from_secs(1));
    let refused = enroll(&too_late).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("make a new join token"), "{refused}");
    plane.trust().activate(with(ADMIN_TOKEN, step(&first))).await.unwrap();
    enroll(&too_late).await.unwrap();
}

#[tokio::test]
async fn somebody_else_s_authority_is_trusted_and_issues_nothing() {
    let plane = Plane::start().await;
    plane.principal("user/mira", "reader").await;
    let (authority, certificate) = foreign(&plane, "spiffe://harbour.example/user/mira");
    let mira = Node { chain: vec![certificate], bundle: Vec::new() };
    assert_eq!(mira.identity(&plane).await.unwrap_err(), Refusal::Unauthenticated);
    let added = add(&plane, authority.der()).await.unwrap();
    assert!((states(&added), added.roots[1].own) == (vec!["active", "trusted"], false));
    assert!(added.roots[1].subject.contains("foreign"));
    assert_eq!(mira.identity(&plane).await.unwrap().principal.to_string(), "user/mira");
    let keyless = StepRootRequest { force: true, ..step(&added.id) };
    let keyless = plane.trust().activate(with(ADMIN_TOKEN, keyless)).await.unwrap_err();
    assert_eq!((keyless.code(), keyless.message().contains("its key is not here")), (Code::FailedPrecondition, true));
    assert_eq!(add(&plane, authority.der()).await.unwrap_err().code(), Code::Aborted);
    for bad in [b"garbage".as_slice(), &mira.chain[0]] {
        assert_eq!(add(&plane, bad).await.unwrap_err().code(), Code::InvalidArgument);
    }
    let removed = plane.trust().remove(with(ADMIN_TOKEN, step(&added.id))).await.unwrap().into_inner();
    assert_eq!(states(&removed), ["active", "removed"]);
    assert_eq!(mira.identity(&plane).await.unwrap_err(), Refusal::Unauthenticated);
}

#[tokio::test]
async fn a_denied_certificate_does_not_count_until_it_is_allowed() {
    let plane = Plane::start().await;
    let (stolen, other) = (Node::enroll(&plane, "pier1").await, Node::enroll(&plane, "pier2").await);
    let checked = CheckRequest { certificate_chain: vec![stolen.chain[0].clone().into()] };
    let checked = plane.trust().check(with(ADMIN_TOKEN, checked)).await.unwrap().into_inner();
    let mut open = Open::to(&plane, stolen.chain.clone()).await;
    assert!(open.is_known(None).await);
    let deny = DenyRequest { serial: checked.serial.to_uppercase(), reason: "the disk was sold".into() };
    let denied = plane.trust().deny(with(ADMIN_TOKEN, deny)).await.unwrap().into_inner();
    assert_eq!((denied.enforced[0].enforced, denied.enforced[0].closed), (true, 1));
    assert!(open.ends().await);
    assert_eq!(stolen.identity(&plane).await.unwrap_err(), Refusal::Unauthenticated);
    assert!(other.identity(&plane).await.is_ok());
    let listed = plane.trust().list_denied(with(ADMIN_TOKEN, ListDeniedRequest::default())).await.unwrap().into_inner();
    assert_eq!((listed.denied.len(), listed.denied[0].reason.as_str()), (1, "the disk was sold"));
    let allow = AllowRequest { serial: checked.serial };
    plane.trust().allow(with(ADMIN_TOKEN, allow.clone())).await.unwrap();
    assert!(stolen.identity(&plane).await.is_ok());
    assert_eq!(plane.trust().allow(with(ADMIN_TOKEN, allow)).await.unwrap_err().code(), Code::NotFound);
    for serial in ["", "xyz", "0", &"7".repeat(41)] {
        let deny = DenyRequest { serial: serial.into(), reason: "x".into() };
        assert_eq!(plane.trust().deny(with(ADMIN_TOKEN, deny)).await.unwrap_err().code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn a_certificate_is_checked_against_what_may_come() {
    let plane = Plane::start().await;
    let node = Node::enroll(&plane, "pier2").await;
    let (first, second) = (list(&plane).await.roots[0].id.clone(), add(&plane, &[]).await.unwrap().id);
    let check = async |chain: &[Vec<u8>]| {
        let request = CheckRequest { certificate_chain: chain.iter().map(|der| der.clone().into()).collect() };
        let answer = plane.trust().check(with(ADMIN_TOKEN, request)).await.unwrap().into_inner();
        answer
            .verdicts
            .into_iter()
            .map(|verdict| (verdict.when, verdict.principal, verdict.refused, verdict.possible_ms))
            .collect::<Vec<_>>()
    };
    let verdict =
        |when: &str, principal: &str, refused: &str, at: u64| (when.to_owned(), principal.into(), refused.into(), at);
    let untrusted = "no trusted authority issued it";
    assert_eq!(
        check(&node.chain).await,
        [
            verdict("now", "node/pier2", "", 0),
            // The active one cannot be removed at any time.
            verdict(&format!("remove {first}"), "", untrusted, 0),
            verdict(&format!("remove {second}"), "node/pier2", "", now_ms(&plane)),
        ]
    );
    assert_eq!(
        check(&[foreign(&plane, "spiffe://harbour.example/node/pier2").1]).await[0],
        verdict("now", "", untrusted, 0)
    );
}

#[tokio::test]
async fn only_admins_change_whom_to_trust() {
    let plane = Plane::start().await;
    let (operator, auditor) =
        (plane.principal("user/noor", "operator").await, plane.principal("user/mira", "auditor").await);
    for token in [&operator, &auditor] {
        let denied = plane.trust().add_root(with(token, AddRootRequest::default())).await.unwrap_err();
        assert_eq!((denied.code(), denied.message()), (Code::PermissionDenied, "not permitted: iam.Admin on iam/*"));
    }
    assert!(plane.trust().list(with(&auditor, ListRootsRequest {})).await.is_ok());
}

#[tokio::test]
async fn the_bundle_is_published() {
    let plane = Plane::start().await;
    let fetch = async || {
        let answer = plane.api().oneshot(Request::get("/spiffe/bundle").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.headers()["cache-control"], "public, max-age=300");
        let bytes = axum::body::to_bytes(answer.into_body(), 65_536).await.unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()
    };
    let before = fetch().await;
    let revision = add(&plane, &[]).await.unwrap().revision;
    let after = fetch().await;
    let used_for = |bundle: &Value| -> Vec<String> {
        bundle["keys"].as_array().unwrap().iter().map(|key| key["use"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(used_for(&before), ["x509-svid", "jwt-svid"]);
    assert_eq!(used_for(&after), ["x509-svid", "x509-svid", "jwt-svid"]);
    assert_eq!((&after["spiffe_sequence"], &after["spiffe_refresh_hint"]), (&revision.into(), &300.into()));
    assert!(after["keys"][0]["x5c"][0].as_str().unwrap().starts_with("MII"));
    assert_eq!((&after["keys"][0]["kty"], &after["keys"][0]["crv"]), (&"EC".into(), &"P-256".into()));
}

/// Whoever denies an authority below a root denies everybody that it vouches for.
#[tokio::test]
async fn a_denied_intermediate_vouches_for_nobody() {
    let plane = Plane::start().await;
    let (from, until) = (now(&plane) - Duration::from_secs(60), now(&plane) + Duration::from_secs(3600));
    let validity = |serial| Validity { from, until, serial: [serial; 16] };
    let root = Root { organization: None, common_name: "offline", uri: None, below: 1 };
    let key = || PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap();
    let root = Authority::root(&root, key(), validity(1)).unwrap();
    let below = key();
    let host = "harbour.example";
    let signed = root.intermediate("online", host, &below.public_key_info(), validity(2)).unwrap();
    let intermediate = Authority::open(&signed.der, below).unwrap();
    let uri = format!("spiffe://{host}/user/mira");
    let leaf = Leaf { common_name: "mira", uri: &uri, usage: Usage::Client };
    let leaf = intermediate.certify(&leaf, &key().public_key_info(), validity(3)).unwrap();
    add(&plane, root.der()).await.unwrap();
    plane.principal("user/mira", "reader").await;
    let mira = Node { chain: vec![leaf.der, signed.der], bundle: Vec::new() };
    assert!(mira.identity(&plane).await.is_ok());
    let deny = DenyRequest { serial: signed.serial, reason: "lost".into() };
    plane.trust().deny(with(ADMIN_TOKEN, deny)).await.unwrap();
    assert!(matches!(mira.identity(&plane).await, Err(Refusal::Unauthenticated)));
}
