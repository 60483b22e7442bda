//! A node, and a server to sync from; what the tests of the binary share.

#![allow(dead_code, reason = "every test binary uses its own part of this")]

pub(crate) mod relay;

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Output, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, body::Body};
use configsrv_server::{ACCESS_HTTP, ConfigService, Settings, router};
use iam_client::IamLayer;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    process::{Child, Command},
};

use tower::ServiceExt as _;

use crate::support::{Rules, operator, service};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A node: a folder, and the binary.
pub(crate) struct Node {
    pub(crate) folder: TempDir,
    pub(crate) urls: Vec<String>,
}

impl Node {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("home/clusters/quay.test")).unwrap();
        fs::write(folder.path().join("token"), "node:pier2\n").unwrap();
        let mut node = Self { folder, urls: Vec::new() };
        node.asks([address]);
        node
    }

    /// Which servers it knows.
    pub(crate) fn asks(&mut self, addresses: impl IntoIterator<Item = SocketAddr>) {
        self.urls = addresses.into_iter().map(|address| format!("http://{address}")).collect();
        let text = json!({ "cluster": "quay.test", "node": "pier2", "urls": self.urls }).to_string();
        fs::write(self.cluster().join("cluster.json"), text).unwrap();
    }

    /// A file that activations write.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.folder.path().join(name)).ok()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flor"));
        command
            .args(arguments)
            .env("FLOR_HOME", self.folder.path().join("home"))
            .env("FLOR_TOKEN_FILE", self.folder.path().join("token"))
            .env_remove("FLOR_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    pub(crate) async fn flor(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().await.unwrap()
    }

    #[track_caller]
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    pub(crate) async fn status(&self) -> Value {
        let output = self.flor(&["status", "--json"]).await;
        assert_eq!(code(&output), 0, "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let status = self.status().await;
            if holds(&status) {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "waited for {what}: {status}");
        }
    }

    pub(crate) async fn daemon(&self) -> Child {
        let child = self.spawn(&["agent", "run"]);
        self.until("the daemon", |status| status["daemon"] == true).await;
        child
    }

    pub(crate) fn cluster(&self) -> PathBuf {
        self.folder.path().join("home/clusters/quay.test")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.cluster().join("run/agent.sock")
    }
}

/// The config server with its access control, on a port of its own.
pub(crate) async fn serve() -> (SocketAddr, ConfigService) {
    let (service, _store) = service(Settings::default());
    let app = router(service.clone()).layer(IamLayer::new(Arc::new(Rules), ACCESS_HTTP.iter().copied()));
    (listen(app).await, service)
}

/// What an operator sees of the node.
pub(crate) async fn fleet_view(service: ConfigService) -> Value {
    let request = http::Request::builder().uri("/nodes/pier2").extension(operator()).body(Body::empty()).unwrap();
    let answer = router(service).oneshot(request).await.unwrap();
    let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

pub(crate) async fn listen(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

#[track_caller]
pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[track_caller]
pub(crate) fn exits(output: &Output, expected: i32) -> String {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(code(output), expected, "{said}");
    said
}
