//! A node's way in: join token, certificate, bearer token, renewal.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use chainfire_client::SystemStore as _;
use holdfast_proto::iam::{
    AllowRequest, CreateJoinTokenRequest, DenyRequest, EnrollRequest, EnrollResponse, ListEnrollmentsRequest,
    RenewRequest, SetPrincipalRequest, enrollment_server::Enrollment,
};
use http::{Request, StatusCode};
use iam_client::{Authority, Identity, Presented, Refusal};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, SanType};
use ring::signature::Ed25519KeyPair;
use serde_json::{Value, json};
use support::{ADMIN_TOKEN, Environment, ISSUER, Plane, with};
use tonic::{Code, Status};
use tower::ServiceExt as _;

const NODE: &str = "spiffe://harbour.example/node/pier2";

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).unwrap()
}

/// A request that asks to be somebody else.
fn request(key: &KeyPair) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI("spiffe://harbour.example/user/root".try_into().unwrap())];
    params.serialize_request(key).unwrap().der().to_vec()
}

async fn join_token(plane: &Plane) -> String {
    let request = CreateJoinTokenRequest { node: "pier2".into(), ttl_s: 600 };
    plane.enrollment().create_join_token(with(ADMIN_TOKEN, request)).await.unwrap().into_inner().join_token
}

async fn enroll(plane: &Plane, token: &str, key: &KeyPair) -> Result<EnrollResponse, Status> {
    let request = EnrollRequest { join_token: token.into(), csr_der: request(key).into() };
    Ok(plane.enrollment().enroll(request).await?.into_inner())
}

async fn by_certificate(plane: &Plane, chain: &[&[u8]]) -> Result<Identity, Refusal> {
    let certificates = chain.iter().map(|der| Arc::from(*der)).collect();
    plane.iam.authenticate(Presented { certificates, ..Presented::default() }).await
}

#[tokio::test]
async fn a_join_token_lets_one_key_in() {
    let plane = Plane::start().await;
    let token = join_token(&plane).await;
    let (mine, thief) = (key(), key());
    let first = enroll(&plane, &token, &mine).await.unwrap();
    assert_eq!(first.spiffe_id, NODE);
    let identity = by_certificate(&plane, &[&first.certificate_chain[0]]).await.unwrap();
    assert!(identity.is_node("pier2") && identity.roles == ["node"]);
    assert!(plane.iam.authorize(&identity, "config.ReadArtifact", "node/pier2").is_ok());
    assert!(plane.iam.authorize(&identity, "config.ReadArtifact", "node/pier3").is_err());

    let again = enroll(&plane, &token, &mine).await.unwrap();
    assert_eq!(again, first, "a lost answer is given again");
    let refused = enroll(&plane, &token, &thief).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.message().starts_with("the join token admits nobody"), "{refused}");
    plane.advance(Duration::from_secs(600));
    assert_eq!(enroll(&plane, &token, &mine).await.unwrap_err().code(), Code::Unauthenticated);

    let enrollments = async || {
        let list = with(ADMIN_TOKEN, ListEnrollmentsRequest::default());
        plane.enrollment().list_enrollments(list).await.unwrap().into_inner().enrollments
    };
    let events = enrollments().await;
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].node.as_str(), events[0].join_token_id.len()), ("pier2", 64));
    assert_eq!(events[0].revoked, "");
    let deny = DenyRequest { serial: events[0].serial.clone(), reason: "sold".into() };
    plane.trust().deny(with(ADMIN_TOKEN, deny)).await.unwrap();
    assert_eq!(enrollments().await[0].revoked, "sold");
    let allow = AllowRequest { serial: events[0].serial.clone() };
    plane.trust().allow(with(ADMIN_TOKEN, allow)).await.unwrap();
    assert_eq!(enrollments().await[0].revoked, "");
    let disable = SetPrincipalRequest { id: "node/pier2".into(), disabled: true, ..Default::default() };
    plane.admin().set_principal(with(ADMIN_TOKEN, disable)).await.unwrap();
    assert_eq!(enrollments().await[0].revoked, "the node is disabled");
}

