//! What this node shows to servers, and how much it hears of them.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{ConnectInfo, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use configsrv_fleet::{Digest, Sequence, Version};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
    time::timeout,
};

use super::{HttpServer, Report, Server as _};
use crate::{Error, cluster::Cluster, home::Layout, machine::Target, plane::NoPlane};

/// A server without TLS. It takes the newest token that it gave away, or none.
#[derive(Default)]
struct Hub {
    given: AtomicUsize,
    /// Tokens up to this one are void.
    void: AtomicUsize,
    /// Reports that came, with the connections that they came by.
    reports: Mutex<Vec<(SocketAddr, Value)>>,
    /// Fields of its receipts that are other than they should be.
    wrong: Mutex<Value>,
}

impl Hub {
    async fn start() -> (Arc<Self>, SocketAddr) {
        let hub = Arc::new(Self::default());
        let discovery = || async { Json(json!({ "issuer": "https://hub.test" })) };
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/oauth2/token", post(give))
            .route("/revocations", get(revocations))
            .route("/nodes/{node}/status", post(receipt))
            .with_state(Arc::clone(&hub));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        (hub, address)
    }

    fn given(&self) -> usize {
        self.given.load(Ordering::SeqCst)
    }

    /// The connections of all reports so far.
    fn peers(&self) -> Vec<SocketAddr> {
        self.reports.lock().unwrap().iter().map(|(peer, _)| *peer).collect()
    }
}

async fn give(State(hub): State<Arc<Hub>>) -> Json<Value> {
    let number = hub.given.fetch_add(1, Ordering::SeqCst) + 1;
    Json(json!({ "access_token": number.to_string(), "expires_in": 3600 }))
}

async fn receipt(
    State(hub): State<Arc<Hub>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Json(report): Json<Value>,
) -> Json<Value> {
    let mut receipt =
        json!({ "nonce": report["nonce"], "version": report["pending"], "digest": report["digest"], "current": 7 });
    for (field, value) in hub.wrong.lock().unwrap().as_object().into_iter().flatten() {
        receipt[field] = value.clone();
    }
    hub.reports.lock().unwrap().push((peer, report));
    Json(receipt)
}

async fn revocations(State(hub): State<Arc<Hub>>, headers: HeaderMap) -> StatusCode {
    let shown =
        headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer ")?.parse().ok());
    let good = shown.is_some_and(|shown: usize| shown > hub.void.load(Ordering::SeqCst));
    if good { StatusCode::NOT_MODIFIED } else { StatusCode::UNAUTHORIZED }
}

/// A node that has a certificate, and asks these servers.
fn node(urls: &[String]) -> (HttpServer, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::at(&folder.path().display().to_string());
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    fs::create_dir_all(folder.path().join("certs")).unwrap();
    fs::write(layout.certificate("pier2"), certificate.pem()).unwrap();
    fs::write(layout.key("pier2"), key.serialize_pem()).unwrap();
    let cluster = Cluster {
        cluster: "quay.test".parse().unwrap(),
        node: "pier2".parse().unwrap(),
        urls: urls.to_vec(),
        api: Vec::new(),
        signers: Vec::new(),
    };
    (HttpServer::new(cluster, layout, None, Arc::new(NoPlane)), folder)
}

async fn ask(server: &HttpServer) -> Result<Option<Vec<u8>>, Error> {
    server.revocations(Sequence::NONE, Duration::ZERO).await
}

#[tokio::test]
async fn a_void_token_is_given_up_for_another_one() {
    let (hub, address) = Hub::start().await;
    let (server, _folder) = node(&[format!("http://{address}")]);
    for _ in 0..2 {
        assert_eq!(ask(&server).await, Ok(None));
    }
    assert_eq!(hub.given(), 1, "it is shown as long as it is good");
    hub.void.store(1, Ordering::SeqCst);
    assert_eq!(ask(&server).await, Ok(None));
    assert_eq!(hub.given(), 2);
    // Whoever takes none at all is asked for one more, and believed.
    hub.void.store(usize::MAX, Ordering::SeqCst);
    assert!(matches!(ask(&server).await, Err(Error::Untrusted(_))));
    assert_eq!(hub.given(), 3);
}

