//! What a listener does with connections that are up to nothing good.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::Body,
    extract::Request,
    routing::{get, post},
};
use holdfast_rpc::{Guest, Limits, Sessions, Standing};
use holdfast_service::Stop;
use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// `/wait` never answers; `/known` makes the caller known; `/` answers; `/length` says how much was sent, and
/// `/known/length` does so once the caller is known.
async fn listener(limits: Limits) -> anyhow::Result<(SocketAddr, Stop)> {
    let router = Router::new()
        .route("/wait", get(std::future::pending::<()>))
        .route("/known", get(async |Extension(standing): Extension<Standing>| standing.known()))
        .route("/length", post(length))
        .route(
            "/known/length",
            post(async |Extension(standing): Extension<Standing>, body: Request| {
                standing.known();
                length(body).await
            }),
        )
        .route("/", get(async || "here"));
    start(router, limits).await
}

async fn start(router: Router, limits: Limits) -> anyhow::Result<(SocketAddr, Stop)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (address, stop) = (listener.local_addr()?, Stop::new());
    tokio::spawn(holdfast_rpc::serve(listener, router, None, limits, stop.clone()));
    Ok((address, stop))
}

async fn length(request: Request) -> Result<String, StatusCode> {
    let body = request.into_body().collect().await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
    Ok(body.to_bytes().len().to_string())
}

async fn client(address: SocketAddr) -> anyhow::Result<SendRequest<Body>> {
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await?;
    tokio::spawn(connection);
    Ok(sender)
}

fn request(path: &str) -> anyhow::Result<Request> {
    Ok(Request::get(format!("http://server{path}")).body(Body::empty())?)
}

/// Whether the server ends the connection without a word.
async fn is_cut(stream: &mut TcpStream) -> bool {
    matches!(timeout(PATIENCE, stream.read(&mut [0; 1])).await, Ok(Ok(0) | Err(_)))
}

#[tokio::test]
async fn who_says_nothing_is_cut() -> anyhow::Result<()> {
    let limits = Limits { handshake: Duration::from_millis(50), ..Limits::default() };
    let (address, _stop) = listener(limits).await?;
    assert!(is_cut(&mut TcpStream::connect(address).await?).await);
    Ok(())
}

#[tokio::test]
async fn strangers_make_room_and_the_known_stay() -> anyhow::Result<()> {
    let (address, _stop) = listener(Limits { connections: 8, ..Limits::default() }).await?;
    let mut known = client(address).await?;
    assert_eq!(known.send_request(request("/known")?).await?.status(), StatusCode::OK);
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(address).await?);
    }
    assert!(is_cut(&mut silent[0]).await, "two places are for strangers");
    assert_eq!(known.send_request(request("/")?).await?.status(), StatusCode::OK);
    Ok(())
}

/// A caller who may have two connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pair;

impl Guest for Pair {
    type Name = Self;

    fn name(&self) -> &Self {
        self
    }

    fn most(&self) -> usize {
        2
    }
}

#[tokio::test]
async fn a_caller_with_too_many_connections_loses_the_oldest() -> anyhow::Result<()> {
    let sessions: Arc<Sessions<Pair>> = Arc::default();
    let enter = move |Extension(standing): Extension<Standing>| {
        let sessions = Arc::clone(&sessions);
        async move { sessions.enter(&standing, Pair) }
    };
    let (address, _stop) = start(Router::new().route("/", get(enter)), Limits::default()).await?;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = client(address).await?;
        assert_eq!(client.send_request(request("/")?).await?.status(), StatusCode::OK);
        clients.push(client);
    }
    let cut = async {
        while clients[0].send_request(request("/")?).await.is_ok() {}
        anyhow::Ok(())
    };
    timeout(PATIENCE, cut).await??;
    for client in &mut clients[1..] {
        assert_eq!(client.send_request(request("/")?).await?.status(), StatusCode::OK);
    }
    Ok(())
}

#[tokio::test]
async fn a_stranger_runs_few_requests_at_a_time() -> anyhow::Result<()> {
    let (address, _stop) = listener(Limits { stranger_requests: 1, ..Limits::default() }).await?;
    let mut client = client(address).await?;
    let waiting = tokio::spawn(client.send_request(request("/wait")?));
    let refused = async {
        loop {
            let answer = client.send_request(request("/")?).await?;
            if answer.status() == StatusCode::TOO_MANY_REQUESTS {
                return anyhow::Ok(());
            }
        }
    };
    timeout(PATIENCE, refused).await??;
    waiting.abort();
    let served = async {
        while client.send_request(request("/known")?).await?.status() != StatusCode::OK {}
        anyhow::Ok(())
    };
    timeout(PATIENCE, served).await??;
    let _waiting = tokio::spawn(client.send_request(request("/wait")?));
    assert_eq!(client.send_request(request("/")?).await?.status(), StatusCode::OK, "a known caller may do more");
    Ok(())
}

#[tokio::test]
async fn a_stranger_sends_little() -> anyhow::Result<()> {
    let (address, _stop) = listener(Limits { stranger_bytes: 1_000, ..Limits::default() }).await?;
    let mut client = client(address).await?;
    for (path, length, status) in [
        ("/length", 1_000, StatusCode::OK),
        ("/length", 1_001, StatusCode::PAYLOAD_TOO_LARGE),
        ("/known/length", 100_000, StatusCode::OK),
        ("/length", 100_000, StatusCode::OK),
    ] {
        let request = Request::post(format!("http://server{path}")).body(Body::from(vec![0; length]))?;
        assert_eq!(client.send_request(request).await?.status(), status, "{path} {length}");
    }
    Ok(())
}