#[tokio::test]
async fn bad_join_tokens_admit_nobody() {
    let plane = Plane::start().await;
    let token = join_token(&plane).await;
    let (_, hash) = token.strip_prefix("hfjoin.pier2.").unwrap().split_once('.').map(|(hash, _)| ((), hash)).unwrap();
    let bundle = enroll(&plane, &token, &key()).await.unwrap().ca_bundle;
    let (_, authority) = x509_parser::parse_x509_certificate(&bundle[0]).unwrap();
    let expected = ring::digest::digest(&ring::digest::SHA256, authority.public_key().raw);
    assert_eq!(hash, URL_SAFE_NO_PAD.encode(expected), "the node can trust its first contact");

    let late = join_token(&plane).await;
    plane.advance(Duration::from_secs(600));
    let renamed = join_token(&plane).await.replace("pier2", "pier3");
    for token in ["", "hfjoin", "hfjoin.pier2.x.y", late.as_str(), renamed.as_str()] {
        assert_eq!(enroll(&plane, token, &key()).await.unwrap_err().code(), Code::Unauthenticated, "{token}");
    }
    let good = join_token(&plane).await;
    let mut damaged = request(&key());
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    for csr in [Vec::new(), b"garbage".to_vec(), damaged] {
        let request = EnrollRequest { join_token: good.clone(), csr_der: csr.into() };
        assert_eq!(plane.enrollment().enroll(request).await.unwrap_err().code(), Code::InvalidArgument);
    }
    assert!(enroll(&plane, &good, &key()).await.is_ok(), "a bad request does not consume the token");
}

#[tokio::test]
async fn join_tokens_that_are_over_go() {
    let plane = Plane::start().await;
    let stored = || plane.store.list(b"iam/join-token/", None, 100).unwrap().records.len();
    let used = join_token(&plane).await;
    for _ in 0..5 {
        join_token(&plane).await;
    }
    enroll(&plane, &used, &key()).await.unwrap();
    plane.advance(Duration::from_secs(1199));
    join_token(&plane).await;
    assert_eq!(stored(), 7, "who uses them late can still be told from who guesses");
    plane.advance(Duration::from_secs(1));
    join_token(&plane).await;
    assert_eq!(stored(), 2);
}

#[tokio::test]
async fn join_tokens_need_permission_and_live_an_hour_at_most() {
    let plane = Plane::start().await;
    let reader = plane.principal("user/mira", "reader").await;
    let operator = plane.principal("user/noor", "operator").await;
    let ask = |token: &str, node: &str, ttl_s| with(token, CreateJoinTokenRequest { node: node.into(), ttl_s });
    assert!(plane.enrollment().create_join_token(ask(&operator, "pier2", 0)).await.is_ok());
    let denied = plane.enrollment().create_join_token(ask(&reader, "pier2", 0)).await.unwrap_err();
    assert_eq!((denied.code(), denied.message()), (Code::PermissionDenied, "not permitted: iam.Enroll on node/pier2"));
    for (node, ttl_s) in [("pier2", 3601), ("pier 2", 0), ("", 0)] {
        let refused = plane.enrollment().create_join_token(ask(ADMIN_TOKEN, node, ttl_s)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{node} {ttl_s}");
    }
}

#[tokio::test]
async fn certificates_end_are_renewed_and_are_revoked_with_their_node() {
    let plane = Plane::start().await;
    let (old_key, new_key) = (key(), key());
    let first = enroll(&plane, &join_token(&plane).await, &old_key).await.unwrap().certificate_chain.remove(0);
    plane.advance(Duration::from_secs(16 * 3600));
    let bearer = oauth(&plane, &assertion(&plane, &old_key, &first, &json!({}))).await.1["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let renew = |key: &KeyPair| with(&bearer, RenewRequest { csr_der: request(key).into() });
    let thief = plane.enrollment().renew(renew(&new_key)).await.unwrap_err();
    assert_eq!(
        (thief.code(), thief.message()),
        (Code::PermissionDenied, "not permitted: iam.CertificateRenew on node/pier2")
    );
    let second = plane.enrollment().renew(renew(&old_key)).await.unwrap().into_inner().certificate_chain.remove(0);
    let identity = by_certificate(&plane, &[&second]).await.unwrap();
    let mut shown = tonic::Request::new(RenewRequest { csr_der: request(&new_key).into() });
    shown.extensions_mut().insert(identity);
    assert!(Enrollment::renew(&plane.iam, shown).await.is_ok(), "its certificate was shown");
    plane.advance(Duration::from_secs(8 * 3600 + 1));
    assert_eq!(by_certificate(&plane, &[&first]).await.unwrap_err(), Refusal::Unauthenticated);
    assert!(by_certificate(&plane, &[&second]).await.is_ok());
    let disable = SetPrincipalRequest { id: "node/pier2".into(), disabled: true, ..Default::default() };
    plane.admin().set_principal(with(ADMIN_TOKEN, disable)).await.unwrap();
    assert_eq!(by_certificate(&plane, &[&second]).await.unwrap_err(), Refusal::Unauthenticated);
    let token = join_token(&plane).await;
    assert_eq!(enroll(&plane, &token, &key()).await.unwrap_err().code(), Code::Unauthenticated);
    let mira = plane.principal("user/mira", "admin").await;
    let renew = with(&mira, RenewRequest { csr_der: request(&new_key).into() });
    assert_eq!(plane.enrollment().renew(renew).await.unwrap_err().code(), Code::InvalidArgument);
}

/// An assertion is good once, whichever server hears it.
#[tokio::test]
async fn an_assertion_is_used_up_on_every_server() {
    let plane = Plane::start().await;
    let folder = tempfile::TempDir::new().unwrap();
    let (other, running) =
        support::open(&plane.store, &plane.clock, folder.path(), &Environment::default(), |_| {}).unwrap();
    assert_eq!(other.settled().await, iam_server::Doors::Open);
    let mine = key();
    let certificate = enroll(&plane, &join_token(&plane).await, &mine).await.unwrap().certificate_chain.remove(0);
    let used = || plane.store.list(b"iam/assertion/", None, 100).unwrap().records.len();

    let good = assertion(&plane, &mine, &certificate, &json!({}));
    assert_eq!(oauth(&plane, &good).await.0, StatusCode::OK);
    let (status, answer) = oauth_at(support::api(&other), &good).await;
    assert_eq!((status, &answer["error"]), (StatusCode::UNAUTHORIZED, &json!("invalid_client")));
    let next = assertion(&plane, &mine, &certificate, &json!({}));
    assert_eq!(oauth_at(support::api(&other), &next).await.0, StatusCode::OK);
    assert_eq!(oauth(&plane, &next).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(used(), 2);

    plane.advance(Duration::from_secs(121));
    assert_eq!(oauth(&plane, &assertion(&plane, &mine, &certificate, &json!({}))).await.0, StatusCode::OK);
    assert_eq!(used(), 1, "what is expired anyway is forgotten");
    running.end().await;
}

/// A client assertion; `change` overwrites claims.
fn assertion(plane: &Plane, key: &KeyPair, certificate: &[u8], change: &Value) -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let now_s = plane.clock.now_ms.load(Ordering::Relaxed) / 1000;
    let jti = NUMBER.fetch_add(1, Ordering::Relaxed).to_string();
    let mut claims = json!({ "iss": NODE, "sub": NODE, "aud": ISSUER, "iat": now_s, "exp": now_s + 60, "jti": jti });
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let header = json!({ "alg": "EdDSA", "typ": "JWT", "x5c": [STANDARD.encode(certificate)] });
    let signed =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.serialized_der()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes())))
}

