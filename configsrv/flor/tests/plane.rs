//! The daemon with its data plane: what a sync does to connections, and by which way the next version comes.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "../../server/tests/support/mod.rs"]
mod support;

use std::{
    fs,
    net::{SocketAddr, TcpListener as StdListener, UdpSocket},
    process::{Output, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use configsrv_fleet::{
    SpiffeId, Subject,
    bundle::{Bundle, Identity, Secret, Servers},
    ca::Authority,
};
use configsrv_server::{ACCESS_HTTP, Settings, router};
use holdfast_service::Stop;
use iam_client::IamLayer;
use serde_json::{Value, json};
use support::{
    Rules, service,
    tree::{Signer, Tree, file},
};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    task::JoinHandle,
};
use tower::ServiceExt as _;

const PATIENCE: Duration = Duration::from_secs(60);
const STOCK: &str = "stock.quay.test.rete";
const SUBJECTS: [&str; 5] = ["node/pier2", "user/mira", "user/tomas", "service/stock", "service/config-server"];

fn port() -> u16 {
    StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn id(subject: &str) -> String {
    format!("spiffe://quay.test/{subject}")
}

/// The node pier2, which has the service `stock` and two people who may dial it.
struct Pier {
    authority: Authority,
    folder: TempDir,
    signer: Signer,
    node: u16,
    mira: u16,
    tomas: u16,
    udp: u16,
    stock: SocketAddr,
}

/// A server with one published version after the other.
struct Hub {
    address: SocketAddr,
    app: Router,
    serving: JoinHandle<()>,
}

impl Hub {
    /// What the node said last, once it is `result`: a node says what it did, after it did it.
    async fn told(&self, result: &str) -> Value {
        let start = Instant::now();
        loop {
            let reported = self.view().await["reported"].clone();
            if reported["result"] == result {
                return reported;
            }
            assert!(start.elapsed() < PATIENCE, "waited for {result}: {reported}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What an operator sees of the node.
    async fn view(&self) -> Value {
        let request = http::Request::builder()
            .uri("/nodes/pier2")
            .header("authorization", format!("Bearer {}", support::OPERATOR))
            .body(axum::body::Body::empty())
            .unwrap();
        let answer = self.app.clone().oneshot(request).await.unwrap();
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    async fn start() -> Self {
        let (service, _) = service(Settings::default());
        // Whoever waits for news is told.
        tokio::spawn(service.clone().run(Stop::new()));
        let app = router(service).layer(IamLayer::new(Arc::new(Rules), ACCESS_HTTP.iter().copied()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, app.clone()));
        Self { address, app, serving }
    }

    async fn publish(&self, tree: &Tree<'_>) {
        support::publish(self.address, tree, tree.version - 1).await;
    }
}

/// The connections end with the task.
async fn serve(listener: TcpListener, app: Router) {
    axum::serve(listener, app).await.unwrap();
}

impl Pier {
    async fn new(hub: &Hub) -> Self {
        let authority = Authority::create(&"quay.test".parse().unwrap(), OffsetDateTime::now_utc(), 3650).unwrap().0;
        let udp = UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
        let pier = Self {
            authority,
            folder: tempfile::tempdir().unwrap(),
            signer: Signer::new("primary"),
            node: port(),
            mira: port(),
            tomas: port(),
            udp,
            stock: echo().await,
        };
        fs::write(pier.folder.path().join("token"), "node:pier2\n").unwrap();
        pier.enroll(&[format!("http://{}", hub.address)], &SUBJECTS).await;
        pier
    }

    async fn enroll(&self, urls: &[String], subjects: &[&str]) {
        let (cluster, root) = (self.authority.cluster().clone(), self.authority.certificate_pem());
        let servers = Servers { urls: urls.to_vec(), ..Servers::default() };
        let mut bundle = Bundle::new(cluster.clone(), "pier2".parse().unwrap(), root, Vec::new(), servers);
        for subject in subjects {
            let subject: Subject = subject.parse().unwrap();
            let issued = self.authority.issue(&subject, OffsetDateTime::now_utc(), 10).unwrap();
            let (spiffe_id, key) = (SpiffeId::new(&cluster, subject), Some(Secret::new(issued.key_pem)));
            bundle.identities.push(Identity { spiffe_id, certificate: issued.certificate_pem, key });
        }
        let path = self.folder.path().join("bundle");
        fs::write(&path, bundle.write().unwrap().expose()).unwrap();
        exits(&self.flor(&["enroll", &path.display().to_string()]).await, 0);
    }

    /// A version in which `allow` may reach the service.
    fn tree(&self, version: u64, allow: &[&str], more: &Value) -> Tree<'_> {
        let allow: Vec<String> = allow.iter().map(|who| id(who)).collect();
        let proxy = |port: u16| format!("127.0.0.1:{port}");
        let user = |name: &str, port| json!({ "name": name, "spiffe_id": id(&format!("user/{name}")), "socks5_proxy": proxy(port) });
        let dial = |target: &str, allow: &Value| json!({ "target_spiffe_id": target, "target_node": "pier2", "target_udp": "203.0.113.1:4500", "allow": allow });
        let (stock, hub) = (id("service/stock"), id("service/config-server"));
        let mut patch = json!({
            "listen_udp": format!("0.0.0.0:{}", self.udp),
            "local_node": { "spiffe_id": id("node/pier2"), "socks5_proxy": proxy(self.node) },
            "local_users": [user("mira", self.mira), user("tomas", self.tomas)],
            "local_services": [{ "name": "stock", "spiffe_id": stock, "upstream_addr": self.stock.to_string() }],
            "ingress": [{ "target_spiffe_id": stock, "allow": allow }],
            "egress": [
                dial(&hub, &json!([id("node/pier2")])),
                dial(&stock, &json!([id("user/mira"), id("user/tomas")])),
            ],
        });
        for (field, value) in more.as_object().unwrap() {
            patch[field] = value.clone();
        }
        Tree::new(version, &self.signer).patched(patch)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flor"));
        command
            .args(words)
            .env("FLOR_HOME", self.folder.path().join("home"))
            .env("FLOR_TOKEN_FILE", self.folder.path().join("token"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn flor(&self, words: &[&str]) -> Output {
        self.command(words).output().await.unwrap()
    }

    async fn daemon(&self) -> Child {
        self.daemon_with(&[]).await
    }

    /// With more words on its command line.
    async fn daemon_with(&self, words: &[&str]) -> Child {
        let child = self.command(&[&["agent", "run"], words].concat()).spawn().unwrap();
        self.until("the daemon", |status| status["daemon"] == true).await;
        child
    }

    async fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let output = self.flor(&["status", "--json"]).await;
            exits(&output, 0);
            let status: Value = serde_json::from_slice(&output.stdout).unwrap();
            if holds(&status) {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "waited for {what}: {status}");
        }
    }

    /// A sync that needs no confirmation, and what it says.
    async fn sync(&self, expected: i32) -> String {
        exits(&self.flor(&["sync", "--commit-timeout", "0"]).await, expected)
    }
}

#[track_caller]
fn exits(output: &Output, expected: i32) -> String {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(expected), "{said}");
    said
}

async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

/// CONNECT to the service; the reply field if it is not success.
async fn connect(socks5: u16) -> Result<TcpStream, u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", socks5)).await.unwrap();
    let mut asked = vec![5, 1, 0, 5, 1, 0, 3, u8::try_from(STOCK.len()).unwrap()];
    asked.extend(STOCK.as_bytes());
    asked.extend([0, 80]);
    stream.write_all(&asked).await.unwrap();
    let mut reply = [0; 12];
    stream.read_exact(&mut reply).await.unwrap();
    if reply[3] == 0 { Ok(stream) } else { Err(reply[3]) }
}

async fn ping(stream: &mut TcpStream) {
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
}

async fn broken(stream: &mut TcpStream) {
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("it breaks");
    assert!(read.is_err(), "{read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_is_swapped_and_a_structure_restarts() {
    let hub = Hub::start().await;
    let mut pier = Pier::new(&hub).await;
    hub.publish(&pier.tree(1, &["user/mira", "user/tomas"], &json!({}))).await;
    let daemon = pier.daemon().await;
    assert!(pier.sync(0).await.contains("structural"));
    let (mut mira, mut tomas) = (connect(pier.mira).await.unwrap(), connect(pier.tomas).await.unwrap());
    ping(&mut mira).await;
    ping(&mut tomas).await;
    let status = pier.until("its connections", |status| status["plane"]["connections"] == 4).await;
    assert_eq!(status["plane"]["counters"]["opened"], 4, "both ends are here");
    assert_eq!(status["plane"]["inbound"].as_array().unwrap().len(), 3);

    // Who is not named any more is cut off, and nobody else notices; the way back is a swap, too.
    hub.publish(&pier.tree(2, &["user/mira"], &json!({}))).await;
    let said = exits(&pier.flor(&["sync", "--commit-timeout", "5m"]).await, 0);
    assert!(said.contains("acl-only"), "{said}");
    broken(&mut tomas).await;
    assert_eq!(connect(pier.tomas).await.unwrap_err(), 2);
    ping(&mut mira).await;
    exits(&pier.flor(&["sync", "--cancel"]).await, 0);
    ping(&mut mira).await;
    let mut tomas = connect(pier.tomas).await.unwrap();
    exits(&pier.flor(&["sync", "--commit-timeout", "0", "--retry-rejected"]).await, 0);
    broken(&mut tomas).await;

    // Files alone leave the plane as it is.
    let path = pier.folder.path().join("shop").display().to_string();
    hub.publish(&pier.tree(3, &["user/mira"], &json!({ "files": [file(&path, "three")] }))).await;
    assert!(pier.sync(0).await.contains("files"));
    ping(&mut mira).await;

    // Renewed identities do as well, and count from then on.
    let before = pier.until("certificates", |status| status["certificates"] != json!([])).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    pier.enroll(&[format!("http://{}", hub.address)], &SUBJECTS).await;
    pier.until("renewed", |status| status["certificates"] != before["certificates"]).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    ping(&mut mira).await;
    ping(&mut connect(pier.mira).await.unwrap()).await;

    // Another address of the service means another plane.
    pier.stock = echo().await;
    hub.publish(&pier.tree(4, &["user/mira"], &json!({}))).await;
    assert!(pier.sync(0).await.contains("structural"));
    broken(&mut mira).await;
    ping(&mut connect(pier.mira).await.unwrap()).await;

    let metrics = exits(&pier.flor(&["status", "--metrics"]).await, 0);
    for line in [
        "flor_active_version 4",
        "flor_vertex_up 1",
        r#"flor_vertex_acl_denials_total{initiator="spiffe://quay.test/user/tomas",acl="ingress"} "#,
        r#"flor_certificate_expiry_seconds{spiffe_id="spiffe://quay.test/service/stock"} "#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plane_that_does_not_start_rolls_back() {
    let hub = Hub::start().await;
    let pier = Pier::new(&hub).await;
    hub.publish(&pier.tree(1, &["user/mira"], &json!({}))).await;
    let _daemon = pier.daemon().await;
    pier.sync(0).await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socks5 = taken.local_addr().unwrap().to_string();
    let node = json!({ "local_node": { "spiffe_id": id("node/pier2"), "socks5_proxy": socks5 } });
    hub.publish(&pier.tree(2, &["user/mira"], &node)).await;
    let said = pier.sync(9).await;
    assert!(said.contains(&socks5) && said.contains("SOCKS5 for node/pier2"), "{said}");
    ping(&mut connect(pier.mira).await.unwrap()).await;
    let status = pier.until("the plane", |status| status["plane"]["running"] == true).await;
    assert_eq!((&status["active"], &status["plane"]["fault"]), (&json!(1), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_inside_the_window_the_plane_comes_back_on_the_right_tables() {
    let hub = Hub::start().await;
    let pier = Pier::new(&hub).await;
    hub.publish(&pier.tree(1, &["user/mira"], &json!({}))).await;
    let mut daemon = pier.daemon().await;
    pier.sync(0).await;
    hub.publish(&pier.tree(2, &["user/tomas"], &json!({}))).await;
    // Time left: what is pending runs on, and goes back at its end.
    exits(&pier.flor(&["sync", "--commit-timeout", "15s"]).await, 0);
    ping(&mut connect(pier.tomas).await.unwrap()).await;
    daemon.kill().await.unwrap();
    let mut daemon = pier.daemon().await;
    let mut tomas = connect(pier.tomas).await.unwrap();
    ping(&mut tomas).await;
    broken(&mut tomas).await;
    pier.until("the way back", |status| status["pending"].is_null()).await;
    ping(&mut connect(pier.mira).await.unwrap()).await;
    // Time over while nothing ran: the old tables are the first.
    exits(&pier.flor(&["sync", "--commit-timeout", "1s", "--retry-rejected"]).await, 0);
    daemon.kill().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let _daemon = pier.daemon().await;
    ping(&mut connect(pier.mira).await.unwrap()).await;
    assert_eq!(connect(pier.tomas).await.unwrap_err(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_version_comes_from_where_this_one_says() {
    let hub = Hub::start().await;
    let pier = Pier::new(&hub).await;
    let sync = |via: &str, urls: &[String]| {
        let (principal, config_server) = (id("node/pier2"), id("service/config-server"));
        json!({ "via": via, "principal": principal, "config_server": config_server, "urls": urls })
    };
    // A server that moves says where to before it goes.
    let next = SocketAddr::from(([127, 0, 0, 1], port()));
    let next_url = format!("http://{next}");
    hub.publish(&pier.tree(1, &[], &json!({ "sync": sync("direct", std::slice::from_ref(&next_url)) }))).await;
    let _daemon = pier.daemon().await;
    pier.sync(0).await;
    hub.serving.abort();
    let listener = TcpListener::bind(next).await.unwrap();
    let moved = Hub { address: next, app: hub.app.clone(), serving: tokio::spawn(serve(listener, hub.app)) };

    // Through the tunnel: the address is known to the tables alone.
    let through = |hub: &Hub, version, more: &[(&str, Value)]| {
        let stock =
            json!({ "name": "stock", "spiffe_id": id("service/stock"), "upstream_addr": pier.stock.to_string() });
        let server = json!({
            "name": "config-server", "spiffe_id": id("service/config-server"), "upstream_addr": hub.address.to_string(),
        });
        let allow = json!([id("node/pier2")]);
        let mut patch = json!({
            "sync": sync("rete", &[]), "local_services": [server, stock],
            "ingress": [{ "target_spiffe_id": id("service/config-server"), "allow": allow }],
        });
        for (field, value) in more {
            patch[field] = value.clone();
        }
        pier.tree(version, &[], &patch)
    };
    moved.publish(&through(&moved, 2, &[])).await;
    exits(&pier.flor(&["sync", "--commit-timeout", "5m"]).await, 0);
    exits(&pier.flor(&["sync", "--confirm"]).await, 0);
    let status = pier.until("the tunnel", |status| status["plane"]["counters"]["opened"].as_u64() >= Some(2)).await;
    assert_eq!(status["confirmed"], 2);

    // A version that cuts its own way off cannot be confirmed, though the server itself can be reached.
    moved.publish(&through(&moved, 3, &[("ingress", json!([]))])).await;
    exits(&pier.flor(&["sync", "--commit-timeout", "5m"]).await, 0);
    let said = exits(&pier.flor(&["sync", "--confirm"]).await, 7);
    assert!(said.contains("config-server.quay.test.rete"), "{said}");
    exits(&pier.flor(&["sync", "--cancel"]).await, 0);
    assert_eq!(pier.until("the way back", |status| status["pending"].is_null()).await["active"], 2);
    moved.serving.abort();
}

/// What a version names that confirms itself: mira gets through to the service, for a second.
fn watched() -> Value {
    let check = json!({ "tunnel": { "as": id("user/mira"), "target": id("service/stock") } });
    let (principal, config_server) = (id("node/pier2"), id("service/config-server"));
    json!({
        "schema_version": "1.1",
        "probes": [{ "name": "stock", "check": check }],
        "sync": { "via": "direct", "principal": principal, "config_server": config_server, "urls": [], "hold": "1s" },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_and_nobody_at_the_keyboard() {
    let hub = Hub::start().await;
    let pier = Pier::new(&hub).await;
    hub.publish(&pier.tree(1, &["user/mira"], &watched())).await;
    let _daemon = pier.daemon_with(&["--sync", "watch", "--commit-timeout", "30s"]).await;
    pier.until("version 1", |status| status["confirmed"] == 1).await;
    assert_eq!(connect(pier.tomas).await.unwrap_err(), 2);
    hub.publish(&pier.tree(2, &["user/mira", "user/tomas"], &watched())).await;
    let status = pier.until("version 2", |status| status["confirmed"] == 2).await;
    assert_eq!(status["last"]["result"], "confirmed by itself", "{status}");
    assert_eq!(status["policy"], json!({ "sync": "watch", "confirm": "health" }));
    ping(&mut connect(pier.tomas).await.unwrap()).await;
    assert_eq!(hub.told("confirmed").await["reason"], "1 probes held for 1 s");

    // What nothing could confirm is refused before it is staged, and the operators see why.
    hub.publish(&pier.tree(3, &["user/mira"], &json!({}))).await;
    pier.until("the refusal", |status| status["refused"]["version"] == 3).await;
    assert_eq!(hub.told("rejected").await["rejected"], 3);
    hub.publish(&pier.tree(4, &["user/mira"], &watched())).await;
    pier.until("version 4", |status| status["confirmed"] == 4 && status["refused"].is_null()).await;
    hub.serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_breaks_the_node_goes_back_by_itself() {
    let hub = Hub::start().await;
    let pier = Pier::new(&hub).await;
    hub.publish(&pier.tree(1, &["user/mira"], &watched())).await;
    let _daemon = pier.daemon_with(&["--sync", "watch", "--commit-timeout", "6s"]).await;
    pier.until("version 1", |status| status["confirmed"] == 1).await;

    // The probe fails, and nothing else happens until the deadline.
    hub.publish(&pier.tree(2, &["user/tomas"], &watched())).await;
    let status = pier.until("the probe", |status| status["not_yet"].to_string().contains("probe stock")).await;
    assert_eq!((&status["active"], &status["pending"]["version"]), (&json!(2), &json!(2)), "{status}");
    let status = pier.until("the way back", |status| status["pending"].is_null()).await;
    assert_eq!((&status["active"], &status["confirmed"]), (&json!(1), &json!(1)), "{status}");
    assert_eq!(status["rejected"][0]["target"]["version"], 2);
    ping(&mut connect(pier.mira).await.unwrap()).await;
    let reported = hub.told("rolled_back").await;
    assert_eq!((&reported["rolled_back"], &reported["active"]), (&json!(2), &json!(1)), "{reported}");
    let reason = reported["reason"].as_str().unwrap();
    assert!(reason.starts_with("not confirmed in time: probe stock: ") && reason.contains("not allowed"), "{reason}");

    // What syncs through the data plane is confirmed through it, and a version that cuts the node off from the servers goes
    // back although there is another way to them.
    let through = |version, ingress: &Value| {
        let (server, own) = (id("service/config-server"), id("node/pier2"));
        let name = |name: &str, addr: &str| json!({ "name": name, "spiffe_id": id(&format!("service/{name}")), "upstream_addr": addr });
        pier.tree(version, &[], &json!({
            "schema_version": "1.1",
            "local_services": [name("config-server", &hub.address.to_string()), name("stock", &pier.stock.to_string())],
            "ingress": ingress,
            "sync": { "via": "rete", "principal": own, "config_server": server, "urls": [], "hold": "1s" },
        }))
    };
    let row = json!([{ "target_spiffe_id": id("service/config-server"), "allow": [id("node/pier2")] }]);
    hub.publish(&through(3, &row)).await;
    pier.until("version 3", |status| status["confirmed"] == 3).await;
    hub.publish(&through(4, &json!([]))).await;
    pier.until("version 4", |status| status["pending"]["version"] == 4).await;
    let status = pier.until("the way back", |status| status["pending"].is_null()).await;
    assert_eq!((&status["active"], &status["confirmed"]), (&json!(3), &json!(3)), "{status}");
    hub.publish(&through(5, &row)).await;
    pier.until("version 5", |status| status["confirmed"] == 5).await;
    assert_eq!(hub.told("adopted").await["confirmed"], 5, "it is the content of version 3");
    hub.serving.abort();
}
