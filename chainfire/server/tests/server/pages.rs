//! The plain HTTP pages of the API port.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{kv::put, support::TestServer};

/// Status line and body of a request without headers worth a client library.
pub(crate) async fn ask(server: &TestServer, method: &str, path: &str) -> anyhow::Result<(String, String)> {
    let mut stream = TcpStream::connect(server.address).await?;
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| anyhow::anyhow!("{answer:?}"))?;
    Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
}

#[tokio::test]
async fn health_version_and_metrics() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    server.kv().put(put("a", "1")).await?;
    let (status, body) = ask(&server, "GET", "/health").await?;
    assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 200 OK", r#"{"health":"true","reason":""}"#));
    let (_, local) = ask(&server, "GET", "/health?serializable=true&exclude=NOSPACE").await?;
    assert_eq!(local, body);
    let (status, _) = ask(&server, "POST", "/health").await?;
    assert!(status.contains("405"), "{status}");
    let (_, version) = ask(&server, "GET", "/version").await?;
    assert_eq!(version, r#"{"etcdserver":"3.6.12","etcdcluster":"3.6.0","storage":"3.6.0"}"#);
    let (_, metrics) = ask(&server, "GET", "/metrics").await?;
    for line in [
        "etcd_mvcc_put_total 1",
        "etcd_server_has_leader 1",
        "etcd_server_is_leader 1",
        "etcd_debugging_mvcc_current_revision 2",
        r#"etcd_server_version{server_version="3.6.12"} 1"#,
        r#"etcd_server_id{server_id="8e9e05c52164694d"} 1"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    Ok(())
}
