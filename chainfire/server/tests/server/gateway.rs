//! The JSON gateway (§1.1, §1.2), called by curl: single requests and their answers.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    time::Duration,
};

use holdfast_testkit::client;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{lock::line, pages::ask, support::TestServer, three::PATIENCE};

/// HTTP status and body of what curl got; none where there is no curl.
pub(crate) async fn curl(server: &TestServer, path: &str, args: &[&str]) -> anyhow::Result<Option<(u16, String)>> {
    fetch(&format!("http://{}{path}", server.address), args).await
}

/// The same of a whole URL.
pub(crate) async fn fetch(url: &str, args: &[&str]) -> anyhow::Result<Option<(u16, String)>> {
    let Some(curl) = client("curl")? else { return Ok(None) };
    let mut command = Command::new(curl);
    command.args(["-sS", "--max-time", "20", "-w", "\n%{http_code}"]).args(args).arg(url);
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    anyhow::ensure!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let (body, status) = text.rsplit_once('\n').ok_or_else(|| anyhow::anyhow!("{text:?}"))?;
    Ok(Some((status.parse()?, body.to_owned())))
}

/// Posts JSON; the answer's status and JSON.
async fn post(server: &TestServer, path: &str, body: &str) -> anyhow::Result<(u16, Value)> {
    let (status, body) = curl(server, path, &["-d", body]).await?.ok_or_else(|| anyhow::anyhow!("there was a curl"))?;
    Ok((status, serde_json::from_str(&body).map_err(|error| anyhow::anyhow!("{body:?}: {error}"))?))
}

async fn started() -> anyhow::Result<Option<TestServer>> {
    if client("curl")?.is_none() {
        return Ok(None);
    }
    Ok(Some(TestServer::start().await?))
}

