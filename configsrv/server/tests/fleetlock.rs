//! The reboot lock as its clients see it: over a real listener, with the headers and bodies that they really send.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use axum::{ServiceExt, extract::Request};
use chainfire_client::{Refused, StoreError, SystemStore as _, memory::MemoryStore};
use chainfire_core::{
    Origin,
    system::{LockAcquire, LockAsker, SystemCommand},
};
use configsrv_server::{
    ACCESS_FLEETLOCK_AUTHENTICATED, ACCESS_FLEETLOCK_OPEN, ACCESS_HTTP, ClientAuth, ConfigService, LockSettings,
    Settings, fleetlock::collapse_slashes, router,
};
use iam_client::{Authority, IamLayer, Identity, Presented, Refusal, StillHolds};
use serde_json::{Value, json};
use support::{OPERATOR, Rules};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tower::{Layer as _, util::MapRequestLayer};

/// Rules that remember what services refused: resource and reason.
#[derive(Default)]
struct Witness(Mutex<Vec<(String, String)>>);

impl Witness {
    fn denials(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap().clone()
    }
}

impl StillHolds for Witness {
    fn still_holds(&self, _: &Identity) -> Result<(), Refusal> {
        Ok(())
    }
}

#[async_trait]
impl Authority for Witness {
    async fn authenticate(&self, presented: Presented) -> Result<Identity, Refusal> {
        Rules.authenticate(presented).await
    }

    fn authorize(&self, identity: &Identity, action: &str, resource: &str) -> Result<(), Refusal> {
        Rules.authorize(identity, action, resource)
    }

    fn record_denial(&self, _: &Origin, _: &str, resource: &str, reason: &str) {
        self.0.lock().unwrap().push((resource.to_owned(), reason.to_owned()));
    }
}

