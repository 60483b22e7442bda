//! A machine's whole way in, against the real identity service: join token, certificate, bearer token, first sync.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "../../server/tests/support/mod.rs"]
mod support;

use std::{
    collections::HashSet,
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Output, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    middleware::{self, Next},
};
use chainfire_client::memory::MemoryStore;
use configsrv_fleet::{
    SpiffeId,
    bundle::{Bundle, Identity, Secret, Servers},
    ca::Authority,
};
use configsrv_server::{ConfigService, Settings, router};
use holdfast_proto::iam::{
    AddRootRequest, CreateJoinTokenRequest, IssueWithRequest, ListRootsRequest, RequestCertificateRequest,
    StepRootRequest, enrollment_client::EnrollmentClient, trust_client::TrustClient,
};
use holdfast_rpc::{ClientAuth, Connection, Limits, ServerTls, TlsFiles};
use holdfast_service::Stop;
use http::{Request, StatusCode, header};
use iam_client::IamLayer;
use iam_core::{
    TrustDomain,
    startup::{Config, Inputs, evaluate},
};
use iam_server::{Doors, Iam, SystemClock, SystemEntropy};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::json;
use support::tree::{Signer, Tree, file};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::{
    io::AsyncBufReadExt as _,
    net::TcpListener,
    process::{Child, Command},
};
use tonic::service::Routes;
use tower::ServiceExt as _;

const ADMIN: &str = "bootstrap-token-0123456789-abcdef";
const PATIENCE: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Identity and configuration behind one listener.
struct Plane {
    address: SocketAddr,
    app: Router,
    stop: Stop,
    data: TempDir,
    scheme: &'static str,
    asked: Asked,
}

/// What was asked, and where from.
type Asked = Arc<Mutex<Vec<(String, SocketAddr)>>>;

impl Drop for Plane {
    fn drop(&mut self) {
        self.stop.request();
    }
}

impl Plane {
    async fn start() -> Self {
        Self::open("http", DAY).await
    }

    /// With `https`, the certificate's authority is `tls.crt` in the plane's folder.
    async fn open(scheme: &'static str, certificate_ttl: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (store, data, stop) = (Arc::new(MemoryStore::new().unwrap()), tempfile::tempdir().unwrap(), Stop::new());
        let iam = identity(&store, &data, format!("{scheme}://{address}"), certificate_ttl);
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
        let asked = Asked::default();
        let noted = Arc::clone(&asked);
        let app = app.layer(middleware::from_fn(move |request: Request<Body>, next: Next| {
            if let Some(connection) = request.extensions().get::<Connection>() {
                noted.lock().unwrap().push((request.uri().path().to_owned(), connection.source));
            }
            next.run(request)
        }));
        let tls = (scheme == "https").then(|| server_tls(&data));
        tokio::spawn(holdfast_rpc::serve(listener, app.clone(), tls, Limits::default(), stop.clone()));
        Self { address, app, stop, data, scheme, asked }
    }

    /// Where requests for `path` came from.
    fn sources(&self, path: &str) -> HashSet<SocketAddr> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(of, _)| of == path).map(|(_, source)| *source).collect()
    }

    fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    async fn join_token(&self) -> String {
        let request = by_admin(CreateJoinTokenRequest { node: "pier2".into(), ttl_s: 600 });
        let answer = EnrollmentClient::new(self.app.clone()).create_join_token(request).await.unwrap();
        answer.into_inner().join_token
    }

    async fn publish(&self, tree: &Tree<'_>, base_version: u64) {
        let request = Request::post("/publish").header(header::AUTHORIZATION, format!("Bearer {ADMIN}"));
        let request = request.body(Body::from(tree.body(base_version))).unwrap();
        assert_eq!(self.app.clone().oneshot(request).await.unwrap().status(), StatusCode::OK);
    }
}

/// A certificate for this machine that is its own authority.
fn server_tls(data: &TempDir) -> ServerTls {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let files = TlsFiles::new(data.path().join("tls.crt"), data.path().join("tls.key"), ClientAuth::Presented);
    fs::write(&files.cert, certificate.pem()).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    ServerTls::load(files, &[b"h2", b"http/1.1"]).unwrap()
}

fn identity(store: &Arc<MemoryStore>, data: &TempDir, issuer: String, certificate_ttl: Duration) -> Iam {
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
    let settings = iam_server::Settings::new(issuer, domain, data.path());
    let settings = iam_server::Settings {
        lifetimes: iam_server::Lifetimes { certificate: certificate_ttl, ..settings.lifetimes },
        ..settings
    };
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    Iam::open(Arc::clone(store) as _, secrets, settings, clock, entropy).unwrap()
}