/// "64-bit ints are JSON strings, bytes are base64, snake_case names as in the proto, unset fields omitted."
#[tokio::test]
async fn answers_are_written_as_etcd_writes_them() -> anyhow::Result<()> {
    let Some(server) = started().await? else { return Ok(()) };
    let header = |revision: &str| {
        json!({"cluster_id": "14841639068965178418", "member_id": "10276657743932975437",
               "revision": revision, "raft_term": "1"})
    };
    let (status, put) = post(&server, "/v3/kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#).await?;
    assert_eq!((status, put), (200, json!({"header": header("2")})));
    let (_, range) = post(&server, "/v3/kv/range", r#"{"key":"Zm9v"}"#).await?;
    let kv = json!({"key": "Zm9v", "create_revision": "2", "mod_revision": "2", "version": "1", "value": "YmFy"});
    assert_eq!(range, json!({"header": header("2"), "kvs": [kv], "count": "1"}));
    let (_, granted) = post(&server, "/v3/lease/grant", r#"{"TTL":60,"ID":"7"}"#).await?;
    assert_eq!(granted, json!({"header": header("2"), "ID": "7", "TTL": "60"}));
    Ok(())
}

/// Dashboards and the log must not take a call that went well for one that was given up.
#[tokio::test]
async fn a_call_in_json_counts_as_what_it_came_to() -> anyhow::Result<()> {
    let Some(server) = started().await? else { return Ok(()) };
    post(&server, "/v3/kv/put", r#"{"key":"Zm9v"}"#).await?;
    let (_, metrics) = curl(&server, "/metrics", &[]).await?.unwrap_or_default();
    let put = |code: &str| {
        let labels = format!("grpc_code=\"{code}\",grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\"");
        let line = metrics.lines().find(|line| line.contains(&labels) && line.contains("handled"));
        line.and_then(|line| line.rsplit_once(' ')).map(|(_, count)| count.to_owned())
    };
    assert_eq!((put("OK").as_deref(), put("Canceled")), (Some("1"), None));
    Ok(())
}

/// Numbers and strings, either name of a field, enumerations by word or number; "unknown fields are ignored on input".
#[tokio::test]
async fn requests_may_be_written_in_either_way() -> anyhow::Result<()> {
    let Some(server) = started().await? else { return Ok(()) };
    for key in ["YTE=", "YTI=", "YTM="] {
        post(&server, "/v3/kv/put", &json!({"key": key, "value": "dg=="}).to_string()).await?;
    }
    for request in [
        r#"{"key":"YQ==","range_end":"Yg==","sort_order":"DESCEND","sort_target":"KEY","limit":"2"}"#,
        r#"{"key":"YQ==","rangeEnd":"Yg==","sortOrder":2,"sortTarget":0,"limit":2,"of_tomorrow":{"a":[1]}}"#,
    ] {
        let (status, answer) = post(&server, "/v3/kv/range", request).await?;
        let kvs = answer["kvs"].as_array().cloned().unwrap_or_default();
        let keys: Vec<_> = kvs.iter().map(|kv| kv["key"].clone()).collect();
        assert_eq!((status, keys), (200, vec![json!("YTM="), json!("YTI=")]), "{request}");
        assert_eq!((&answer["more"], &answer["count"]), (&json!(true), &json!("3")));
    }
    let txn = r#"{"compare":[{"target":"CREATE","result":"EQUAL","key":"YQ==","create_revision":"0"}],
                  "success":[{"requestPut":{"key":"YQ==","value":"dg=="}},{"request_range":{"key":"YQ=="}}]}"#;
    let (_, answer) = post(&server, "/v3/kv/txn", txn).await?;
    assert_eq!((&answer["succeeded"], &answer["responses"][1]["response_range"]["count"]), (&json!(true), &json!("1")));
    Ok(())
}

/// "Gateway error body" and HTTP status of the release that is spoken by default, as a 3.7 answers them.
#[tokio::test]
async fn errors_have_the_shape_of_the_release() -> anyhow::Result<()> {
    let Some(server) = started().await? else { return Ok(()) };
    let cases = [
        ("/v3/kv/put", "{}", 400, 3, "etcdserver: key is not provided"),
        ("/v3/kv/range", "", 400, 3, "etcdserver: key is not provided"),
        ("/v3/kv/range", r#"{"key":"Zm9v""#, 400, 3, "unexpected EOF"),
        (
            "/v3/kv/range",
            r#"{"key":"Zm9v","revision":99}"#,
            400,
            11,
            "etcdserver: mvcc: required revision is a future revision",
        ),
        ("/v3/kv/put", r#"{"key":"Zm9v","lease":99}"#, 404, 5, "etcdserver: requested lease not found"),
        (
            "/v3/auth/authenticate",
            r#"{"name":"root","password":"x"}"#,
            400,
            9,
            "etcdserver: authentication is not enabled",
        ),
        ("/v3/election/leader", r#"{"name":"Zm9v"}"#, 500, 2, "election: no leader"),
        ("/v3/election/proclaim", "{}", 500, 2, "\"leader\" field must be provided"),
        ("/v3/maintenance/transfer-leadership", r#"{"targetID":1}"#, 400, 9, "etcdserver: bad leader transferee"),
        ("/v3/cluster/member/add", r#"{"peerURLs":["x"]}"#, 400, 3, "etcdserver: given member URLs are invalid"),
        ("/v3/nope", "{}", 404, 5, "Not Found"),
    ];
    for (path, request, status, code, message) in cases {
        let (got, body) = post(&server, path, request).await?;
        assert_eq!((got, body), (status, json!({"code": code, "message": message})), "{path} {request}");
    }
    for request in ["[]", r#"{"key":"***"}"#, r#"{"limit":"many"}"#] {
        let (status, body) = post(&server, "/v3/kv/range", request).await?;
        assert_eq!((status, &body["code"]), (400, &json!(3)), "{request}");
    }
    let get = curl(&server, "/v3/kv/range", &[]).await?;
    assert_eq!(get, Some((501, r#"{"code":12,"message":"Method Not Allowed"}"#.to_owned())));
    let large = json!({"key": "Zm9v", "value": "A".repeat(2_900_000)}).to_string();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("large");
    std::fs::write(&file, large)?;
    let (status, body) = post(&server, "/v3/kv/put", &format!("@{}", file.display())).await?;
    assert_eq!(status, 429);
    let message = body["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("grpc: received message larger than max (21750"), "{message}");
    Ok(())
}

/// "`/v3beta/…` is rewritten to `/v3/…`; `/v3alpha` is gone"; "Unknown path: 404 `Not Found`".
#[tokio::test]
async fn only_known_paths_are_served() -> anyhow::Result<()> {
    let Some(server) = started().await? else { return Ok(()) };
    let (status, _) = post(&server, "/v3beta/kv/range", r#"{"key":"Zm9v"}"#).await?;
    assert_eq!(status, 200);
    for path in ["/v3alpha/kv/range", "/nope"] {
        let answer = curl(&server, path, &["-d", "{}"]).await?;
        assert_eq!(answer, Some((404, "Not Found\n".to_owned())), "{path}");
    }
    Ok(())
}

/// Each path of §1.2, and the method that it calls.
const PATHS: &str = "
kv/range KV/Range
kv/put KV/Put
kv/deleterange KV/DeleteRange
kv/txn KV/Txn
kv/compaction KV/Compact
watch Watch/Watch
lease/grant Lease/LeaseGrant
lease/revoke Lease/LeaseRevoke
kv/lease/revoke Lease/LeaseRevoke
lease/keepalive Lease/LeaseKeepAlive
lease/timetolive Lease/LeaseTimeToLive
kv/lease/timetolive Lease/LeaseTimeToLive
lease/leases Lease/LeaseLeases
kv/lease/leases Lease/LeaseLeases
cluster/member/add Cluster/MemberAdd
cluster/member/remove Cluster/MemberRemove
cluster/member/update Cluster/MemberUpdate
cluster/member/list Cluster/MemberList
cluster/member/promote Cluster/MemberPromote
maintenance/alarm Maintenance/Alarm
maintenance/status Maintenance/Status
maintenance/defragment Maintenance/Defragment
maintenance/hash Maintenance/Hash
maintenance/hashkv Maintenance/HashKV
maintenance/snapshot Maintenance/Snapshot
maintenance/transfer-leadership Maintenance/MoveLeader
maintenance/downgrade Maintenance/Downgrade
auth/enable Auth/AuthEnable
auth/disable Auth/AuthDisable
auth/status Auth/AuthStatus
auth/authenticate Auth/Authenticate
auth/user/add Auth/UserAdd
auth/user/get Auth/UserGet
auth/user/list Auth/UserList
auth/user/delete Auth/UserDelete
auth/user/changepw Auth/UserChangePassword
auth/user/grant Auth/UserGrantRole
auth/user/revoke Auth/UserRevokeRole
auth/role/add Auth/RoleAdd
auth/role/get Auth/RoleGet
auth/role/list Auth/RoleList
auth/role/delete Auth/RoleDelete
auth/role/grant Auth/RoleGrantPermission
auth/role/revoke Auth/RoleRevokePermission
lock/lock Lock/Lock
lock/unlock Lock/Unlock
election/campaign Election/Campaign
election/proclaim Election/Proclaim
election/leader Election/Leader
election/resign Election/Resign
election/observe Election/Observe
";

/// How often each method was called, by the server's own count.
async fn calls(server: &TestServer) -> anyhow::Result<BTreeMap<String, u64>> {
    let (_, metrics) = ask(server, "GET", "/metrics").await?;
    let label = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=\""))?;
        rest.split('"').next().map(str::to_owned)
    };
    let called = metrics.lines().filter(|line| line.starts_with("grpc_server_started_total{")).filter_map(|line| {
        let service = label(line, "grpc_service")?;
        let method = format!("{}/{}", service.rsplit('.').next()?, label(line, "grpc_method")?);
        Some((method, line.rsplit(' ').next()?.parse().ok()?))
    });
    Ok(called.collect())
}

/// Each path calls its method: the service that it is meant for counts the call, and no other.
#[tokio::test]
async fn every_path_of_the_table_calls_its_method() -> anyhow::Result<()> {
    let Some(server) = started().await? else { return Ok(()) };
    // Those that have no end of their own are hung up on.
    let endless = ["watch", "election/observe"];
    let before = calls(&server).await?;
    let mut expected = before.clone();
    for (path, method) in PATHS.lines().filter_map(|line| line.split_once(' ')) {
        let count = expected.get_mut(method).ok_or_else(|| anyhow::anyhow!("{method} is not counted"))?;
        *count += 1;
        // Without a name, the candidate would stand in line behind the lock.
        let request = if path == "election/campaign" { r#"{"name":"ZQ=="}"# } else { "{}" };
        let path = path.to_owned();
        if endless.contains(&path.as_str()) {
            let mut calling = Command::new(client("curl")?.unwrap_or_default());
            calling.args(["-sS", "-N", "-d", request, &format!("http://{}/v3/{path}", server.address)]);
            let mut calling = calling.stdout(Stdio::null()).spawn()?;
            let counted = async {
                while calls(&server).await?.get(method) != expected.get(method) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                anyhow::Ok(())
            };
            let counted = timeout(PATIENCE, counted).await;
            calling.kill()?;
            calling.wait()?;
            counted.map_err(|_| anyhow::anyhow!("{path} does not call {method}"))??;
        } else {
            let (status, body) = curl(&server, &format!("/v3/{path}"), &["-d", request]).await?.unwrap_or_default();
            assert!(!body.contains("Not Found") && status != 405, "{path}: {status} {body}");
        }
    }
    assert_eq!(calls(&server).await?, expected);
    let never: Vec<_> = expected.iter().filter(|(method, count)| before.get(*method) == Some(count)).collect();
    let etcds =
        never.into_iter().filter(|(method, _)| !method.starts_with("History/") && !method.starts_with("Admin/"));
    assert_eq!(etcds.map(|(method, _)| method.as_str()).collect::<Vec<_>>(), ["KV/RangeStream"]);
    Ok(())
}

/// "optional `--listen-client-http-urls` splits them", and the gateway can be left out.
#[tokio::test]
async fn http_can_have_a_port_of_its_own_and_the_gateway_can_be_off() -> anyhow::Result<()> {
    if client("curl")?.is_none() {
        return Ok(());
    }
    let mut server = TestServer::start_with(&["--listen-client-http-urls=http://127.0.0.1:0"]).await?;
    let range = ["-d", r#"{"key":"Zm9v"}"#];
    let status = |answer: Option<(u16, String)>| answer.map(|(status, _)| status);
    assert_eq!(status(curl(&server, "/v3/kv/range", &range).await?), Some(404));
    assert_eq!(status(curl(&server, "/health", &[]).await?), Some(404));
    let grpc = std::mem::replace(&mut server.address, server.http);
    assert_ne!(grpc, server.address);
    assert_eq!(status(curl(&server, "/v3/kv/range", &range).await?), Some(200));
    assert_eq!(status(curl(&server, "/health", &[]).await?), Some(200));

    let server = TestServer::start_with(&["--enable-grpc-gateway=false"]).await?;
    assert_eq!(status(curl(&server, "/v3/kv/range", &range).await?), Some(404));
    assert_eq!(status(curl(&server, "/health", &[]).await?), Some(200));
    Ok(())
}

/// "`--emulate-version 3.4.23` selects that release's whole profile (… gateway codes and member order, what exists)", as
/// measured on that release.
#[tokio::test]
async fn an_older_release_words_its_errors_in_another_way() -> anyhow::Result<()> {
    if client("curl")?.is_none() {
        return Ok(());
    }
    let server = TestServer::start_with(&["--emulate-version=3.4.23"]).await?;
    let cases = [
        ("/v3/kv/put", "{}", 400, 3, "etcdserver: key is not provided"),
        (
            "/v3/kv/range",
            r#"{"key":"Zm9v","revision":99}"#,
            400,
            11,
            "etcdserver: mvcc: required revision is a future revision",
        ),
        ("/v3/kv/put", r#"{"key":"Zm9v","lease":99}"#, 404, 5, "etcdserver: requested lease not found"),
        (
            "/v3/auth/authenticate",
            r#"{"name":"root","password":"x"}"#,
            412,
            9,
            "etcdserver: authentication is not enabled",
        ),
        ("/v3/election/leader", r#"{"name":"Zm9v"}"#, 500, 2, "election: no leader"),
        ("/v3/maintenance/transfer-leadership", r#"{"targetID":1}"#, 412, 9, "etcdserver: bad leader transferee"),
        ("/v3/watch", r#"{"create_request":"#, 500, 2, "unexpected EOF"),
    ];
    for (path, request, status, code, message) in cases {
        let body = format!(r#"{{"error":"{message}","message":"{message}","code":{code}}}"#);
        assert_eq!(curl(&server, path, &["-d", request]).await?, Some((status, body)), "{path} {request}");
    }
    let text = |status: u16, body: &str| Some((status, body.to_owned()));
    assert_eq!(curl(&server, "/v3/nope", &["-d", "{}"]).await?, text(404, "Not Found\n"));
    assert_eq!(curl(&server, "/v3/auth/status", &["-d", "{}"]).await?, text(404, "Not Found\n"));
    assert_eq!(curl(&server, "/v3/kv/range", &[]).await?, text(405, "Method Not Allowed\n"));
    Ok(())
}

/// "With auth enabled, the token goes into the `Authorization` header."
#[tokio::test]
async fn a_token_goes_into_the_authorization_header() -> anyhow::Result<()> {
    let Some(server) = started().await? else { return Ok(()) };
    post(&server, "/v3/auth/user/add", r#"{"name":"root","password":"secret"}"#).await?;
    post(&server, "/v3/auth/role/add", r#"{"name":"root"}"#).await?;
    post(&server, "/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#).await?;
    assert_eq!(post(&server, "/v3/auth/enable", "{}").await?.0, 200);
    let put = r#"{"key":"Zm9v","value":"YmFy"}"#;
    let (status, refused) = post(&server, "/v3/kv/put", put).await?;
    assert_eq!((status, refused), (400, json!({"code": 3, "message": "etcdserver: user name is empty"})));
    let (_, login) = post(&server, "/v3/auth/authenticate", r#"{"name":"root","password":"secret"}"#).await?;
    let token = login["token"].as_str().unwrap_or_default();
    for header in [format!("Authorization: {token}"), format!("Grpc-Metadata-Token: {token}")] {
        let (status, body) = curl(&server, "/v3/kv/put", &["-H", &header, "-d", put]).await?.unwrap_or_default();
        assert_eq!(status, 200, "{body}");
    }
    let wrong = curl(&server, "/v3/kv/put", &["-H", "Authorization: wrong", "-d", put]).await?;
    assert_eq!(wrong, Some((401, r#"{"code":16,"message":"etcdserver: invalid auth token"}"#.to_owned())));
    Ok(())
}

/// §1.5 "context deadline exceeded": whoever says how long it waits is not answered later, and has left the line then.
#[tokio::test]
async fn a_call_ends_in_the_time_that_its_client_gives() -> anyhow::Result<()> {
    let Some(server) = started().await? else { return Ok(()) };
    let lock = r#"{"name":"bA=="}"#;
    assert_eq!(post(&server, "/v3/lock/lock", lock).await?.0, 200);
    let in_time = ["-H", "Grpc-Timeout: 300m", "-d"];
    let error = r#"{"code":4,"message":"etcdserver: context deadline exceeded"}"#;
    let late = curl(&server, "/v3/lock/lock", &[&in_time[..], &[lock]].concat()).await?;
    assert_eq!(late, Some((504, error.to_owned())));
    line(&server, b"l/", b"l0", 1).await?;
    let watch = r#"{"create_request":{"key":"bA=="}}"#;
    let watched = curl(&server, "/v3/watch", &[&in_time[..], &[watch]].concat()).await?;
    let (status, lines) = watched.unwrap_or_default();
    assert!(status == 200 && lines.ends_with(&format!("{{\"error\":{error}}}\n")), "{status} {lines}");
    Ok(())
}
