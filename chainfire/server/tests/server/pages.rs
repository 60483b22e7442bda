//! §1.4: the plain HTTP pages of the API port.

use std::net::SocketAddr;

use holdfast_proto::etcdserverpb::{
    AuthStatusRequest, CompactionRequest, DeleteRangeRequest, DowngradeRequest, HashKvRequest, LeaseGrantRequest,
    LeaseKeepAliveRequest, LeaseRevokeRequest, StatusRequest, TxnRequest, WatchCreateRequest, WatchRequest,
    request_op::Request, watch_request::RequestUnion,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tonic::Code;

use crate::{kv::put, support::TestServer, txn::op};

/// Status line and body of a request without headers worth a client library.
pub(crate) async fn ask(server: &TestServer, method: &str, path: &str) -> anyhow::Result<(String, String)> {
    ask_at(server.address, method, path).await
}

async fn ask_at(address: SocketAddr, method: &str, path: &str) -> anyhow::Result<(String, String)> {
    let mut stream = TcpStream::connect(address).await?;
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
    let (status, body) = ask(&server, "POST", "/health").await?;
    assert_eq!((status.contains("405"), body.as_str()), (true, "Method Not Allowed\n"));
    assert!(ask(&server, "HEAD", "/health").await?.0.contains("405"));
    let (_, version) = ask(&server, "GET", "/version").await?;
    assert_eq!(version, r#"{"etcdserver":"3.6.16","etcdcluster":"3.6.0","storage":"3.6.0"}"#);
    let (_, metrics) = ask(&server, "GET", "/metrics").await?;
    for line in [
        "etcd_mvcc_put_total 1",
        "etcd_server_has_leader 1",
        "etcd_server_is_leader 1",
        "etcd_debugging_mvcc_current_revision 2",
        r#"etcd_server_version{server_version="3.6.16"} 1"#,
        r#"etcd_cluster_version{cluster_version="3.6"} 1"#,
        r#"etcd_server_id{server_id="8e9e05c52164694d"} 1"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    Ok(())
}

/// §1.4: every metric that dashboards ask for is there, and what can be known without load is true.
#[tokio::test]
async fn every_metric_of_etcd_is_there() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let (mut kv, mut leases) = (server.kv(), server.lease());
    for n in 0..3 {
        kv.put(put(&format!("k{n}"), "v")).await?;
    }
    kv.put(put("", "v")).await.unwrap_err();
    let gone = DeleteRangeRequest { key: "k0".into(), ..Default::default() };
    let success = vec![op(Request::RequestDeleteRange(gone)), op(Request::RequestPut(put("k3", "v")))];
    kv.txn(TxnRequest { success, ..Default::default() }).await?;
    kv.compact(CompactionRequest { revision: 4, physical: true }).await?;
    for id in [7, 8] {
        leases.lease_grant(LeaseGrantRequest { ttl: 60, id }).await?;
    }
    let mut kept = leases.lease_keep_alive(tokio_stream::iter([LeaseKeepAliveRequest { id: 7 }])).await?.into_inner();
    while kept.message().await?.is_some() {}
    leases.lease_revoke(LeaseRevokeRequest { id: 7 }).await?;
    let create = RequestUnion::CreateRequest(WatchCreateRequest { key: "k0".into(), ..Default::default() });
    let create = tokio_stream::iter([WatchRequest { request_union: Some(create) }]);
    let mut watched = server.watch().watch(tokio_stream::StreamExt::chain(create, tokio_stream::pending())).await?;
    watched.get_mut().message().await?;
    let (_, metrics) = ask(&server, "GET", "/metrics").await?;
    for line in [
        "etcd_debugging_mvcc_keys_total 3",
        "etcd_mvcc_put_total 4",
        "etcd_mvcc_delete_total 1",
        "etcd_mvcc_txn_total 1",
        "etcd_mvcc_range_total 1",
        "etcd_debugging_mvcc_events_total 5",
        "etcd_debugging_mvcc_current_revision 5",
        "etcd_debugging_mvcc_compact_revision 4",
        "etcd_debugging_mvcc_watch_stream_total 1",
        "etcd_debugging_mvcc_watcher_total 1",
        "etcd_debugging_lease_granted_total 2",
        "etcd_debugging_lease_renewed_total 1",
        "etcd_debugging_lease_revoked_total 1",
        "etcd_debugging_server_lease_expired_total 0",
        r#"etcd_cluster_version{cluster_version="3.6"} 1"#,
        r#"etcd_server_version{server_version="3.6.16"} 1"#,
        r#"etcd_server_id{server_id="8e9e05c52164694d"} 1"#,
        "etcd_debugging_mvcc_slow_watcher_total 0",
        "etcd_debugging_mvcc_pending_events_total 0",
        "etcd_server_proposals_pending 0",
        "etcd_server_proposals_failed_total 0",
        "etcd_server_quota_backend_bytes 2147483648",
        "etcd_server_heartbeat_send_failures_total 0",
        "etcd_server_is_learner 0",
        r#"grpc_server_started_total{grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 4"#,
        r#"grpc_server_msg_received_total{grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 4"#,
        r#"grpc_server_msg_sent_total{grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 3"#,
        r#"grpc_server_handling_seconds_count{grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 4"#,
        r#"grpc_server_started_total{grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"} 1"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    let handled = |code: &str| {
        let start = format!("grpc_server_handled_total{{grpc_code=\"{code}\",grpc_method=\"Put\"");
        metrics.lines().find(|line| line.starts_with(&start)).and_then(|line| line.split(' ').nth(1)).map(str::to_owned)
    };
    assert_eq!((handled("OK").as_deref(), handled("InvalidArgument").as_deref()), (Some("3"), Some("1")));
    let value = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse::<f64>().ok()).ok_or_else(|| anyhow::anyhow!("no {name} in\n{metrics}"))
    };
    for positive in [
        "etcd_server_proposals_committed_total",
        "etcd_server_proposals_applied_total",
        "etcd_server_leader_changes_seen_total",
        "etcd_disk_wal_fsync_duration_seconds_count",
        "etcd_disk_backend_commit_duration_seconds_count",
        "etcd_mvcc_db_total_size_in_bytes",
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        "etcd_network_client_grpc_received_bytes_total",
        "etcd_network_client_grpc_sent_bytes_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "os_fd_used",
        "os_fd_limit",
        "process_start_time_seconds",
    ] {
        assert!(value(positive)? > 0.0, "{positive}");
    }
    for present in
        ["etcd_server_slow_apply_total", "etcd_server_slow_read_indexes_total", "etcd_server_read_indexes_failed_total"]
    {
        value(present)?;
    }
    Ok(())
}

