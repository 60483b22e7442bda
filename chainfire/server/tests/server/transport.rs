//! §1.1: what comes before any message is read: protocols of a port, streams of a connection, and who is not there.

use holdfast_proto::{
    etcdserverpb::{StatusRequest, WatchCreateRequest, WatchRequest, watch_request::RequestUnion},
    flaredb::{QueryRequest, flaredb_client::FlaredbClient},
};
use holdfast_testkit::client;
use tokio::{net::TcpListener, time::timeout};
use tonic::{Code, transport::Endpoint};
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

/// "`MaxConcurrentStreams` default 2³²-1": a client may have all its watches on one connection.
#[tokio::test]
async fn a_connection_has_room_for_many_streams() -> anyhow::Result<()> {
    const STREAMS: usize = 2_000;
    let server = TestServer::start().await?;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let create = RequestUnion::CreateRequest(WatchCreateRequest { key: "a".into(), ..Default::default() });
        let create = tokio_stream::iter([WatchRequest { request_union: Some(create) }]);
        let requests = tokio_stream::StreamExt::chain(create, tokio_stream::pending());
        let mut events = timeout(PATIENCE, server.watch().watch(requests)).await??.into_inner();
        assert!(timeout(PATIENCE, events.message()).await??.is_some_and(|created| created.created));
        streams.push(events);
    }
    server.kv().put(put("a", "1")).await?;
    for events in &mut streams {
        assert_eq!(timeout(PATIENCE, events.message()).await??.map(|events| events.events.len()), Some(1));
    }
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
