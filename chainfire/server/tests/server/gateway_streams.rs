//! The JSON gateway (§1.1): streams, WebSockets, and who is asked for a token.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use axum::{Router, extract::Request, middleware::Next, response::Response};
use chainfire_server::Doors;
use futures::{SinkExt as _, StreamExt as _};
use holdfast_testkit::client;
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::timeout};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};
use tonic::Status;

use crate::{
    gateway::curl,
    kv::put,
    lock::line,
    support::{Single, TestServer},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A curl whose answer goes on.
struct Following {
    child: Child,
    lines: tokio::sync::mpsc::UnboundedReceiver<String>,
}

impl Following {
    fn start(server: &TestServer, path: &str, body: &str) -> anyhow::Result<Option<Self>> {
        let Some(curl) = client("curl")? else { return Ok(None) };
        let mut command = Command::new(curl);
        command.args(["-sS", "-N", "-d", body, &format!("http://{}{path}", server.address)]);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| anyhow::anyhow!("no output"))?;
        let (told, lines) = tokio::sync::mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if told.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Some(Self { child, lines }))
    }

    async fn next(&mut self) -> anyhow::Result<Value> {
        let line = timeout(PATIENCE, self.lines.recv()).await?.ok_or_else(|| anyhow::anyhow!("the answer ended"))?;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// "Streams are newline-separated `{"result":{…}}`."
#[tokio::test]
async fn a_watch_is_a_line_for_each_answer() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    server.kv().put(put("foo", "bar")).await?;
    let request = r#"{"create_request":{"key":"Zm9v","start_revision":"2"}}"#;
    let Some(mut watch) = Following::start(&server, "/v3/watch", request)? else { return Ok(()) };
    assert_eq!(watch.next().await?["result"]["created"], json!(true));
    let events = watch.next().await?["result"]["events"].clone();
    let kv = json!({"key": "Zm9v", "create_revision": "2", "mod_revision": "2", "version": "1", "value": "YmFy"});
    assert_eq!(events, json!([{"kv": kv}]));
    server.kv().put(put("foo", "baz")).await?;
    assert_eq!(watch.next().await?["result"]["events"][0]["kv"]["value"], json!("YmF6"));
    Ok(())
}