#[tokio::test]
async fn nothing_is_shown_on_a_network_without_tls() {
    let (_hub, address) = Hub::start().await;
    let open = "http://192.0.2.1:8080".to_owned();
    let (server, _folder) = node(std::slice::from_ref(&open));
    let Err(Error::Usage(why)) = ask(&server).await else { panic!("it was shown") };
    assert!(why.contains(&open) && why.contains("https://"), "{why}");
    let (server, _folder) = node(&[open, format!("http://{address}")]);
    assert_eq!(ask(&server).await, Ok(None), "others are asked all the same");
}

/// It says something to whoever asks for anything, and never comes to an end; how much it got rid of.
async fn endless(head: &'static str) -> (SocketAddr, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let talking = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(format!("HTTP/1.1 {head}\r\ntransfer-encoding: chunked\r\n\r\n").as_bytes()).await;
        let (chunk, mut said) = (format!("10000\r\n{}\r\n", "x".repeat(1 << 16)), 0);
        while stream.write_all(chunk.as_bytes()).await.is_ok() {
            said += chunk.len();
        }
        said
    });
    (address, talking)
}

#[tokio::test]
async fn nobody_is_listened_to_without_an_end() {
    // The first is an answer to discovery, of which no more is wanted than of a refusal.
    for head in ["200 OK", "500 Internal Server Error", "404 Not Found"] {
        let (address, talking) = endless(head).await;
        let (server, _folder) = node(&[format!("http://{address}")]);
        assert!(ask(&server).await.is_err(), "{head}");
        let said = timeout(Duration::from_secs(10), talking).await.expect("it is cut off").unwrap();
        assert!(said < 32 << 20, "{head}: {said} bytes");
    }
}

/// Whoever kept the connection from before an activation would prove that it was good before.
#[tokio::test]
async fn a_proof_is_made_on_a_connection_of_its_own_and_judged() {
    let (hub, address) = Hub::start().await;
    let (server, _folder) = node(&[format!("http://{address}")]);
    let target = Target { version: Version::new(7).unwrap(), digest: Digest::of(b"seven") };
    let report = || Report { pending: Some(target.version), digest: Some(target.digest), ..Report::default() };
    let kept = async {
        loop {
            server.report(&report()).await.unwrap();
            if let [.., one, other] = hub.peers().as_slice()
                && one == other
            {
                return;
            }
        }
    };
    timeout(Duration::from_secs(10), kept).await.expect("reports keep their connection");
    let before = hub.peers();
    for _ in 0..2 {
        server.prove(target, false, report()).await.unwrap();
    }
    let proofs = hub.reports.lock().unwrap().split_off(before.len());
    assert!(proofs.iter().all(|(peer, _)| !before.contains(peer)), "{proofs:?} after {before:?}");
    assert!(proofs[0].1["nonce"].is_string() && proofs[0].1["nonce"] != proofs[1].1["nonce"], "{proofs:?}");

    for (wrong, carried, expected) in [
        (json!({ "nonce": "of before" }), false, Err(7)),
        (json!({ "version": 6 }), false, Err(7)),
        (json!({ "digest": Digest::of(b"another") }), false, Err(6)),
        (json!({ "digest": null }), false, Err(6)),
        (json!({ "digest": null }), true, Ok(())),
        (json!({ "digest": null, "current": 6 }), false, Ok(())),
    ] {
        hub.wrong.lock().unwrap().clone_from(&wrong);
        let proved = server.prove(target, carried, report()).await.map_err(|error| error.exit_code());
        assert_eq!(proved, expected, "{wrong}, carried: {carried}");
    }
}
