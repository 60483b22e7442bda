//! The fast lane over HTTP: who may move it, how far, and who is told.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body};
use chainfire_client::memory::MemoryStore;
use configsrv_fleet::SealedRevocations;
use configsrv_server::{ConfigService, Settings, router};
use holdfast_service::Stop;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use iam_client::Identity;
use serde_json::{Value, json};
use support::{
    Rules,
    lane::{following, id, sealed},
    node, operator,
    tree::{Signer, Tree},
};
use tower::ServiceExt as _;

/// Two servers of one cluster.
struct Fixture {
    one: Router,
    other: Router,
    signer: Signer,
    stop: Stop,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    bytes: Vec<u8>,
}

impl Fixture {
    async fn new() -> Self {
        let (store, stop) = (Arc::new(MemoryStore::new().unwrap()), Stop::new());
        let server = || {
            let service = ConfigService::new(Arc::clone(&store) as _, Arc::new(Rules), Settings::default());
            tokio::spawn(service.clone().run(stop.clone()));
            router(service)
        };
        let (one, other) = (server(), server());
        let fixture = Self { one, other, signer: Signer::new("primary"), stop };
        fixture.publish(1, 0, &["user/mira", "user/tomas"]).await;
        fixture
    }

    /// A version whose node admits so many to its service; mira publishes.
    async fn publish(&self, version: u64, base: u64, admitted: &[&str]) {
        let admitted: Vec<_> = admitted.iter().map(|text| id(text)).collect();
        let rows = json!([
            { "target_spiffe_id": id("service/config-publisher"), "allow": [id("user/mira")] },
            { "target_spiffe_id": id("service/stock"), "allow": admitted },
        ]);
        let tree = Tree::new(version, &self.signer).patched(json!({ "ingress": rows }));
        let answer = post(&self.one, operator(), "/publish", tree.body(base)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    }

    async fn revoke(&self, revocations: &SealedRevocations) -> Answer {
        post(&self.one, operator(), "/revocations", revocations.bytes().to_vec()).await
    }

    /// The same, whatever these nodes report.
    async fn revoke_without(&self, ignored: &str, revocations: &SealedRevocations) -> Answer {
        let path = format!("/revocations?ignore_reports_of={ignored}");
        post(&self.one, operator(), &path, revocations.bytes().to_vec()).await
    }

    async fn confirms(&self, node_name: &str, version: u64, sequence: u64) {
        let report = json!({ "confirmed": version, "active": version }).to_string();
        let answer = post(&self.other, node(node_name), &format!("/nodes/{node_name}/status"), report).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
        self.reaches(node_name, sequence).await.ok();
    }

    async fn reaches(&self, node_name: &str, sequence: u64) -> Answer {
        let report = json!({ "sequence": sequence }).to_string();
        post(&self.other, node(node_name), &format!("/nodes/{node_name}/revocations"), report).await
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.stop.request();
    }
}

async fn send(router: &Router, request: Request<Body>) -> Answer {
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes().to_vec();
    Answer { status: parts.status, headers: parts.headers, bytes }
}

async fn get(router: &Router, caller: Identity, path: &str) -> Answer {
    send(router, Request::builder().uri(path).extension(caller).body(Body::empty()).unwrap()).await
}

async fn post(router: &Router, caller: Identity, path: &str, body: impl Into<Body>) -> Answer {
    let request = Request::builder().method(Method::POST).uri(path).extension(caller).body(body.into()).unwrap();
    send(router, request).await
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.bytes)))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    #[track_caller]
    fn refused(&self, status: u16, word: &str) {
        assert_eq!((self.status.as_u16(), self.json()["error"].as_str()), (status, Some(word)), "{}", self.json());
        assert!(!self.json()["message"].as_str().unwrap().is_empty());
    }

    #[track_caller]
    fn ok(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", String::from_utf8_lossy(&self.bytes));
        self.json()
    }
}