#[tokio::test]
async fn several_requests_may_come_in_one_stream() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let Some((_, granted)) = curl(&server, "/v3/lease/grant", &["-d", r#"{"ID":7,"TTL":60}"#]).await? else {
        return Ok(());
    };
    assert!(granted.contains(r#""TTL":"60""#), "{granted}");
    let kept = curl(&server, "/v3/lease/keepalive", &["-d", "{\"ID\":7}{\"ID\":\"8\"}\n"]).await?;
    let (status, kept) = kept.unwrap_or_default();
    let lines: Vec<Value> = kept.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let told = |line: &Value| (line["result"]["ID"].clone(), line["result"]["TTL"].clone());
    assert_eq!((status, lines.len()), (200, 2), "{kept}");
    assert_eq!(told(&lines[0]), (json!("7"), json!("60")));
    assert_eq!(told(&lines[1]), (json!("8"), Value::Null));
    let bad = curl(&server, "/v3/watch", &["-d", r#"{"create_request":"#]).await?;
    assert_eq!(bad, Some((500, r#"{"code":2,"message":"unexpected EOF"}"#.to_owned())));
    Ok(())
}

/// Whoever hangs up has left the line (§2.8).
#[tokio::test]
async fn a_lock_that_nobody_waits_for_any_more_leaves_the_line() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let request = r#"{"name":"bA=="}"#;
    let Some((200, _)) = curl(&server, "/v3/lock/lock", &["-d", request]).await? else { return Ok(()) };
    let Some(waiting) = Following::start(&server, "/v3/lock/lock", request)? else { return Ok(()) };
    line(&server, b"l/", b"l0", 2).await?;
    drop(waiting);
    line(&server, b"l/", b"l0", 1).await?;
    Ok(())
}

/// "WebSocket upgrade works on `/v3/…`."
#[tokio::test]
async fn a_websocket_sends_and_receives_at_once() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let (mut socket, _) = connect_async(format!("ws://{}/v3/watch", server.address)).await?;
    for (id, key) in [(0, "Zm9v"), (1, "YmFy")] {
        // In two pieces: messages are no borders.
        socket.send(Message::text(r#"{"create_request":"#)).await?;
        socket.send(Message::text(format!(r#"{{"key":"{key}"}}}}"#))).await?;
        let created = next(&mut socket).await?;
        let watch_id = if id == 0 { Value::Null } else { json!("1") };
        assert_eq!((&created["result"]["created"], &created["result"]["watch_id"]), (&json!(true), &watch_id));
    }
    server.kv().put(put("bar", "1")).await?;
    assert_eq!(next(&mut socket).await?["result"]["events"][0]["kv"]["key"], json!("YmFy"));

    let (mut socket, _) = connect_async(format!("ws://{}/v3/kv/range", server.address)).await?;
    socket.send(Message::text(r#"{"key":"YmFy"}"#)).await?;
    assert_eq!(next(&mut socket).await?["count"], json!("1"));
    assert!(matches!(timeout(PATIENCE, socket.next()).await?, Some(Ok(Message::Close(_)))));

    let (mut socket, _) = connect_async(format!("ws://{}/v3beta/kv/put", server.address)).await?;
    socket.send(Message::text("{}")).await?;
    assert_eq!(next(&mut socket).await?, json!({"code": 3, "message": "etcdserver: key is not provided"}));
    Ok(())
}

async fn next<S>(socket: &mut S) -> anyhow::Result<Value>
where
    S: futures::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    let message = timeout(PATIENCE, socket.next()).await?.ok_or_else(|| anyhow::anyhow!("closed"))??;
    Ok(serde_json::from_str(message.to_text()?)?)
}

/// A layer in front of the services sees gRPC calls by their own paths, with the token: "the token goes into the
/// `Authorization` header", or among a WebSocket's protocols.
#[tokio::test]
async fn what_guards_the_services_guards_the_gateway() -> anyhow::Result<()> {
    let single = Single::start().await?;
    let guarded: Router = single.chainfire.routes(Doors::open()).into_axum_router();
    let guarded = guarded.layer(axum::middleware::from_fn(only_with_token));
    let router = single.chainfire.gateway()?.in_front_of(guarded.clone(), guarded);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(holdfast_rpc::serve(listener, router, None, holdfast_rpc::Limits::default(), single.stop.clone()));

    let mut socket = format!("ws://{address}/v3/watch").into_client_request()?;
    let refused = open(socket.clone()).await?;
    assert_eq!(refused, json!({"error": {"code": 16, "message": "etcdserver: invalid auth token"}}));
    socket.headers_mut().insert("authorization", "Bearer right".parse()?);
    assert_eq!(open(socket).await?["result"]["created"], json!(true));
    let mut socket = format!("ws://{address}/v3/watch").into_client_request()?;
    socket.headers_mut().insert("sec-websocket-protocol", "Bearer, right".parse()?);
    assert_eq!(open(socket).await?["result"]["created"], json!(true));
    single.end().await;
    Ok(())
}

async fn open(request: tokio_tungstenite::tungstenite::handshake::client::Request) -> anyhow::Result<Value> {
    let (mut socket, _) = connect_async(request).await?;
    socket.send(Message::text(r#"{"create_request":{"key":"Zm9v"}}"#)).await?;
    next(&mut socket).await
}

async fn only_with_token(request: Request, next: Next) -> Response {
    assert_eq!(request.uri().path(), "/etcdserverpb.Watch/Watch");
    assert_eq!(request.headers()["content-type"], "application/grpc");
    assert!(request.extensions().get::<holdfast_rpc::Connection>().is_some());
    if request.headers().get("authorization").is_some_and(|value| value == "Bearer right") {
        return next.run(request).await;
    }
    Status::unauthenticated("etcdserver: invalid auth token").into_http()
}
