//! A machine's whole way in, against the real identity service: join token, certificate, bearer token, first sync.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "../../server/tests/support/mod.rs"]
mod support;

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    process::{Output, Stdio},
    sync::Arc,
};

use axum::{Router, body::Body};
use chainfire_client::memory::MemoryStore;
use configsrv_server::{ConfigService, Settings, router};
use holdfast_proto::iam::{CreateJoinTokenRequest, enrollment_client::EnrollmentClient};
use holdfast_service::Stop;
use http::{Request, StatusCode, header};
use iam_client::IamLayer;
use iam_core::{
    TrustDomain,
    startup::{Config, Inputs, evaluate},
};
use iam_server::{Doors, Iam, SystemClock, SystemEntropy};
use serde_json::json;
use support::tree::{Signer, Tree, file};
use tempfile::TempDir;
use tokio::{net::TcpListener, process::Command};
use tonic::service::Routes;
use tower::ServiceExt as _;

const ADMIN: &str = "bootstrap-token-0123456789-abcdef";

/// Identity and configuration behind one listener.
struct Plane {
    address: SocketAddr,
    app: Router,
    stop: Stop,
    _data: TempDir,
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.stop.request();
    }
}

impl Plane {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (store, data, stop) = (Arc::new(MemoryStore::new().unwrap()), tempfile::tempdir().unwrap(), Stop::new());
        let iam = identity(&store, &data, address);
        tokio::spawn(iam.clone().run(stop.clone()));
        assert_eq!(iam.settled().await, Doors::Open);
        let authority = Arc::new(iam.clone());
        let service = ConfigService::new(store, Arc::clone(&authority) as _, Settings::default());
        let rules = [
            iam_server::ACCESS_GRPC,
            iam_server::ACCESS_HTTP,
            configsrv_server::ACCESS_HTTP,
            configsrv_server::ACCESS_GRPC,
        ];
        let app = iam
            .add_to(Routes::new(configsrv_server::grpc(service.clone())))
            .into_axum_router()
            .merge(iam.http())
            .merge(router(service))
            .layer(IamLayer::new(authority, rules.concat()));
        let served = app.clone();
        tokio::spawn(async move { axum::serve(listener, served).await });
        Self { address, app, stop, _data: data }
    }

    async fn join_token(&self) -> String {
        let mut request = tonic::Request::new(CreateJoinTokenRequest { node: "pier2".into(), ttl_s: 600 });
        request.metadata_mut().insert("authorization", format!("Bearer {ADMIN}").parse().unwrap());
        let answer = EnrollmentClient::new(self.app.clone()).create_join_token(request).await.unwrap();
        answer.into_inner().join_token
    }

    async fn publish(&self, tree: &Tree<'_>, base_version: u64) {
        let request = Request::post("/publish").header(header::AUTHORIZATION, format!("Bearer {ADMIN}"));
        let request = request.body(Body::from(tree.body(base_version))).unwrap();
        assert_eq!(self.app.clone().oneshot(request).await.unwrap().status(), StatusCode::OK);
    }
}

fn identity(store: &Arc<MemoryStore>, data: &TempDir, address: SocketAddr) -> Iam {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    let variable = |name: &str| match name {
        "IAM_ADMIN_TOKEN" => Some(ADMIN.to_owned()),
        "IAM_SIGNING_KEY" => Some(key.clone()),
        "IAM_CRED_MASTER_KEY" => Some("000102030405060708090a0b0c0d0e0f".repeat(2)),
        _ => None,
    };
    let inputs = Inputs::gather(false, false, Config::default(), variable, |path| fs::read(path));
    let secrets = evaluate(&inputs).unwrap();
    let domain = TrustDomain::new("quay.test").unwrap();
    let settings = iam_server::Settings::new(format!("http://{address}"), domain, data.path());
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    Iam::open(Arc::clone(store) as _, secrets, settings, clock, entropy).unwrap()
}

/// A machine with nothing on it.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    async fn flor(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flor"));
        command.args(arguments).env("FLOR_HOME", self.0.path()).env_remove("FLOR_TOKEN_FILE").stdin(Stdio::null());
        command.output().await.unwrap()
    }

    async fn enroll(&self, plane: &Plane, token: &str) -> Output {
        let file = self.0.path().join("join-token");
        fs::write(&file, token).unwrap();
        let (file, url) = (file.display().to_string(), format!("http://{}", plane.address));
        self.flor(&["enroll", "--join-token-file", &file, "--api", &url, "--server", &url]).await
    }
}

#[track_caller]
fn exits(output: &Output, expected: i32) -> String {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(expected), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_join_token_to_a_confirmed_version() {
    let plane = Plane::start().await;
    let machine = Machine::new();
    let said = exits(&machine.enroll(&plane, &plane.join_token().await).await, 0);
    assert!(said.contains("spiffe://quay.test/node/pier2"), "{said}");
    let cluster = machine.0.path().join("clusters/quay.test");
    let mode = |path: &str| fs::metadata(cluster.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("certs/pier2.key"), mode("certs/pier2.crt"), mode("ca.crt")), (0o600, 0o644, 0o644));
    assert_eq!(fs::read_dir(machine.0.path().join("clusters")).unwrap().count(), 1, "nothing of the way in is left");

    let signer = Signer::new("primary");
    let shop = machine.0.path().join("shop");
    let files = json!([file(&shop.display().to_string(), "one")]);
    plane.publish(&Tree::new(1, &signer).nodes(vec![("pier2", files)]), 0).await;
    exits(&machine.flor(&["sync", "--commit-timeout", "0"]).await, 0);
    assert_eq!(fs::read_to_string(&shop).unwrap(), "one");
    let status = exits(&machine.flor(&["status"]).await, 0);
    assert!(status.contains("confirmed version 1"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_admits_one_machine_and_one_authority() {
    let plane = Plane::start().await;
    let token = plane.join_token().await;
    let machine = Machine::new();
    exits(&machine.enroll(&plane, &token).await, 0);
    exits(&Machine::new().enroll(&plane, &token).await, 6);

    // The token of another cluster: the answer is not believed.
    let mut parts: Vec<&str> = token.split('.').collect();
    let other = "A".repeat(43);
    parts[2] = &other;
    let said = exits(&Machine::new().enroll(&plane, &parts.join(".")).await, 6);
    assert!(!said.contains(parts[3]), "secrets are not shown");
    exits(&Machine::new().enroll(&plane, "no token").await, 2);
    let gone = "http://127.0.0.1:1".to_owned();
    let file = machine.0.path().join("join-token").display().to_string();
    exits(&machine.flor(&["enroll", "--join-token-file", &file, "--api", &gone, "--server", &gone]).await, 7);
}
