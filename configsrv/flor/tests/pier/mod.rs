//! A node with a data plane, and a server to sync from; what the tests of both share.

#![allow(dead_code, reason = "every test binary uses its own part of this")]

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
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    task::JoinHandle,
};
use tower::ServiceExt as _;

use crate::support::{
    self, Rules, service,
    tree::{Signer, Tree},
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const STOCK: &str = "stock.quay.test.rete";
pub(crate) const SUBJECTS: [&str; 5] =
    ["node/pier2", "user/mira", "user/tomas", "service/stock", "service/config-server"];

pub(crate) fn port() -> u16 {
    StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) fn id(subject: &str) -> String {
    format!("spiffe://quay.test/{subject}")
}

/// The node pier2, which has the service `stock` and two people who may dial it.
pub(crate) struct Pier {
    pub(crate) authority: Authority,
    pub(crate) folder: TempDir,
    pub(crate) signer: Signer,
    pub(crate) node: u16,
    pub(crate) mira: u16,
    pub(crate) tomas: u16,
    pub(crate) udp: u16,
    pub(crate) stock: SocketAddr,
}

/// A server with one published version after the other.
pub(crate) struct Hub {
    pub(crate) address: SocketAddr,
    pub(crate) app: Router,
    pub(crate) serving: JoinHandle<()>,
}

impl Hub {
    /// What the node said last, once it is `result`: a node says what it did, after it did it.
    pub(crate) async fn told(&self, result: &str) -> Value {
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
    pub(crate) async fn view(&self) -> Value {
        let request = http::Request::builder()
            .uri("/nodes/pier2")
            .header("authorization", format!("Bearer {}", support::OPERATOR))
            .body(axum::body::Body::empty())
            .unwrap();
        let answer = self.app.clone().oneshot(request).await.unwrap();
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    pub(crate) async fn start() -> Self {
        let (service, _) = service(Settings::default());
        // Whoever waits for news is told.
        tokio::spawn(service.clone().run(Stop::new()));
        let app = router(service).layer(IamLayer::new(Arc::new(Rules), ACCESS_HTTP.iter().copied()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, app.clone()));
        Self { address, app, serving }
    }

    pub(crate) async fn publish(&self, tree: &Tree<'_>) {
        support::publish(self.address, tree, tree.version - 1).await;
    }
}

/// The connections end with the task.
pub(crate) async fn serve(listener: TcpListener, app: Router) {
    axum::serve(listener, app).await.unwrap();
}

impl Pier {
    pub(crate) async fn new(hub: &Hub) -> Self {
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

    pub(crate) async fn enroll(&self, urls: &[String], subjects: &[&str]) {
        self.enroll_for(urls, subjects, OffsetDateTime::now_utc(), 10).await;
    }

    /// With certificates that end so many days after they were issued, which may be a moment to come: they count five minutes
    /// before it.
    pub(crate) async fn enroll_for(&self, urls: &[String], subjects: &[&str], issued: OffsetDateTime, days: u32) {
        let (cluster, root) = (self.authority.cluster().clone(), self.authority.certificate_pem());
        let servers = Servers { urls: urls.to_vec(), ..Servers::default() };
        let mut bundle = Bundle::new(cluster.clone(), "pier2".parse().unwrap(), root, Vec::new(), servers);
        for subject in subjects {
            let subject: Subject = subject.parse().unwrap();
            let issued = self.authority.issue(&subject, issued, days).unwrap();
            let (spiffe_id, key) = (SpiffeId::new(&cluster, subject), Some(Secret::new(issued.key_pem)));
            bundle.identities.push(Identity { spiffe_id, certificate: issued.certificate_pem, key });
        }
        let path = self.folder.path().join("bundle");
        fs::write(&path, bundle.write().unwrap().expose()).unwrap();
        exits(&self.flor(&["enroll", &path.display().to_string()]).await, 0);
    }

    /// A version in which `allow` may reach the service.
    pub(crate) fn tree(&self, version: u64, allow: &[&str], more: &Value) -> Tree<'_> {
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

    pub(crate) fn command(&self, words: &[&str]) -> Command {
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

    pub(crate) async fn flor(&self, words: &[&str]) -> Output {
        self.command(words).output().await.unwrap()
    }

    pub(crate) async fn daemon(&self) -> Child {
        self.daemon_with(&[]).await
    }

    /// With more words on its command line.
    pub(crate) async fn daemon_with(&self, words: &[&str]) -> Child {
        let child = self.command(&[&["agent", "run"], words].concat()).spawn().unwrap();
        self.until("the daemon", |status| status["daemon"] == true).await;
        child
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
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
    pub(crate) async fn sync(&self, expected: i32) -> String {
        exits(&self.flor(&["sync", "--commit-timeout", "0"]).await, expected)
    }
}

#[track_caller]
pub(crate) fn exits(output: &Output, expected: i32) -> String {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(expected), "{said}");
    said
}

pub(crate) async fn echo() -> SocketAddr {
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
pub(crate) async fn connect(socks5: u16) -> Result<TcpStream, u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", socks5)).await.unwrap();
    let mut asked = vec![5, 1, 0, 5, 1, 0, 3, u8::try_from(STOCK.len()).unwrap()];
    asked.extend(STOCK.as_bytes());
    asked.extend([0, 80]);
    stream.write_all(&asked).await.unwrap();
    let mut reply = [0; 12];
    stream.read_exact(&mut reply).await.unwrap();
    if reply[3] == 0 { Ok(stream) } else { Err(reply[3]) }
}

pub(crate) async fn ping(stream: &mut TcpStream) {
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
}

pub(crate) async fn broken(stream: &mut TcpStream) {
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("it breaks");
    assert!(read.is_err(), "{read:?}");
}