#[tokio::test]
async fn what_one_server_takes_every_server_tells() {
    let fixture = Fixture::new().await;
    get(&fixture.other, node("pier2"), "/revocations").await.refused(404, "no_revocations");
    let before = get(&fixture.other, node("pier2"), "/revocations?have=0").await;
    assert_eq!((before.status, before.header("flor-sequence")), (StatusCode::NOT_MODIFIED, "0"));

    let first = sealed(following(None, 1, &["user/tomas"]), &fixture.signer);
    let taken = fixture.revoke(&first).await.ok();
    assert_eq!(taken, json!({ "sequence": 1, "revoked": 1, "settled": 0, "unchanged": false }));
    assert_eq!(fixture.revoke(&first).await.ok()["unchanged"], true);

    for caller in [node("pier2"), operator()] {
        let answer = get(&fixture.other, caller, "/revocations?have=0").await;
        assert_eq!(answer.bytes, first.bytes(), "exactly what was signed");
        assert_eq!((answer.header("flor-sequence"), answer.status), ("1", StatusCode::OK));
        assert_eq!(answer.header("etag"), format!("\"{}\"", first.digest()));
        assert!(answer.header("flor-published-ms").parse::<u64>().unwrap() > 0);
    }
    for path in ["/revocations?have=1", "/revocations?have=2"] {
        let answer = get(&fixture.other, node("pier2"), path).await;
        assert_eq!((answer.status, answer.bytes.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
    }
    let tagged = Request::builder().uri("/revocations").extension(node("pier2"));
    let tagged = tagged.header("if-none-match", format!("\"{}\"", first.digest())).body(Body::empty()).unwrap();
    assert_eq!(send(&fixture.other, tagged).await.status, StatusCode::NOT_MODIFIED);
    get(&fixture.one, node("pier2"), "/revocations?have=+1").await.refused(400, "bad_query");
}

#[tokio::test]
async fn whoever_waits_is_told_by_any_server() {
    let fixture = Fixture::new().await;
    let waits = tokio::spawn({
        let other = fixture.other.clone();
        async move { get(&other, node("pier2"), "/revocations?have=0&wait=30s").await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waits.is_finished());
    let first = sealed(following(None, 1, &["user/tomas"]), &fixture.signer);
    fixture.revoke(&first).await.ok();
    let told = tokio::time::timeout(Duration::from_secs(5), waits).await.unwrap().unwrap();
    assert_eq!(told.bytes, first.bytes());
}

#[tokio::test]
async fn only_operators_move_it_and_only_the_known_read_it() {
    let fixture = Fixture::new().await;
    let first = sealed(following(None, 1, &["user/tomas"]), &fixture.signer);
    let by_node = post(&fixture.one, node("pier2"), "/revocations", first.bytes().to_vec()).await;
    by_node.refused(403, "permission_denied");
    let nobody = Request::builder().uri("/revocations?have=0").body(Body::empty()).unwrap();
    send(&fixture.one, nobody).await.refused(401, "authentication_required");
    let long = post(&fixture.one, operator(), "/revocations", vec![b' '; 300_000]).await;
    long.refused(413, "too_large");
}

#[tokio::test]
async fn what_is_not_signed_or_not_of_here_is_refused() {
    let fixture = Fixture::new().await;
    let stranger = Signer::new("primary");
    let other = Signer::new("other");
    for signer in [&stranger, &other] {
        let foreign = sealed(following(None, 1, &["user/tomas"]), signer);
        fixture.revoke(&foreign).await.refused(403, "untrusted_signature");
    }
    post(&fixture.one, operator(), "/revocations", "{}").await.refused(400, "malformed_revocations");
    let good = sealed(following(None, 1, &["user/tomas"]), &fixture.signer);
    let text = String::from_utf8(good.bytes().to_vec()).unwrap();
    for (from, to, word) in [
        ("user/tomas", "user/ada", "untrusted_signature"),
        ("spiffe://quay.test/user/tomas", "spiffe://dock.test/user/tomas", "foreign_revocations"),
        ("user/tomas", "node/pier2", "lockout"),
        (r#""schema_version":"1.0""#, r#""schema_version":"1.1""#, "newer_schema"),
    ] {
        let answer = post(&fixture.one, operator(), "/revocations", text.replace(from, to)).await;
        assert_eq!(answer.json()["error"], word, "{from} -> {to}: {}", answer.json());
    }
    get(&fixture.one, operator(), "/revocations").await.refused(404, "no_revocations");
}

#[tokio::test]
async fn nothing_goes_back_and_nobody_is_forgotten() {
    let fixture = Fixture::new().await;
    let first = sealed(following(None, 1, &["user/tomas"]), &fixture.signer);
    let second = sealed(following(Some(&first), 1, &["user/ada"]), &fixture.signer);
    fixture.revoke(&first).await.ok();
    fixture.revoke(&second).await.ok();
    fixture.revoke(&first).await.refused(409, "revocation_conflict");
    let other_content = sealed(following(Some(&first), 1, &["user/zoe"]), &fixture.signer);
    fixture.revoke(&other_content).await.refused(409, "revocation_conflict");
    let mut fewer = following(Some(&second), 1, &[]);
    fewer.revoked.remove(&id("user/tomas"));
    fixture.revoke(&sealed(fewer, &fixture.signer)).await.refused(409, "revocation_conflict");
    let elsewhere = sealed(following(Some(&second), 2, &["user/zoe"]), &fixture.signer);
    fixture.revoke(&elsewhere).await.refused(409, "revocation_conflict");
    assert_eq!(get(&fixture.other, node("pier2"), "/revocations").await.bytes, second.bytes());
}

#[tokio::test]
async fn an_id_leaves_by_a_version_without_it_that_all_have_confirmed() {
    let fixture = Fixture::new().await;
    let first = sealed(following(None, 1, &["user/tomas"]), &fixture.signer);
    fixture.revoke(&first).await.ok();
    let settling = |previous: &SealedRevocations, base: u64| {
        let mut next = following(Some(previous), base, &[]);
        next.settle(&id("user/tomas"));
        sealed(next, &fixture.signer)
    };
    let early = fixture.revoke(&settling(&first, 1)).await;
    early.refused(409, "revocation_conflict");
    assert!(early.json()["message"].as_str().unwrap().contains("still names"), "{}", early.json());

    fixture.publish(2, 1, &["user/mira"]).await;
    let settled = settling(&first, 2);
    assert_eq!(fixture.revoke(&settled).await.ok()["settled"], 1);

    // The version may name them again: the lane does not speak of that one.
    fixture.publish(3, 2, &["user/mira", "user/tomas"]).await;
    let mut without = following(Some(&settled), 3, &[]);
    without.settled.clear();
    let without = sealed(without, &fixture.signer);
    fixture.revoke(&without).await.refused(409, "revocation_conflict");
    fixture.confirms("pier2", 1, 2).await;
    fixture.revoke(&without).await.refused(409, "revocation_conflict");
    fixture.confirms("pier2", 2, 2).await;
    fixture.revoke(&without).await.ok();
}

#[tokio::test]
async fn the_last_operator_goes_only_if_that_is_said() {
    let fixture = Fixture::new().await;
    let last = following(None, 1, &["user/mira"]);
    fixture.revoke(&sealed(last.clone(), &fixture.signer)).await.refused(409, "lockout");
    let mut meant = last;
    meant.allow_lockout.insert(id("user/mira"));
    fixture.revoke(&sealed(meant, &fixture.signer)).await.ok();
}

#[tokio::test]
async fn the_fleet_shows_how_far_it_is_and_a_restored_server_is_outrun() {
    let fixture = Fixture::new().await;
    let since = fixture.reaches("pier2", 3).await.ok();
    assert!(since["at_ms"].as_u64().unwrap() > 0);
    // To say the same again does not move the moment.
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(fixture.reaches("pier2", 3).await.ok(), since);
    let nodes = get(&fixture.one, operator(), "/nodes").await.ok();
    assert_eq!(nodes["nodes"][0]["revocations"], since);
    let other = json!({ "sequence": 9 }).to_string();
    post(&fixture.one, node("pier3"), "/nodes/pier2/revocations", other).await.refused(403, "permission_denied");
    post(&fixture.one, node("pier2"), "/nodes/pier2/revocations", "{}").await.refused(400, "bad_body");

    let first = sealed(following(None, 1, &["user/tomas"]), &fixture.signer);
    let answer = fixture.revoke(&first).await;
    answer.refused(409, "revocation_conflict");
    let said = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(said.contains("pier2") && said.contains("ignore_reports_of"), "{said}");
    fixture.revoke_without("Pier2", &first).await.refused(400, "bad_query");
    fixture.revoke_without("pier3", &first).await.refused(409, "revocation_conflict");
    fixture.revoke_without("pier3,pier2", &first).await.ok();
}

#[tokio::test]
async fn no_node_can_say_anything_that_keeps_everybody_from_being_revoked() {
    let fixture = Fixture::new().await;
    for sequence in [1 << 53, 1001] {
        fixture.reaches("pier2", sequence).await.refused(409, "implausible_report");
    }
    let first = sealed(following(None, 1, &["user/tomas"]), &fixture.signer);
    fixture.revoke(&first).await.ok();
    fixture.reaches("pier2", 1002).await.refused(409, "implausible_report");

    // A node that nothing is published for, and one that the envelope itself cuts off.
    fixture.reaches("pier9", 1001).await.ok();
    let second = sealed(following(Some(&first), 1, &["user/ada"]), &fixture.signer);
    fixture.revoke(&second).await.ok();
    fixture.reaches("pier2", 1002).await.ok();
    let mut third = following(Some(&second), 1, &["user/zoe"]);
    fixture.revoke(&sealed(third.clone(), &fixture.signer)).await.refused(409, "revocation_conflict");
    third.revoke(id("node/pier2"));
    third.allow_lockout.insert(id("node/pier2"));
    fixture.revoke(&sealed(third, &fixture.signer)).await.ok();
}

#[tokio::test]
async fn before_the_first_version_there_is_nobody_to_revoke() {
    let (service, _store) = support::service(Settings::default());
    let first = sealed(following(None, 0, &["user/tomas"]), &Signer::new("primary"));
    let answer = post(&router(service), operator(), "/revocations", first.bytes().to_vec()).await;
    answer.refused(503, "not_published");
}