/// A machine with nothing on it.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flor"));
        command
            .args(arguments)
            .env("FLOR_HOME", self.0.path())
            .env_remove("FLOR_TOKEN_FILE")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    async fn flor(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().await.unwrap()
    }

    async fn daemon(&self) -> Child {
        let child = self.command(&["agent", "run"]).spawn().unwrap();
        self.until("the daemon", |status| status.contains(r#""daemon":true"#)).await;
        child
    }

    async fn until(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let start = Instant::now();
        loop {
            let status = exits(&self.flor(&["status", "--json"]).await, 0);
            if holds(&status) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "waited for {what}: {status}");
        }
    }

    fn cluster(&self, path: &str) -> PathBuf {
        self.0.path().join("clusters/quay.test").join(path)
    }

    async fn enroll(&self, plane: &Plane, token: &str) -> Output {
        let file = self.0.path().join("join-token");
        fs::write(&file, token).unwrap();
        let (file, url) = (file.display().to_string(), plane.url());
        let mut words = vec!["enroll", "--join-token-file", &file, "--api", &url, "--server", &url];
        let authority = plane.data.path().join("tls.crt").display().to_string();
        if plane.scheme == "https" {
            words.extend(["--ca-file", &authority]);
        }
        self.flor(&words).await
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
    let mode = |path: &str| fs::metadata(machine.cluster(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("certs/pier2.key"), mode("certs/pier2.crt"), mode("ca.crt")), (0o600, 0o644, 0o644));
    let left = fs::read_dir(machine.0.path().join("enrolling")).unwrap().count();
    assert_eq!(left, 0, "nothing of the way in is left");
    let key = fs::read_to_string(machine.cluster("certs/pier2.key")).unwrap();
    assert!(key.contains("\nMC4CAQAwBQYDK2VwBCIEI"), "a form that OpenSSL reads");

    let signer = Signer::new("primary");
    let shop = machine.0.path().join("shop");
    let files = json!([file(&shop.display().to_string(), "one")]);
    plane.publish(&Tree::new(1, &signer).nodes(vec![("pier2", files)]), 0).await;
    exits(&machine.flor(&["sync", "--commit-timeout", "0"]).await, 0);
    assert_eq!(fs::read_to_string(&shop).unwrap(), "one");
    let status = exits(&machine.flor(&["status"]).await, 0);
    assert!(status.contains("confirmed version 1"), "{status}");
    for folder in ["../../clusters", "", "certs", "artifacts", "artifacts/sets/v1", "state", "state/agent"] {
        assert_eq!(mode(folder), 0o700, "{folder}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_with_a_join_token_is_the_whole_way_in() {
    let (plane, machine, signer) = (Plane::start().await, Machine::new(), Signer::new("primary"));
    let authority = Authority::create(&"quay.test".parse().unwrap(), OffsetDateTime::now_utc(), 10).unwrap().0;
    let (cluster, root) = (authority.cluster().clone(), authority.certificate_pem());
    let servers = Servers { urls: vec![plane.url()], api: vec![plane.url()], ca: None };
    let mut bundle = Bundle::new(cluster.clone(), "pier2".parse().unwrap(), root, Vec::new(), servers);
    let add = |bundle: &mut Bundle, subject: &str| {
        let issued = authority.issue(&subject.parse().unwrap(), OffsetDateTime::now_utc(), 5).unwrap();
        let spiffe_id = SpiffeId::new(&cluster, subject.parse().unwrap());
        let key = Some(Secret::new(issued.key_pem));
        bundle.identities.push(Identity { spiffe_id, certificate: issued.certificate_pem, key });
    };
    let write = |bundle: &Bundle| {
        let path = machine.0.path().join("bundle");
        fs::write(&path, bundle.write().unwrap().expose()).unwrap();
        path.display().to_string()
    };
    // Somebody who is not the node itself: what is then published cannot run here.
    add(&mut bundle, "user/mira");
    bundle.join_token = Some(Secret::new(plane.join_token().await.into()));
    exits(&machine.flor(&["enroll", &write(&bundle)]).await, 0);
    assert!(machine.cluster("certs/pier2.crt").is_file() && machine.cluster("identities/user.mira.pem").is_file());
    plane.publish(&Tree::new(1, &signer), 0).await;
    let said = exits(&machine.flor(&["sync", "--commit-timeout", "0"]).await, 6);
    assert!(said.contains("no certificate for node/pier2: enrol it again"), "{said}");
    assert!(!machine.cluster("artifacts/sets").exists(), "nothing is staged");
    // The token is spent; to enrol again needs none.
    let certificate = fs::read(machine.cluster("certs/pier2.crt")).unwrap();
    add(&mut bundle, "node/pier2");
    exits(&machine.flor(&["enroll", &write(&bundle)]).await, 0);
    assert_eq!(fs::read(machine.cluster("certs/pier2.crt")).unwrap(), certificate);
    exits(&machine.flor(&["sync", "--commit-timeout", "0"]).await, 0);
    // Signers that came with the bundle count from the first artifact on.
    let stranger = Machine::new();
    let pinned: configsrv_fleet::Signer = serde_json::from_value(json!({
        "spiffe_id": "spiffe://quay.test/management-plane/other", "pubkey": "A".repeat(43) + "=",
    }))
    .unwrap();
    bundle.signers.push(pinned);
    bundle.join_token = None;
    let path = stranger.0.path().join("bundle");
    fs::write(&path, bundle.write().unwrap().expose()).unwrap();
    exits(&stranger.flor(&["enroll", &path.display().to_string()]).await, 0);
    fs::create_dir_all(stranger.cluster("certs")).unwrap();
    for file in ["pier2.crt", "pier2.key"] {
        fs::copy(machine.cluster("certs").join(file), stranger.cluster("certs").join(file)).unwrap();
    }
    exits(&stranger.flor(&["sync", "--commit-timeout", "0"]).await, 6);
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

    // Whatever failed, the machine is in the cluster that it was in, or in none.
    exits(&machine.flor(&["status"]).await, 0);
    let outsider = Machine::new();
    exits(&outsider.enroll(&plane, &token).await, 6);
    let said = exits(&outsider.flor(&["status"]).await, 8);
    assert!(said.contains("not enrolled"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_takes_over_the_certificates_on_disk() {
    let plane = Plane::start().await;
    let machine = Machine::new();
    exits(&machine.enroll(&plane, &plane.join_token().await).await, 0);
    let signer = Signer::new("primary");
    plane.publish(&Tree::new(1, &signer).nodes(vec![("pier2", json!([]))]), 0).await;
    let path = machine.cluster("certs/pier2.crt");
    let good = fs::read(&path).unwrap();
    let sync = ["sync", "--commit-timeout", "0"];

    // It starts even so: what is pending goes back without any server.
    fs::write(&path, "damaged").unwrap();
    let _daemon = machine.daemon().await;
    exits(&machine.flor(&sync).await, 1);
    fs::write(&path, good).unwrap();
    exits(&machine.flor(&sync).await, 0);
    fs::write(&path, "damaged").unwrap();
    exits(&machine.flor(&sync).await, 0);
    fs::remove_file(&path).unwrap();
    let said = exits(&machine.flor(&sync).await, 8);
    assert!(said.contains("no certificate"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_renews_the_certificate_in_time() {
    // Counted from five minutes before its issue, two thirds of this life are over at once.
    let plane = Plane::open("https", Duration::from_secs(120)).await;
    let machine = Machine::new();
    exits(&machine.enroll(&plane, &plane.join_token().await).await, 0);
    let read = |name: &str| fs::read(machine.cluster(name)).unwrap();
    let (certificate, key) = (read("certs/pier2.crt"), read("certs/pier2.key"));
    let _daemon = machine.daemon().await;
    machine.until("the next certificate", |_| read("certs/pier2.crt") != certificate).await;
    assert_eq!(read("certs/pier2.key"), key);

    let signer = Signer::new("primary");
    plane.publish(&Tree::new(1, &signer).nodes(vec![("pier2", json!([]))]), 0).await;
    exits(&machine.flor(&["sync"]).await, 0);
    exits(&machine.flor(&["sync", "--confirm"]).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_asks_everything_on_one_connection() {
    let plane = Plane::open("https", DAY).await;
    let machine = Machine::new();
    exits(&machine.enroll(&plane, &plane.join_token().await).await, 0);
    let signer = Signer::new("primary");
    plane.publish(&Tree::new(1, &signer).nodes(vec![("pier2", json!([]))]), 0).await;
    let _daemon = machine.daemon().await;
    exits(&machine.flor(&["sync"]).await, 0);
    exits(&machine.flor(&["sync", "--confirm"]).await, 0);
    machine.until("a request that waits for revocations", |_| !plane.sources("/revocations").is_empty()).await;
    exits(&machine.flor(&["sync"]).await, 0);
    let shared = plane.sources("/revocations").intersection(&plane.sources("/artifact/pier2")).count();
    assert_ne!(shared, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn authorities_come_and_go_with_the_servers() {
    let plane = Plane::open("https", Duration::from_secs(120)).await;
    let machine = Machine::new();
    exits(&machine.enroll(&plane, &plane.join_token().await).await, 0);
    let read = |name: &str| fs::read_to_string(machine.cluster(name)).unwrap();
    let authorities = || (read("ca.crt").matches("BEGIN").count(), read("bundle.crt").matches("BEGIN").count());
    assert_eq!(authorities(), (2, 1), "the servers' TLS has another");
    let mut trust = TrustClient::new(plane.app.clone());
    let first = trust.list(by_admin(ListRootsRequest {})).await.unwrap().into_inner().roots.remove(0).id;
    let second = trust.add_root(by_admin(AddRootRequest::default())).await.unwrap().into_inner().id;
    let step = |id: &str| by_admin(StepRootRequest { id: id.to_owned(), force: true, ..StepRootRequest::default() });
    trust.activate(step(&second)).await.unwrap();

    let certificate = read("certs/pier2.crt");
    let mut daemon = machine.daemon().await;
    machine.until("the new authority", |_| authorities() == (3, 2) && read("certs/pier2.crt") != certificate).await;
    daemon.kill().await.unwrap();
    trust.remove(step(&first)).await.unwrap();
    let _daemon = machine.daemon().await;
    machine.until("the old authority to go", |_| authorities() == (2, 1)).await;

    let signer = Signer::new("primary");
    plane.publish(&Tree::new(1, &signer).nodes(vec![("pier2", json!([]))]), 0).await;
    exits(&machine.flor(&["sync"]).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_below_an_offline_root_comes_and_renews_with_its_chain() {
    for scheme in ["https", "http"] {
        let plane = Plane::open(scheme, Duration::from_secs(120)).await;
        let offline = Authority::create(&"quay.test".parse().unwrap(), OffsetDateTime::now_utc(), 30).unwrap().0;
        let mut trust = TrustClient::new(plane.app.clone());
        let first = certified(&mut trust, &offline).await;
        let root: Vec<u8> = offline.certificate().der().to_vec();
        let add =
            AddRootRequest { certificate: root.clone().into(), issuing: first.clone().into(), ..Default::default() };
        let id = trust.add_root(by_admin(add)).await.unwrap().into_inner().id;
        let step = StepRootRequest { id: id.clone(), force: true, ..StepRootRequest::default() };
        trust.activate(by_admin(step)).await.unwrap();

        let machine = Machine::new();
        exits(&machine.enroll(&plane, &plane.join_token().await).await, 0);
        let read = |name: &str| -> Vec<Vec<u8>> {
            let pem = CertificateDer::pem_file_iter(machine.cluster(name)).unwrap();
            pem.map(|der| der.unwrap().to_vec()).collect()
        };
        let chain = read("certs/pier2.crt");
        assert_eq!((chain.len(), &chain[1]), (2, &first));
        let trusted = read("ca.crt");
        assert!(trusted.contains(&root) && !trusted.contains(&first), "the root alone");

        let next = certified(&mut trust, &offline).await;
        let issue_with = IssueWithRequest { id, issuing: next.clone().into(), dry_run: false };
        trust.issue_with(by_admin(issue_with)).await.unwrap();
        let _daemon = machine.daemon().await;
        machine.until("the next chain", |_| read("certs/pier2.crt").get(1) == Some(&next)).await;
        assert_eq!(read("ca.crt"), trusted);
        let signer = Signer::new("primary");
        plane.publish(&Tree::new(1, &signer).nodes(vec![("pier2", json!([]))]), 0).await;
        exits(&machine.flor(&["sync"]).await, 0);
        exits(&machine.flor(&["sync", "--confirm"]).await, 0);
    }
}

/// What `offline` makes of the servers' request.
async fn certified(trust: &mut TrustClient<Router>, offline: &Authority) -> Vec<u8> {
    let asked = trust.request_certificate(by_admin(RequestCertificateRequest {})).await.unwrap().into_inner();
    let pem = offline.intermediate(&iam_ca::request_pem(&asked.csr_der), OffsetDateTime::now_utc(), 10).unwrap();
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

fn by_admin<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {ADMIN}").parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_renewed_stays() {
    let plane = Plane::open("https", Duration::from_secs(120)).await;
    let machine = Machine::new();
    exits(&machine.enroll(&plane, &plane.join_token().await).await, 0);
    let path = machine.cluster("certs/pier2.crt");
    let certificate = fs::read(&path).unwrap();
    // Nobody is at the API address any more.
    let cluster = machine.cluster("cluster.json");
    let text = fs::read_to_string(&cluster).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json["api"] = json!(["https://127.0.0.1:1"]);
    fs::write(&cluster, json.to_string()).unwrap();
    let mut daemon = machine.command(&["agent", "run"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = tokio::io::BufReader::new(daemon.stderr.take().unwrap()).lines();
    let told = async {
        while let Some(line) = said.next_line().await.unwrap() {
            if line.contains("not renewed yet") {
                return;
            }
        }
        panic!("it says so");
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), certificate);
    machine.until("the daemon", |status| status.contains(r#""daemon":true"#)).await;
    exits(&machine.flor(&["sync"]).await, 7);
}
