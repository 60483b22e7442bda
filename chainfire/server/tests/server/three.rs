//! Three members in one process (§0 "Contract", §2.7, §2.9): what followers pass on, and what survives a change of
//! leaders.

use std::{net::SocketAddr, time::Duration};

use holdfast_proto::etcdserverpb::{
    DeleteRangeRequest, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest, MemberListRequest,
    MoveLeaderRequest, PutRequest, RangeRequest, StatusRequest, TxnRequest, WatchCreateRequest, WatchRequest,
    request_op::Request, watch_request::RequestUnion,
};
use prost::Message as _;
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};
use tonic::Code;

use crate::{
    kv::{get, put},
    pages::ask,
    support::TestServer,
    txn::op,
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Three members, all with `further` flags.
pub(crate) async fn cluster(further: &[&str]) -> anyhow::Result<Vec<TestServer>> {
    cluster_of(NAMES, "http", further).await
}

/// The same, called `names`, with peer URLs of another scheme.
pub(crate) async fn cluster_of(names: [&str; 3], scheme: &str, further: &[&str]) -> anyhow::Result<Vec<TestServer>> {
    let mut listeners = Vec::new();
    for _ in names {
        listeners.push(TcpListener::bind("127.0.0.1:0").await?);
    }
    let peers: Vec<SocketAddr> = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    let mut servers = Vec::new();
    for (slot, listener) in listeners.into_iter().enumerate() {
        let flags = member_flags(names, scheme, &peers, slot, further);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        servers.push(TestServer::member(&flags, listener).await?);
    }
    Ok(servers)
}

/// What the third member was started with, beside the `others`, and `further` flags.
pub(crate) fn flags(others: &[TestServer], third: &TestServer, further: &[&str]) -> Vec<String> {
    let peers: Vec<SocketAddr> = others.iter().chain([third]).map(|server| server.peers).collect();
    member_flags(NAMES, "http", &peers, peers.len() - 1, further)
}

fn member_flags(names: [&str; 3], scheme: &str, peers: &[SocketAddr], slot: usize, further: &[&str]) -> Vec<String> {
    let member = |(name, address): (&str, &SocketAddr)| format!("{name}={scheme}://{address}");
    let members: Vec<String> = names.into_iter().zip(peers).map(member).collect();
    let own = names[slot];
    let mut flags = vec![
        format!("--name={own}"),
        format!("--initial-cluster={}", members.join(",")),
        format!("--advertise-client-urls=http://{}:2379", NAMES[slot]),
    ];
    flags.extend(further.iter().map(|flag| (*flag).to_owned()));
    flags
}

/// The leader's id, once all members name the same.
async fn leader(servers: &[TestServer]) -> anyhow::Result<u64> {
    let agreed = async {
        loop {
            let mut leaders = Vec::new();
            for server in servers {
                let status = server.maintenance().status(StatusRequest {}).await;
                leaders.extend(status.map(|status| status.into_inner().leader));
            }
            leaders.dedup();
            if let [leader] = leaders.as_slice()
                && *leader != 0
            {
                return *leader;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    Ok(timeout(PATIENCE, agreed).await?)
}

pub(crate) async fn id(server: &TestServer) -> anyhow::Result<u64> {
    let status = server.maintenance().status(StatusRequest {}).await?.into_inner();
    Ok(status.header.unwrap_or_default().member_id)
}

async fn keep_alive(server: &TestServer, id: i64) -> anyhow::Result<i64> {
    let request = tokio_stream::iter([LeaseKeepAliveRequest { id }]);
    let mut answers = server.lease().lease_keep_alive(request).await?.into_inner();
    Ok(answers.message().await?.map_or(-1, |answer| answer.ttl))
}

/// What a command answers may be far larger than the command; it has to come back whichever member was asked.
#[tokio::test]
async fn a_large_answer_of_a_write_comes_through_every_member() -> anyhow::Result<()> {
    let servers = cluster(&[]).await?;
    let [first, ..] = servers.as_slice() else { anyhow::bail!("three servers") };
    for server in &servers {
        for key in 0..10 {
            first.kv().put(put(&format!("large/{key}"), &"x".repeat(1 << 20))).await?;
        }
        let everything = DeleteRangeRequest { key: "large/".into(), range_end: "large0".into(), prev_kv: true };
        let deleted = server.kv().delete_range(everything).await?.into_inner();
        assert_eq!((deleted.deleted, deleted.prev_kvs.len()), (10, 10));
    }
    Ok(())
}

/// §1.1: "send limit = 2³¹-1", "replies far above 4 MiB are normal", whichever member is asked and however it reads.
#[tokio::test]
async fn a_large_answer_reaches_clients_of_every_member() -> anyhow::Result<()> {
    const KEYS: usize = 40;
    let servers = cluster(&[]).await?;
    let [first, ..] = servers.as_slice() else { anyhow::bail!("three servers") };
    let value = "x".repeat(1 << 20);
    for key in 0..KEYS {
        first.kv().put(put(&format!("large/{key:02}"), &value)).await?;
    }
    let everything = RangeRequest { range_end: "large0".into(), ..get("large/") };
    let txn = TxnRequest { success: vec![op(Request::RequestRange(everything.clone()))], ..TxnRequest::default() };
    for server in &servers {
        let found = server.kv().range(everything.clone()).await?.into_inner();
        assert_eq!((found.kvs.len(), found.encoded_len() >> 20), (KEYS, KEYS));
        assert_eq!(server.kv().txn(txn.clone()).await?.into_inner().encoded_len() >> 20, KEYS);
        // All of it is here by now.
        let local = RangeRequest { serializable: true, ..everything.clone() };
        assert_eq!(server.kv().range(local).await?.into_inner().kvs, found.kvs);
    }
    Ok(())
}

/// The value of a metric of `server` with this label, once there is one above 0.
async fn counted(server: &TestServer, name: &str, label: &str, id: u64) -> anyhow::Result<f64> {
    let start = format!("{name}{{{label}=\"{id:x}\"}} ");
    let found = async {
        loop {
            let (_, page) = ask(server, "GET", "/metrics").await?;
            let value = page.lines().find_map(|line| line.strip_prefix(&start)).map_or(Ok(0.0), str::parse::<f64>)?;
            if value > 0.0 {
                return anyhow::Ok(value);
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, found).await.map_err(|_| anyhow::anyhow!("{start}is never above 0"))?
}

/// What dashboards for etcd show of the way between members.
#[tokio::test]
async fn metrics_tell_what_goes_to_and_from_each_other_member() -> anyhow::Result<()> {
    let mut servers = cluster(&[]).await?;
    let leader = leader(&servers).await?;
    let mut ids = Vec::new();
    for server in &servers {
        ids.push(id(server).await?);
    }
    let at = ids.iter().position(|id| *id == leader).ok_or_else(|| anyhow::anyhow!("no member leads"))?;
    ids.remove(at);
    let leading = servers.remove(at);
    leading.kv().put(put("a", &"x".repeat(100_000))).await?;
    for (follower, id) in servers.iter().zip(&ids) {
        assert!(counted(&leading, "etcd_network_peer_sent_bytes_total", "To", *id).await? > 100_000.0);
        assert!(counted(follower, "etcd_network_peer_received_bytes_total", "From", leader).await? > 100_000.0);
        counted(&leading, "etcd_network_peer_round_trip_time_seconds_count", "To", *id).await?;
    }
    let (_, page) = ask(&leading, "GET", "/metrics").await?;
    assert!(!page.contains(&format!("To=\"{leader:x}\"")), "nobody talks to himself");
    assert_eq!(page.matches("# TYPE etcd_network_peer_sent_failures").count(), 1);
    servers.remove(0).end().await?;
    counted(&leading, "etcd_network_peer_sent_failures_total", "To", ids[0]).await?;
    Ok(())
}

#[tokio::test]
async fn every_member_serves_everything_across_a_change_of_leaders() -> anyhow::Result<()> {
    let servers = cluster(&[]).await?;
    let [a, b, c] = servers.as_slice() else { anyhow::bail!("three servers") };
    a.kv().put(put("x", "1")).await?;
    // §2.1: "equal IDs on every member for cluster_id are required"; a revision is everybody's.
    let mut headers = Vec::new();
    for server in &servers {
        let found = server.kv().range(get("x")).await?.into_inner();
        assert_eq!(found.count, 1);
        headers.extend(found.header);
    }
    headers.sort_unstable_by_key(|header| header.member_id);
    headers.dedup_by_key(|header| header.member_id);
    assert_eq!(headers.len(), 3);
    assert!(headers.iter().all(|header| (header.cluster_id, header.revision) == (headers[0].cluster_id, 2)));

    let listed = async {
        loop {
            let members = c.cluster().member_list(MemberListRequest::default()).await?.into_inner().members;
            if members.iter().all(|member| !member.client_ur_ls.is_empty()) {
                return anyhow::Ok(members);
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let members = timeout(PATIENCE, listed).await??;
    assert!(members.is_sorted_by_key(|member| member.id));
    let mut ids = Vec::new();
    for server in &servers {
        let list = server.cluster().member_list(MemberListRequest { linearizable: true }).await?.into_inner();
        assert_eq!(list.members, members, "equal on all members");
        let status = server.maintenance().status(StatusRequest {}).await?.into_inner().header.unwrap_or_default();
        assert_eq!(list.header.unwrap_or_default().cluster_id, status.cluster_id);
        ids.push(status.member_id);
    }
    ids.sort_unstable();
    assert_eq!(ids, members.iter().map(|member| member.id).collect::<Vec<_>>());
    let mut urls: Vec<_> = members.iter().flat_map(|member| member.client_ur_ls.clone()).collect();
    urls.sort_unstable();
    assert_eq!(urls, ["http://a:2379", "http://b:2379", "http://c:2379"]);

    for (server, lease) in servers.iter().zip(1..) {
        server.lease().lease_grant(LeaseGrantRequest { ttl: 60, id: lease }).await?;
        assert_eq!(keep_alive(server, lease).await?, 60);
        assert_eq!(keep_alive(server, 404).await?, 0);
    }
    for server in &servers {
        let left = LeaseTimeToLiveRequest { id: 1, keys: false };
        let left = server.lease().lease_time_to_live(left).await?.into_inner();
        assert!((55..=60).contains(&left.ttl), "{}", left.ttl);
    }

    let (ask, asked) = tokio::sync::mpsc::channel(1);
    let create = WatchCreateRequest { key: "x".into(), start_revision: 2, ..Default::default() };
    ask.send(WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }).await?;
    let mut events = b.watch().watch(tokio_stream::wrappers::ReceiverStream::new(asked)).await?.into_inner();

    let old = leader(&servers).await?;
    let mut to = 0;
    for server in &servers {
        let own = id(server).await?;
        if own != old {
            to = own;
            let refused = server.maintenance().move_leader(MoveLeaderRequest { target_id: old }).await.unwrap_err();
            assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, "etcdserver: not leader"));
        }
    }
    for server in &servers {
        if id(server).await? == old {
            let moved = server.maintenance().move_leader(MoveLeaderRequest { target_id: to }).await?.into_inner();
            assert!(moved.header.is_none());
            // "Waits until the transfer happened".
            let status = server.maintenance().status(StatusRequest {}).await?.into_inner();
            assert_ne!(status.leader, old);
        }
    }
    assert_eq!(leader(&servers).await?, to);
    for (server, lease) in servers.iter().zip(1..) {
        assert_eq!(keep_alive(server, lease).await?, 60);
        server.kv().put(PutRequest { lease, ..put("x", "2") }).await?;
    }

    let mut seen = Vec::new();
    while seen.len() < 4 {
        let next = timeout(PATIENCE, events.message()).await??;
        let next = next.ok_or_else(|| anyhow::anyhow!("the stream ended"))?;
        seen.extend(next.events.iter().filter_map(|event| event.kv.as_ref()).map(|kv| kv.mod_revision));
    }
    assert_eq!(seen, [2, 3, 4, 5]);
    Ok(())
}

#[tokio::test]
async fn a_member_without_a_leader_says_so_everywhere() -> anyhow::Result<()> {
    let mut servers = cluster(&[]).await?;
    servers[0].kv().put(put("x", "1")).await?;
    leader(&servers).await?;
    let last = servers.pop().ok_or_else(|| anyhow::anyhow!("three servers"))?;

    let (send, sent) = tokio::sync::mpsc::channel(1);
    let create = WatchCreateRequest { key: "x".into(), ..Default::default() };
    send.send(WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }).await?;
    let demanding = |metadata: &mut tonic::metadata::MetadataMap| {
        metadata.insert("hasleader", tonic::metadata::MetadataValue::from_static("true"));
    };
    let mut request = tonic::Request::new(tokio_stream::wrappers::ReceiverStream::new(sent));
    demanding(request.metadata_mut());
    let mut events = last.watch().watch(request).await?.into_inner();

    // Two of three stop.
    servers.clear();
    let ended = async {
        loop {
            match events.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(status) => return Some(status),
            }
        }
    };
    let ended = timeout(PATIENCE, ended).await?.ok_or_else(|| anyhow::anyhow!("the stream ended without a word"))?;
    assert_eq!((ended.code(), ended.message()), (Code::Unavailable, "etcdserver: no leader"));

    let mut request = tonic::Request::new(RangeRequest { serializable: true, ..get("x") });
    let local = RangeRequest { serializable: true, ..get("x") };
    assert_eq!(last.kv().range(local.clone()).await?.into_inner().count, 1);
    // §2.4: a transaction of ranges is "serializable if *all* its ranges are", and "nested txns count as writes".
    let txn = |ranges: &[&RangeRequest]| {
        let success = ranges.iter().map(|range| op(Request::RequestRange((*range).clone()))).collect();
        TxnRequest { success, ..Default::default() }
    };
    assert!(last.kv().txn(txn(&[&local, &local])).await?.into_inner().succeeded);
    let nested = TxnRequest { success: vec![op(Request::RequestTxn(txn(&[&local])))], ..Default::default() };
    let (mut one, mut two, mut three, mut four) = (last.kv(), last.kv(), last.kv(), last.kv());
    let refused = tokio::join!(
        async { one.range(get("x")).await.map(drop) },
        async { two.txn(txn(&[&local, &get("x")])).await.map(drop) },
        async { three.txn(nested).await.map(drop) },
        async { four.put(put("x", "2")).await.map(drop) },
        async { ask(&last, "GET", "/readyz").await },
    );
    let (page, body) = refused.4?;
    for refused in [refused.0, refused.1, refused.2, refused.3] {
        let refused = refused.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::Unavailable, "etcdserver: no leader"));
    }
    // §1.4: "503 + failed check list", "`RANGE ERROR:…`".
    assert!(page.contains("503"), "{page}");
    assert_eq!(
        body,
        "[+]data_corruption ok\n[+]serializable_read ok\n\
         [-]linearizable_read failed: RANGE ERROR:etcdserver: no leader\n[+]non_learner ok\n\n"
    );
    demanding(request.metadata_mut());
    assert_eq!(last.kv().range(request).await.unwrap_err().message(), "etcdserver: no leader");
    let status = last.maintenance().status(StatusRequest {}).await?.into_inner();
    assert_eq!((status.leader, status.errors), (0, vec!["etcdserver: no leader".to_owned()]));
    let (line, health) = ask(&last, "GET", "/health").await?;
    assert_eq!((line.contains("503"), health.as_str()), (true, r#"{"health":"false","reason":"RAFT NO LEADER"}"#));
    let (line, local) = ask(&last, "GET", "/health?serializable=true").await?;
    assert_eq!((line.contains("200"), local.as_str()), (true, r#"{"health":"true","reason":""}"#));
    let (_, metrics) = ask(&last, "GET", "/metrics").await?;
    for line in ["etcd_server_has_leader 0", "etcd_server_is_leader 0"] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    Ok(())
}
