//! Metadata that every call may carry (§1.1): the version of the client's API, and whether it insists on a leader.

use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_proto::{
    etcdserverpb::{RangeRequest, StatusRequest},
    v3electionpb::{LeaderRequest, election_client::ElectionClient},
    v3lockpb::{LockRequest, lock_client::LockClient},
};
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};
use tonic::{Code, Request};

use crate::{kv::get, pages::ask, support::TestServer, three::PATIENCE};

fn with<T>(message: T, name: &'static str, value: &[u8]) -> anyhow::Result<Request<T>> {
    let mut request = Request::new(message);
    let value = http::HeaderValue::from_maybe_shared(Bytes::copy_from_slice(value))?;
    // Text metadata of tonic is ASCII; other clients send whatever bytes they like.
    let mut headers = std::mem::take(request.metadata_mut()).into_headers();
    headers.insert(name, value);
    *request.metadata_mut() = tonic::metadata::MetadataMap::from_headers(headers);
    Ok(request)
}

/// "`client-api-version` (metrics label, must be valid UTF-8)": *invalid client api version*.
#[tokio::test]
async fn a_version_that_is_no_text_is_refused_by_every_service() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let bad = b"\xff\xfe";
    let name = "client-api-version";
    let leader = LeaderRequest { name: "e".into() };
    let refused = [
        server.kv().range(with(get("a"), name, bad)?).await.map(drop),
        server.kv().range_stream(with(get("a"), name, bad)?).await.map(drop),
        server.maintenance().status(with(StatusRequest {}, name, bad)?).await.map(drop),
        LockClient::new(server.channel()).lock(with(LockRequest::default(), name, bad)?).await.map(drop),
        ElectionClient::new(server.channel()).observe(with(leader, name, bad)?).await.map(drop),
    ];
    for refused in refused.map(Result::unwrap_err) {
        assert_eq!(
            (refused.code(), refused.message()),
            (Code::InvalidArgument, "etcdserver: invalid client api version")
        );
    }
    server.kv().range(with(get("a"), name, b"3.5")?).await?;
    server.kv().range_stream(with(get("a"), name, b"3.5")?).await?;
    server.kv().range(with(get("a"), name, "tomorrow ä".as_bytes())?).await?;
    let (_, metrics) = ask(&server, "GET", "/metrics").await?;
    for (kind, version) in [("unary", "3.5"), ("stream", "3.5"), ("unary", "other"), ("unary", "unknown")] {
        let line = format!(r#"etcd_server_client_requests_total{{type="{kind}",client_api_version="{version}"}} "#);
        assert!(metrics.lines().any(|found| found.starts_with(&line)), "{line} is not in\n{metrics}");
    }
    Ok(())
}

/// Two members, of which the second, without which there is no leader, is given back.
async fn two(pace: [&str; 2]) -> anyhow::Result<(TestServer, TestServer)> {
    let (own, absent) = (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
    let cluster = format!("--initial-cluster=a=http://{},b=http://{}", own.local_addr()?, absent.local_addr()?);
    let first = TestServer::member(&["--name=a", &cluster, pace[0], pace[1]], own).await?;
    let second = TestServer::member(&["--name=b", &cluster, pace[0], pace[1]], absent).await?;
    first.kv().range(get("ready")).await?;
    Ok((first, second))
}

/// "`hasleader: true` (client demands a leader: unary fails at once with *no leader*; streams are cancelled after 3
/// election timeouts without a leader)".
#[tokio::test]
async fn a_client_that_demands_a_leader_is_not_kept_waiting() -> anyhow::Result<()> {
    let (first, second) = two(["--heartbeat-interval=20", "--election-timeout=200"]).await?;
    let observed = LeaderRequest { name: "e".into() };
    let mut elections = ElectionClient::new(first.channel());
    let mut patient = elections.observe(observed.clone()).await?.into_inner();
    let mut stream = elections.observe(with(observed, "hasleader", b"true")?).await?.into_inner();
    drop(second);
    let ended = timeout(Duration::from_secs(30), stream.message()).await?.unwrap_err();
    assert_eq!((ended.code(), ended.message()), (Code::Unavailable, "etcdserver: no leader"));
    let local = RangeRequest { serializable: true, ..get("a") };
    let refused = [
        first.kv().range(with(local.clone(), "hasleader", b"true")?).await.map(drop),
        first.maintenance().status(with(StatusRequest {}, "hasleader", b"true")?).await.map(drop),
        LockClient::new(first.channel()).lock(with(LockRequest::default(), "hasleader", b"true")?).await.map(drop),
    ];
    assert_eq!(refused.map(|refused| refused.unwrap_err().message().to_owned()), ["etcdserver: no leader"; 3]);
    first.kv().range(local).await?;
    assert!(timeout(Duration::from_millis(100), patient.message()).await.is_err(), "who did not demand it goes on");
    Ok(())
}

/// The same: "after 3 election timeouts without a leader", neither before nor long after.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_a_leader_has_three_election_times() -> anyhow::Result<()> {
    const ELECTION: Duration = Duration::from_millis(600);
    let (first, second) = two(["--heartbeat-interval=50", "--election-timeout=600"]).await?;
    let observed = with(LeaderRequest { name: "e".into() }, "hasleader", b"true")?;
    let mut stream = ElectionClient::new(first.channel()).observe(observed).await?.into_inner();
    drop(second);
    let ending = timeout(PATIENCE, stream.message());
    tokio::pin!(ending);
    // The last moment at which there was a leader, and the first one after it at which there was none.
    let (mut led, mut lost) = (Instant::now(), None);
    let ended = loop {
        let asked = Instant::now();
        match first.maintenance().status(StatusRequest {}).await?.into_inner().leader {
            0 => lost = lost.or_else(|| Some(Instant::now())),
            _ => (led, lost) = (asked, None),
        }
        tokio::select! {
            ended = &mut ending => break ended?.unwrap_err(),
            () = sleep(Duration::from_millis(10)) => {}
        }
    };
    assert_eq!(ended.message(), "etcdserver: no leader");
    assert!(led.elapsed() >= 3 * ELECTION, "ended {:?} after there was a leader", led.elapsed());
    let lost = lost.map(|lost| lost.elapsed());
    assert!(lost.is_some_and(|lost| lost < 5 * ELECTION), "ended {lost:?} after there was none");
    Ok(())
}