#[tokio::test]
async fn probes_tell_what_is_wrong_with_what() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let own = ["/livez/serializable_read", "/readyz/data_corruption", "/readyz/serializable_read"];
    for path in ["/livez", "/readyz", "/readyz/linearizable_read", "/readyz/non_learner"].into_iter().chain(own) {
        let (line, body) = ask(&server, "GET", path).await?;
        assert_eq!((line.as_str(), body.as_str()), ("HTTP/1.1 200 OK", "ok\n"), "{path}");
    }
    let (_, live) = ask(&server, "GET", "/livez?verbose").await?;
    assert_eq!(live, "[+]serializable_read ok\nok\n");
    let (_, ready) = ask(&server, "GET", "/readyz?verbose&exclude=non_learner").await?;
    assert_eq!(ready, "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\nok\n");
    let (line, _) = ask(&server, "POST", "/readyz").await?;
    assert!(line.contains("405"), "{line}");
    let (line, _) = ask(&server, "GET", "/livez/linearizable_read").await?;
    assert!(line.contains("404"), "{line}");
    // "pprof only if enabled"
    assert!(ask(&server, "GET", "/debug/pprof/").await?.0.contains("404"));
    let (_, vars) = ask(&server, "GET", "/debug/vars").await?;
    assert!(vars.contains(r#""cmdline":["#) && vars.contains(r#""memstats":{"Sys":"#), "{vars}");
    Ok(())
}

/// §0: `--emulate-version 3.4.23`.
#[tokio::test]
async fn an_older_release_is_emulated() -> anyhow::Result<()> {
    let server = TestServer::start_with(&["--emulate-version=3.4.23"]).await?;
    server.kv().put(put("a", "1")).await?;
    let (_, health) = ask(&server, "GET", "/health").await?;
    assert_eq!(health, r#"{"health":"true"}"#);
    let (_, version) = ask(&server, "GET", "/version").await?;
    assert_eq!(version, r#"{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}"#);
    for path in ["/livez", "/readyz", "/readyz/linearizable_read"] {
        assert!(ask(&server, "GET", path).await?.0.contains("404"), "{path}");
    }
    let status = server.maintenance().status(StatusRequest {}).await?.into_inner();
    assert_eq!((status.version.as_str(), status.storage_version.as_str()), ("3.4.23", ""));
    assert_eq!((status.db_size_quota, status.downgrade_info), (0, None));
    assert_eq!(server.maintenance().hash_kv(HashKvRequest::default()).await?.into_inner().hash_revision, 0);
    let downgrade = server.maintenance().downgrade(DowngradeRequest::default()).await.unwrap_err();
    let text = "unknown method Downgrade for service etcdserverpb.Maintenance";
    assert_eq!((downgrade.code(), downgrade.message()), (Code::Unimplemented, text));
    assert_eq!(server.auth().auth_status(AuthStatusRequest {}).await.unwrap_err().code(), Code::Unimplemented);
    let (_, metrics) = ask(&server, "GET", "/metrics").await?;
    assert!(metrics.contains(r#"etcd_server_version{server_version="3.4.23"} 1"#), "{metrics}");
    Ok(())
}

/// §1.4: monitors can have a port of their own.
#[tokio::test]
async fn monitors_have_their_own_door() -> anyhow::Result<()> {
    let free = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let server = TestServer::start_with(&[&format!("--listen-metrics-urls=http://{free}")]).await?;
    for path in ["/metrics", "/health", "/livez", "/readyz", "/version"] {
        assert!(ask_at(free, "GET", path).await?.0.contains("200"), "{path}");
    }
    assert!(ask_at(free, "POST", "/etcdserverpb.KV/Range").await?.0.contains("404"));
    assert!(ask(&server, "GET", "/metrics").await?.0.contains("200"));
    Ok(())
}
