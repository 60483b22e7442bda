//! What callers may take of the server's memory, and that others go on meanwhile.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use chainfire_raft::Timing;
use chainfire_server::{Config, Doors};
use futures::{StreamExt as _, future::try_join_all, stream};
use holdfast_proto::etcdserverpb::{PutRequest, RangeRequest, kv_client::KvClient};
use holdfast_rpc::{KnownBy, Limits};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::{Code, Status, transport::Endpoint};

use crate::{
    gateway::curl,
    kv::{get, put},
    support::{Single, TestServer},
    three::PATIENCE,
};

const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";
const WATCH: &str = "/etcdserverpb.Watch/Watch";
const MIB: usize = 1 << 20;

type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// One connection of a client that says and hears no more than it is told to.
struct Client {
    address: SocketAddr,
    sender: SendRequest<Body>,
}

impl Client {
    async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TokioIo::new(TcpStream::connect(address).await?);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
        tokio::spawn(connection);
        Ok(Self { address, sender })
    }

    /// A call with what there is of its request.
    fn call(&self, path: &str, body: Body) -> impl Future<Output = anyhow::Result<Response<Incoming>>> + Send + use<> {
        let request = Request::post(format!("http://{}{path}", self.address));
        let request = request.header("content-type", "application/grpc").header("te", "trailers").body(body);
        let mut sender = self.sender.clone();
        async move {
            sender.ready().await?;
            Ok(sender.send_request(request?).await?)
        }
    }
}

/// The first `there` bytes of a message of `length`; the rest never comes.
fn unfinished(length: usize, there: usize) -> Body {
    static LETTERS: [u8; 2 * MIB] = [b'x'; 2 * MIB];
    let prefix = [&[0][..], &u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()].concat();
    let parts = [Bytes::from(prefix), Bytes::from_static(&LETTERS[..there])];
    let parts = stream::iter(parts).chain(stream::pending());
    StreamBody::new(parts.map(|part| Ok(Frame::data(part)))).boxed_unsync()
}

/// What the server says without a message.
fn refusal(answer: &Response<Incoming>) -> Option<(Code, String)> {
    let status = Status::from_header_map(answer.headers())?;
    Some((status.code(), status.message().to_owned()))
}

fn too_many_requests() -> Option<(Code, String)> {
    Some((Code::ResourceExhausted, "etcdserver: too many requests".to_owned()))
}

/// Of this process, which is client and server at once.
fn resident() -> anyhow::Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: usize = line.and_then(|rest| rest.split_whitespace().next()).unwrap_or_default().parse()?;
    Ok(kib << 10)
}

async fn metric(server: &TestServer, name: &str) -> anyhow::Result<u64> {
    let (_, page) = curl(server, "/metrics", &[]).await?.unwrap_or_default();
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.ok_or_else(|| anyhow::anyhow!("no {name}"))?.parse()?)
}