/// A server on a port of its own.
struct Server {
    address: SocketAddr,
    store: Arc<MemoryStore>,
    authority: Arc<Witness>,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Server {
    async fn start(fleetlock: LockSettings) -> Self {
        let rules = match fleetlock.client_auth {
            ClientAuth::None => ACCESS_FLEETLOCK_OPEN,
            ClientAuth::Basic | ClientAuth::Token | ClientAuth::Mtls => ACCESS_FLEETLOCK_AUTHENTICATED,
        };
        let authority = Arc::new(Witness::default());
        let store = Arc::new(MemoryStore::new().unwrap());
        let settings = Settings { fleetlock, ..Settings::default() };
        let service = ConfigService::new(Arc::clone(&store) as _, Arc::clone(&authority) as _, settings);
        let rules = rules.iter().chain(ACCESS_HTTP).copied();
        let app = router(service).layer(IamLayer::new(Arc::clone(&authority) as _, rules));
        let app = MapRequestLayer::new(collapse_slashes::<axum::body::Body>).layer(app);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, ServiceExt::<Request>::into_make_service(app)).await });
        Self { address, store, authority }
    }

    /// One request, byte by byte.
    async fn raw(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    async fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nhost: locks\r\naccept: */*\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
        ))
        .await
    }

    /// What Zincati sends: its header, no content type, a pretty-printed body.
    async fn zincati(&self, operation: &str, group: &str, id: &str) -> Answer {
        let body = serde_json::to_string_pretty(&json!({ "client_params": { "id": id, "group": group } })).unwrap();
        self.send("POST", &format!("/v1/{operation}"), "fleet-lock-protocol: true\r\n", &body).await
    }

    /// The same from a machine that shows a node's token.
    async fn node(&self, node: &str, operation: &str, id: &str) -> Answer {
        let body = json!({ "client_params": { "id": id, "group": "default" } }).to_string();
        let headers = format!("fleet-lock-protocol: true\r\nauthorization: Bearer node:{node}\r\n");
        self.send("POST", &format!("/v1/{operation}"), &headers, &body).await
    }

    async fn take(&self, id: &str) -> Answer {
        self.zincati("pre-reboot", "default", id).await
    }

    async fn give(&self, id: &str) -> Answer {
        self.zincati("steady-state", "default", id).await
    }

    async fn admin(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, &format!("authorization: Bearer {OPERATOR}\r\n"), &body.to_string()).await
    }
}

impl Answer {
    #[track_caller]
    fn granted(&self) {
        assert_eq!(self.status, 200, "{}", self.body);
    }

    #[track_caller]
    fn refused(&self, status: u16, kind: &str) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}", self.body));
        assert_eq!((self.status, body["kind"].as_str()), (status, Some(kind)), "{body}");
        let value = body["value"].as_str().unwrap();
        assert!(!value.is_empty());
        value.to_owned()
    }
}

#[tokio::test]
async fn one_slot_goes_round() {
    let server = Server::start(LockSettings::default()).await;
    server.give("a").await.granted();
    server.take("a").await.granted();
    server.take("a").await.granted();
    let value = server.take("b").await.refused(423, "failed_lock_semaphore_full");
    assert!(value.contains("a since 20"), "{value}");
    // Vital: a node that holds nothing is told yes while somebody else holds.
    server.give("b").await.granted();
    server.take("b").await.refused(423, "failed_lock_semaphore_full");
    server.take("A").await.refused(423, "failed_lock_semaphore_full");
    server.give("a").await.granted();
    server.take("b").await.granted();
    server.zincati("pre-reboot", "other", "a").await.granted();
}

#[tokio::test]
async fn a_boot_storm_writes_nothing() {
    let server = Server::start(LockSettings::default()).await;
    server.take("a").await.granted();
    let before = server.store.applied();
    for id in ["b", "c", "d"] {
        server.give(id).await.granted();
        server.zincati("steady-state", "unheard-of", id).await.granted();
    }
    assert_eq!(server.store.applied(), before);
}

#[tokio::test]
async fn repeats_and_refusals_write_nothing_and_are_summed_up() {
    let server = Server::start(LockSettings::default()).await;
    server.take("a").await.granted();
    let before = server.store.applied();
    for _ in 0..5 {
        server.take("a").await.granted();
        server.take("b").await.refused(423, "failed_lock_semaphore_full");
        server.take("c").await.refused(423, "failed_lock_semaphore_full");
    }
    assert_eq!(server.store.applied(), before);
    let full = |id: &str| (format!("lock/default/{id}"), "failed_lock_semaphore_full".to_owned());
    assert_eq!(server.authority.denials(), [full("b"), full("c")]);
    let frozen = json!({ "slots": 1, "frozen": "storm", "reason": "storm" });
    assert_eq!(server.admin("/locks/default/policy", frozen).await.status, 200);
    let before = server.store.applied();
    for _ in 0..5 {
        server.take("a").await.granted();
        server.take("b").await.refused(423, "group_frozen");
    }
    assert_eq!(server.store.applied(), before);
    assert_eq!(server.authority.denials()[2..], [("lock/default/b".to_owned(), "group_frozen".to_owned())]);
}

#[tokio::test]
async fn invented_groups_end_where_their_room_does() {
    let settings = LockSettings { groups: [("workers".to_owned(), 1)].into(), ..LockSettings::default() };
    let server = Server::start(settings).await;
    for n in 0..1_000 {
        let group = format!("g{n}");
        let acquire = LockAcquire { group, id: "x".into(), asker: LockAsker::Anybody, default_slots: 1, listed: false };
        let origin = Origin::system("test", "r");
        server.store.submit(origin, SystemCommand::LockAcquire(acquire)).await.unwrap();
    }
    server.zincati("pre-reboot", "one-more", "a").await.refused(400, "unknown_group");
    let before = server.store.applied();
    for n in 0..5 {
        server.zincati("pre-reboot", &format!("more-{n}"), "a").await.refused(400, "unknown_group");
    }
    assert_eq!(server.store.applied(), before, "the store is not asked again for what it said");
    server.zincati("pre-reboot", "workers", "a").await.granted();
    server.zincati("steady-state", "g7", "x").await.granted();
    server.zincati("pre-reboot", "one-more", "a").await.granted();
}

#[tokio::test]
async fn the_first_thing_that_is_wrong_is_named() {
    let server = Server::start(LockSettings::default()).await;
    let good = r#"{"client_params":{"id":"a","group":"default"}}"#;
    let header = "fleet-lock-protocol: true\r\n";
    // A redirect to here arrives as a GET that still carries the header.
    let get = server.send("GET", "/v1/steady-state", header, "").await;
    get.refused(405, "method_not_allowed");
    assert!(get.head.contains("allow: post"), "{}", get.head);
    server.send("PUT", "/v1/pre-reboot", header, good).await.refused(405, "method_not_allowed");
    server.send("POST", "/v1/pre-reboot", "", good).await.refused(400, "missing_header");
    server.send("POST", "/v1/pre-reboot", "fleet-lock-protocol: TRUE\r\n", good).await.refused(400, "missing_header");
    server.send("POST", "/v1/pre-reboot", header, &"x".repeat(5000)).await.refused(413, "body_too_large");
    for body in ["", "{}", "[]", r#"{"client_params":{"id":"a"}}"#, r#"{"client_params":{"id":1,"group":"g"}}"#] {
        server.send("POST", "/v1/pre-reboot", header, body).await.refused(400, "decode_error");
    }
    let body = |group: &str, id: &str| json!({ "client_params": { "group": group, "id": id } }).to_string();
    for group in ["", "default\n", "a_b", "ä", &"g".repeat(254)] {
        server.send("POST", "/v1/pre-reboot", header, &body(group, "")).await.refused(400, "invalid_group");
    }
    for id in ["", "a\nb", &"i".repeat(254)] {
        server.send("POST", "/v1/pre-reboot", header, &body("g", id)).await.refused(400, "invalid_id");
    }
    server.send("POST", "/v1/other", header, good).await.refused(404, "not_found");
    assert_eq!(server.store.lock_groups(None, 10).unwrap(), []);

    let form = format!("{header}content-type: application/x-www-form-urlencoded\r\n");
    server.send("POST", "/v1/pre-reboot", &form, good).await.granted();
    // A base URL that ends in a slash.
    server.send("POST", "//v1/steady-state", header, good).await.granted();
    assert_eq!(server.send("GET", "/-/healthy", "", "").await.body, "ok");
}

#[tokio::test]
async fn holders_are_never_refused() {
    let server = Server::start(LockSettings { default_slots: 2, ..LockSettings::default() }).await;
    server.take("a").await.granted();
    server.take("b").await.granted();
    let lower = json!({ "slots": 1, "reason": "one at a time" });
    assert_eq!(server.admin("/locks/default/policy", lower).await.status, 200);
    server.take("a").await.granted();
    server.take("b").await.granted();
    server.give("a").await.granted();
    server.take("c").await.refused(423, "failed_lock_semaphore_full");
    let frozen = json!({ "slots": 5, "frozen": "the storage is rebuilding", "reason": "incident 12" });
    assert_eq!(server.admin("/locks/default/policy", frozen).await.status, 200);
    server.take("b").await.granted();
    let value = server.take("c").await.refused(423, "group_frozen");
    assert!(value.contains("the storage is rebuilding"), "{value}");
    server.give("b").await.granted();
    let closed = json!({ "slots": 0, "reason": "closed" });
    assert_eq!(server.admin("/locks/default/policy", closed).await.status, 200);
    server.take("c").await.refused(423, "failed_lock_semaphore_full");
}

#[tokio::test]
async fn admins_release_with_a_reason() {
    let server = Server::start(LockSettings::default()).await;
    server.take("a").await.granted();
    assert_eq!(server.send("GET", "/locks", "", "").await.status, 401);
    let bearer = format!("authorization: Bearer {OPERATOR}\r\n");
    let groups: Value = serde_json::from_str(&server.send("GET", "/locks", &bearer, "").await.body).unwrap();
    assert_eq!(
        (&groups["groups"][0]["group"], &groups["groups"][0]["holders"][0]["id"]),
        (&json!("default"), &json!("a"))
    );
    assert_eq!(groups["groups"][0]["slots_in_force"], json!(1));
    let holder = &groups["groups"][0]["holders"][0];
    assert!(holder["last_seen_ms"].as_u64() >= holder["granted_at_ms"].as_u64(), "{holder}");
    assert_eq!(server.admin("/locks/default/release", json!({ "id": "a", "reason": " " })).await.status, 400);
    assert_eq!(server.admin("/locks/default/release", json!({ "id": "a" })).await.status, 400);
    let node = "authorization: Bearer node:pier2\r\n";
    let release = json!({ "id": "a", "reason": "the node is gone" });
    assert_eq!(server.send("POST", "/locks/default/release", node, &release.to_string()).await.status, 403);
    assert_eq!(server.admin("/locks/default/release", release).await.body, r#"{"held":true}"#);
    server.take("b").await.granted();
}

#[tokio::test]
async fn groups_may_have_to_be_listed() {
    let settings =
        LockSettings { groups: [("workers".to_owned(), 2)].into(), listed_only: true, ..LockSettings::default() };
    let server = Server::start(settings).await;
    for id in ["a", "b"] {
        server.zincati("pre-reboot", "workers", id).await.granted();
    }
    server.zincati("pre-reboot", "workers", "c").await.refused(423, "failed_lock_semaphore_full");
    server.take("a").await.refused(400, "unknown_group");
    server.give("a").await.granted();
    assert_eq!(server.admin("/locks/default/policy", json!({ "slots": 1, "reason": "new" })).await.status, 200);
    server.take("a").await.granted();
}

#[tokio::test]
async fn without_a_leader_the_answer_says_what_is_known() {
    let server = Server::start(LockSettings::default()).await;
    for (error, known) in [
        (StoreError::Unavailable("no leader".into()), "nothing was granted or released"),
        (StoreError::Unknown("leader lost".into()), "the outcome is unknown; ask again, repeats are harmless"),
        (Refused::Full("the audit journal is full".into()).into(), "takes no changes now: the audit journal is full"),
    ] {
        server.store.fail_with(Some(error));
        for answer in [server.take("a").await, server.give("a").await] {
            let value = answer.refused(503, "no_leader");
            assert!(value.contains(known), "{value}");
        }
    }
    server.store.fail_with(None);
    server.take("a").await.granted();
}

#[tokio::test]
async fn clients_may_have_to_authenticate() {
    let server = Server::start(LockSettings { client_auth: ClientAuth::Basic, ..LockSettings::default() }).await;
    server.take("a").await.refused(401, "unauthorized");
    let body = r#"{"client_params":{"id":"a","group":"default"}}"#;
    let header = "fleet-lock-protocol: true\r\n";
    // Who asks comes after what is asked.
    let get = server.send("GET", "/v1/pre-reboot", header, "").await;
    get.refused(405, "method_not_allowed");
    assert!(get.head.contains("allow: post"), "{}", get.head);
    server.send("POST", "/v1/pre-reboot", "", body).await.refused(400, "missing_header");
    server.send("POST", "/v1/pre-reboot", header, "{").await.refused(400, "decode_error");
    server.send("POST", "/v1/other", header, body).await.refused(404, "not_found");
    let unread = server.send("POST", "/v1/pre-reboot", &format!("{header}authorization: Basic %%\r\n"), body).await;
    unread.refused(401, "unauthorized");
    let with = |authorization: &str| format!("{header}authorization: {authorization}\r\n");
    // A token is not what is demanded here.
    let token = server.send("POST", "/v1/pre-reboot", &with("Bearer node:pier2"), body).await;
    token.refused(401, "unauthorized");
    assert!(token.head.contains("www-authenticate: basic realm"), "{}", token.head);
    server.send("POST", "/v1/pre-reboot", &with("Basic cGllcjI6cw=="), body).await.granted();

    // Nobody is asked for a password that would not be taken.
    for (client_auth, challenge) in [(ClientAuth::Token, Some("bearer realm")), (ClientAuth::Mtls, None)] {
        let server = Server::start(LockSettings { client_auth, ..LockSettings::default() }).await;
        let basic = server.send("POST", "/v1/pre-reboot", &with("Basic cGllcjI6cw=="), body).await;
        basic.refused(401, "unauthorized");
        assert!(!basic.head.contains("basic realm"), "{}", basic.head);
        assert_eq!(basic.head.contains("www-authenticate"), challenge.is_some(), "{}", basic.head);
        assert!(challenge.is_none_or(|challenge| basic.head.contains(challenge)), "{}", basic.head);
    }
}

#[tokio::test]
async fn a_slot_is_its_taker_s() {
    let server =
        Server::start(LockSettings { client_auth: ClientAuth::Token, default_slots: 3, ..LockSettings::default() })
            .await;
    // As an unmodified client does, under an id that says nothing about the node.
    server.node("pier2", "pre-reboot", "978a225b").await.granted();
    server.node("pier2", "pre-reboot", "978a225b").await.granted();
    let before = server.store.applied();
    let value = server.node("pier3", "pre-reboot", "978a225b").await.refused(403, "forbidden");
    assert!(value.contains("node/pier2"), "{value}");
    let stolen = server.node("pier3", "steady-state", "978a225b").await;
    assert_eq!((stolen.status, stolen.body.as_str()), (200, "not held\n"), "a boot is never refused");
    let value = server.node("pier2", "pre-reboot", "phantom").await.refused(423, "failed_lock_semaphore_full");
    assert!(value.contains("978a225b"), "{value}");
    assert_eq!(server.store.applied(), before, "nothing of this is written");

    server.node("pier3", "pre-reboot", "pier3").await.granted();
    server.node("pier2", "steady-state", "978a225b").await.granted();
    server.node("pier2", "pre-reboot", "phantom").await.granted();

    // Who may administer locks holds what it takes, and releases what others took.
    let operator = |operation: &str, id: &str| {
        let body = json!({ "client_params": { "id": id, "group": "default" } }).to_string();
        let path = format!("/v1/{operation}");
        let headers = format!("fleet-lock-protocol: true\r\nauthorization: Bearer {OPERATOR}\r\n");
        let server = &server;
        async move { server.send("POST", &path, &headers, &body).await }
    };
    operator("pre-reboot", "x").await.granted();
    assert_eq!(operator("steady-state", "pier3").await.body, "released\n");
    operator("pre-reboot", "y").await.granted();
    server.node("pier3", "pre-reboot", "pier3").await.refused(423, "failed_lock_semaphore_full");
}