async fn oauth(plane: &Plane, assertion: &str) -> (StatusCode, Value) {
    oauth_at(plane.api(), assertion).await
}

async fn oauth_at(server: Router, assertion: &str) -> (StatusCode, Value) {
    let body = format!(
        "grant_type=client_credentials&client_assertion={assertion}\
         &client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    );
    let request = Request::post("/oauth2/token").header("content-type", "application/x-www-form-urlencoded");
    let response = server.oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), 65_536).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn a_node_trades_its_key_for_a_bearer_token() {
    let plane = Plane::start().await;
    let (mine, thief) = (key(), key());
    let certificate = enroll(&plane, &join_token(&plane).await, &mine).await.unwrap().certificate_chain.remove(0);
    let good = assertion(&plane, &mine, &certificate, &json!({}));
    let (status, answer) = oauth(&plane, &good).await;
    assert_eq!(
        (status, &answer["token_type"], &answer["expires_in"]),
        (StatusCode::OK, &json!("Bearer"), &json!(3600))
    );
    let identity = plane.bearer(answer["access_token"].as_str().unwrap()).await.unwrap();
    assert!(identity.is_node("pier2"));

    let now_s = plane.clock.now_ms.load(std::sync::atomic::Ordering::Relaxed) / 1000;
    let refused = [
        good,
        assertion(&plane, &thief, &certificate, &json!({})),
        assertion(&plane, &mine, &certificate, &json!({ "aud": "https://other.example" })),
        assertion(&plane, &mine, &certificate, &json!({ "sub": "spiffe://harbour.example/node/pier3" })),
        assertion(&plane, &mine, &certificate, &json!({ "iss": "somebody" })),
        assertion(&plane, &mine, &certificate, &json!({ "exp": now_s + 3600 })),
        assertion(&plane, &mine, &certificate, &json!({ "exp": now_s - 60 })),
        assertion(&plane, &mine, &certificate, &json!({ "jti": "" })),
        assertion(&plane, &mine, b"garbage", &json!({})),
        "a.b.c".to_owned(),
    ];
    for assertion in refused {
        let (status, answer) = oauth(&plane, &assertion).await;
        assert_eq!((status, &answer["error"]), (StatusCode::UNAUTHORIZED, &json!("invalid_client")), "{assertion}");
    }
}
