//! §1.1: what comes before any message is read: protocols of a port, streams of a connection, and who is not there.

use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

use holdfast_proto::{
    etcdserverpb::{StatusRequest, WatchCreateRequest, WatchRequest, WatchResponse, watch_request::RequestUnion},
    flaredb::{QueryRequest, flaredb_client::FlaredbClient},
    v3electionpb::{LeaderRequest, election_client::ElectionClient},
};
use holdfast_testkit::client;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_stream::StreamExt as _;
use tonic::{Code, Streaming, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::{
    authority::Authority,
    gateway::{curl, fetch},
    kv::{get, put},
    support::TestServer,
    three::PATIENCE,
};

/// "gRPC over HTTP/2, cleartext or TLS, same port serves HTTP/1.1 (JSON gateway, /health, /version, /metrics)".
#[tokio::test]
async fn one_port_speaks_grpc_and_http_also_in_tls() -> anyhow::Result<()> {
    if client("curl")?.is_none() {
        return Ok(());
    }
    let range = ["-d", r#"{"key":"YQ=="}"#];
    let plain = TestServer::start().await?;
    plain.kv().put(put("a", "1")).await?;

    let (folder, authority) = (tempfile::tempdir()?, Authority::new()?);
    let files = authority.serve(folder.path())?;
    let mut flags: Vec<&str> = files.iter().map(String::as_str).collect();
    flags.push("--listen-client-urls=https://127.0.0.1:0");
    let secure = TestServer::member(&flags, TcpListener::bind("127.0.0.1:0").await?).await?;
    let channel = authority.client(&secure, "")?;
    let secure = secure.through(channel);
    secure.kv().put(put("a", "1")).await?;

    let [trusted, cert, key] = ["ca", "cert", "key"].map(|name| folder.path().join(name).display().to_string());
    let certificates = ["--cacert", &trusted, "--cert", &cert, "--key", &key];
    for (path, args) in [("/v3/kv/range", &range[..]), ("/health", &[]), ("/version", &[]), ("/metrics", &[])] {
        let (status, answer) = curl(&plain, path, args).await?.unwrap_or_default();
        let url = format!("https://localhost:{}{path}", secure.address.port());
        for version in ["--http1.1", "--http2"] {
            let args: Vec<&str> = args.iter().copied().chain(certificates).chain([version]).collect();
            let (secure_status, secure_answer) = fetch(&url, &args).await?.unwrap_or_default();
            assert_eq!((status, secure_status), (200, 200), "{path} {version}");
            // Members' ids and counts may differ.
            assert_eq!(answer.get(..10), secure_answer.get(..10), "{path} {version}");
        }
    }
    let refused = curl(&secure, "/health", &[]).await;
    assert!(refused.is_err(), "plaintext where TLS is wanted: {refused:?}");
    Ok(())
}

/// "also `/grpc.health.v1.Health/Check`".
#[tokio::test]
async fn health_is_told_in_grpc_too() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut health = HealthClient::new(server.channel());
    let whole = health.check(HealthCheckRequest { service: String::new() }).await?.into_inner();
    assert_eq!(whole.status(), ServingStatus::Serving);
    let unknown = health.check(HealthCheckRequest { service: "nobody".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    Ok(())
}

/// A watch on the key `a`, which has begun.
async fn watching(server: &TestServer) -> anyhow::Result<Streaming<WatchResponse>> {
    let create = RequestUnion::CreateRequest(WatchCreateRequest { key: "a".into(), ..Default::default() });
    let create = tokio_stream::iter([WatchRequest { request_union: Some(create) }]);
    let requests = create.chain(tokio_stream::pending());
    let mut events = timeout(PATIENCE, server.watch().watch(requests)).await??.into_inner();
    assert!(timeout(PATIENCE, events.message()).await??.is_some_and(|created| created.created));
    Ok(events)
}

/// "`MaxConcurrentStreams` default 2³²-1": a client may have all its watches on one connection.
#[tokio::test]
async fn a_connection_has_room_for_many_streams() -> anyhow::Result<()> {
    const STREAMS: usize = 2_000;
    let server = TestServer::start().await?;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(watching(&server).await?);
    }
    server.kv().put(put("a", "1")).await?;
    for events in &mut streams {
        assert_eq!(timeout(PATIENCE, events.message()).await??.map(|events| events.events.len()), Some(1));
    }
    Ok(())
}

/// The flag sets another number.
#[tokio::test]
async fn the_streams_of_a_connection_can_be_fewer() -> anyhow::Result<()> {
    let server = TestServer::start_with(&["--max-concurrent-streams=2"]).await?;
    let mut elections = ElectionClient::new(server.channel());
    let mut observed = Vec::new();
    for name in ["a", "b"] {
        observed.push(elections.observe(LeaderRequest { name: name.into() }).await?);
    }
    let mut kv = server.kv();
    let waits = kv.range(get("a"));
    tokio::pin!(waits);
    assert!(timeout(Duration::from_millis(300), &mut waits).await.is_err(), "there is no room for a third");
    observed.pop();
    timeout(PATIENCE, waits).await??;
    Ok(())
}

/// The next frame of an HTTP/2 connection that does not answer: its kind and flags; none at its end.
async fn frame(connection: &mut TcpStream) -> anyhow::Result<Option<(u8, u8)>> {
    let mut header = [0; 9];
    match connection.read_exact(&mut header).await {
        Ok(_) => {}
        Err(ended) if ended.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let [high, middle, low, kind, flags, ..] = header;
    let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
    connection.read_exact(&mut payload).await?;
    Ok(Some((kind, flags)))
}

/// "server ping every 2 h, timeout 20 s": when, is a flag. Who is there stays; who is not is cut.
#[tokio::test]
async fn a_silent_connection_is_pinged_and_cut() -> anyhow::Result<()> {
    const PING: u8 = 6;
    const ANSWER: u8 = 1;
    const INTERVAL: Duration = Duration::from_millis(500);
    let pings = ["--grpc-keepalive-interval=500ms", "--grpc-keepalive-timeout=300ms"];
    let server = TestServer::start_with(&pings).await?;
    let begun = Instant::now();
    let mut silent = TcpStream::connect(server.address).await?;
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
    let pinged = async {
        loop {
            match frame(&mut silent).await? {
                Some((PING, flags)) if flags & ANSWER == 0 => return anyhow::Ok(begun.elapsed()),
                Some(_) => {}
                None => anyhow::bail!("cut without a ping"),
            }
        }
    };
    let after = timeout(PATIENCE, pinged).await??;
    assert!(after >= INTERVAL, "{after:?}");
    let cut = async {
        while frame(&mut silent).await?.is_some() {}
        anyhow::Ok(())
    };
    timeout(PATIENCE, cut).await??;
    assert!(begun.elapsed() >= INTERVAL + Duration::from_millis(300), "{:?}", begun.elapsed());

    let mut events = watching(&server).await?;
    assert!(timeout(4 * INTERVAL, events.message()).await.is_err(), "a client's library answers pings");
    server.kv().put(put("a", "1")).await?;
    assert_eq!(timeout(PATIENCE, events.message()).await??.map(|events| events.events.len()), Some(1));
    Ok(())
}

/// "minimum client ping interval 5 s": here clients may ping as often as they like.
#[tokio::test]
async fn a_client_that_pings_often_is_served() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let often = Endpoint::new(format!("http://{}", server.address))?
        .http2_keep_alive_interval(Duration::from_millis(10))
        .keep_alive_while_idle(true);
    let server = server.through(often.connect().await?);
    let mut events = watching(&server).await?;
    assert!(timeout(Duration::from_secs(1), events.message()).await.is_err(), "the stream goes on");
    server.kv().put(put("a", "1")).await?;
    assert_eq!(timeout(PATIENCE, events.message()).await??.map(|events| events.events.len()), Some(1));
    Ok(())
}

/// §1.5: "Unimplemented … any RPC the server lacks".
#[tokio::test]
async fn a_call_that_is_not_offered_is_unimplemented() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let refused = FlaredbClient::new(server.channel()).query(QueryRequest::default()).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unimplemented, "unknown service or method"));
    Ok(())
}

/// "optional `--listen-client-http-urls` splits them": each port then knows the other's protocol no more.
#[tokio::test]
async fn a_port_for_http_has_no_grpc() -> anyhow::Result<()> {
    let server = TestServer::start_with(&["--listen-client-http-urls=http://127.0.0.1:0"]).await?;
    let channel = Endpoint::new(format!("http://{}", server.http))?.connect_lazy();
    server.kv().range(get("a")).await?;
    let server = server.through(channel);
    assert!(server.kv().range(get("a")).await.is_err());
    assert!(server.maintenance().status(StatusRequest {}).await.is_err());
    Ok(())
}