/// The first `count` answers of `calls`.
async fn answers(
    calls: &mut JoinSet<anyhow::Result<Response<Incoming>>>,
    count: usize,
) -> anyhow::Result<Vec<Response<Incoming>>> {
    let mut answers = Vec::new();
    while answers.len() < count {
        let answer = timeout(PATIENCE, calls.join_next()).await?;
        answers.push(answer.ok_or_else(|| anyhow::anyhow!("{} answers", answers.len()))???);
    }
    Ok(answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_never_end_take_little_memory_and_stop_nobody_else() -> anyhow::Result<()> {
    const LENGTH: usize = 3 << 19;
    // A connection ends once it sent on to 1,024 streams that were refused and forgotten: the HTTP/2 library's bound.
    const CALLS: usize = 1_000;
    const HEARD: usize = 128 * MIB / LENGTH;
    let server = TestServer::start().await?;
    let before = resident()?;
    let client = Client::connect(server.address).await?;
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        calls.spawn(client.call(PUT, unfinished(LENGTH, LENGTH - 1)));
    }
    let refused = answers(&mut calls, CALLS - HEARD).await?;
    assert!(refused.iter().all(|answer| refusal(answer) == too_many_requests()));
    let grown = resident()?.saturating_sub(before);
    assert!(grown < 400 * MIB, "{grown}");
    assert_eq!(metric(&server, "holdfast_incoming_requests_refused_total").await?, refused.len() as u64);

    // Streams end with the same words.
    let watch = client.call(WATCH, unfinished(LENGTH, 0)).await?.into_body();
    let trailers = timeout(PATIENCE, watch.collect()).await??.trailers().cloned().unwrap_or_default();
    let status = Status::from_header_map(&trailers).map(|status| (status.code(), status.message().to_owned()));
    assert_eq!(status, too_many_requests());

    // What is short is heard even beside them, and others may say as much as ever.
    let short = PutRequest { key: "a".into(), value: vec![0; 4_000].into(), ..Default::default() };
    let answer = timeout(PATIENCE, client.call(PUT, whole(&short))).await??;
    assert!(answer.into_body().collect().await?.to_bytes().len() > 5);
    let long = "x".repeat(MIB);
    let puts = (0..64).map(|key| {
        let mut kv = server.kv();
        let put = put(&key.to_string(), &long);
        async move { kv.put(put).await }
    });
    timeout(PATIENCE, try_join_all(puts)).await??;

    drop((calls, client));
    let freed = async {
        while metric(&server, "holdfast_incoming_request_bytes").await? > 0 {
            sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, freed).await?
}

/// Objects are as long as the messages they become, and longer.
#[tokio::test(flavor = "multi_thread")]
async fn objects_that_never_end_take_little_memory() -> anyhow::Result<()> {
    let server = TestServer::start_with(&["--max-request-bytes=65536"]).await?;
    const CALLS: usize = 64;
    const HEARD: usize = ((64 << 10) + (512 << 10)) * 64 / MIB;
    let client = Client::connect(server.address).await?;
    let object = || {
        let begin = Bytes::from_static(br#"{"key":"YQ==","value":""#);
        let parts = [begin, Bytes::from(vec![b'A'; MIB])].map(|part| Ok(Frame::data(part)));
        StreamBody::new(stream::iter(parts).chain(stream::pending())).boxed_unsync()
    };
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        calls.spawn(client.call("/v3/kv/put", object()));
    }
    for answer in answers(&mut calls, CALLS - HEARD).await? {
        assert_eq!(answer.status(), 429);
        let said = answer.into_body().collect().await?.to_bytes();
        assert!(String::from_utf8_lossy(&said).contains("etcdserver: too many requests"), "{said:?}");
    }
    let held = metric(&server, "holdfast_incoming_request_bytes").await?;
    assert!(held <= ((HEARD + 1) * MIB) as u64, "{held}");
    server.kv().put(put("a", "1")).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_takes_take_little_memory_and_stop_nobody_else() -> anyhow::Result<()> {
    let single = Single::start_in(tempfile::tempdir()?, Config { answer_bytes: Some(96 * MIB), ..config() }).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let limits = Limits { known_by: KnownBy::Request, ..Limits::default() };
    let router = single.chainfire.routes(Doors::open()).into_axum_router();
    let serving = tokio::spawn(holdfast_rpc::serve(listener, router, None, limits, single.stop.clone()));
    let mut kv =
        KvClient::new(Endpoint::new(format!("http://{address}"))?.connect().await?).max_decoding_message_size(64 * MIB);
    for key in 0..16 {
        kv.put(put(&format!("large/{key:02}"), &"x".repeat(MIB))).await?;
    }

    let everything = RangeRequest { key: "large/".into(), range_end: "large0".into(), ..Default::default() };
    let before = resident()?;
    let client = Client::connect(address).await?;
    let mut calls = JoinSet::new();
    for _ in 0..64 {
        calls.spawn(client.call(RANGE, whole(&everything)));
    }
    let answered = answers(&mut calls, 64).await?;
    let (refused, held): (Vec<_>, Vec<_>) = answered.into_iter().partition(|answer| refusal(answer).is_some());
    assert!(refused.iter().all(|answer| refusal(answer) == too_many_requests()));
    // Half of what all may have: others still find room.
    assert!((1..=3).contains(&held.len()), "{} held", held.len());
    let grown = resident()?.saturating_sub(before);
    assert!(grown < 300 * MIB, "{grown}");
    kv.put(put("a", "1")).await?;
    assert_eq!(kv.range(get("a")).await?.into_inner().count, 1);
    assert_eq!(kv.range(everything.clone()).await?.into_inner().kvs.len(), 16);

    drop(held);
    let freed = async {
        while refusal(&client.call(RANGE, whole(&everything)).await?).is_some() {
            sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, freed).await??;
    drop((client, kv));
    single.end().await;
    serving.await??;
    Ok(())
}

fn config() -> Config {
    Config::new(Timing::default())
}

/// A request as it goes over the wire.
fn whole(message: &impl prost::Message) -> Body {
    let encoded = message.encode_to_vec();
    let length = u32::try_from(encoded.len()).unwrap_or(u32::MAX).to_be_bytes();
    Full::from([&[0][..], &length, &encoded].concat()).boxed_unsync()
}
