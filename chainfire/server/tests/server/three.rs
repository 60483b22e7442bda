//! Three members in one process: what followers pass on, and what survives a change of leaders.

use std::{net::SocketAddr, time::Duration};

use holdfast_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest, MemberListRequest, MoveLeaderRequest, PutRequest,
    RangeRequest, StatusRequest, WatchCreateRequest, WatchRequest, watch_request::RequestUnion,
};
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};

use crate::{
    kv::{get, put},
    pages::ask,
    support::TestServer,
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Three members, all with `further` flags.
pub(crate) async fn cluster(further: &[&str]) -> anyhow::Result<Vec<TestServer>> {
    let mut listeners = Vec::new();
    for _ in NAMES {
        listeners.push(TcpListener::bind("127.0.0.1:0").await?);
    }
    let peers: Vec<SocketAddr> = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    let mut servers = Vec::new();
    for (slot, listener) in listeners.into_iter().enumerate() {
        let flags = member_flags(&peers, slot, further);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        servers.push(TestServer::member(&flags, listener).await?);
    }
    Ok(servers)
}

/// What the third member was started with, beside the `others`, and `further` flags.
pub(crate) fn flags(others: &[TestServer], third: &TestServer, further: &[&str]) -> Vec<String> {
    let peers: Vec<SocketAddr> = others.iter().chain([third]).map(|server| server.peers).collect();
    member_flags(&peers, peers.len() - 1, further)
}

fn member_flags(peers: &[SocketAddr], slot: usize, further: &[&str]) -> Vec<String> {
    let member = |(name, address): (&str, &SocketAddr)| format!("{name}=http://{address}");
    let members: Vec<String> = NAMES.into_iter().zip(peers).map(member).collect();
    let own = NAMES[slot];
    let mut flags = vec![
        format!("--name={own}"),
        format!("--initial-cluster={}", members.join(",")),
        format!("--advertise-client-urls=http://{own}:2379"),
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

#[tokio::test]
async fn every_member_serves_everything_across_a_change_of_leaders() -> anyhow::Result<()> {
    let servers = cluster(&[]).await?;
    let [a, b, c] = servers.as_slice() else { anyhow::bail!("three servers") };
    a.kv().put(put("x", "1")).await?;
    for server in &servers {
        assert_eq!(server.kv().range(get("x")).await?.into_inner().count, 1);
    }

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
            assert_eq!(refused.message(), "etcdserver: not leader");
        }
    }
    for server in &servers {
        if id(server).await? == old {
            server.maintenance().move_leader(MoveLeaderRequest { target_id: to }).await?;
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
    assert_eq!((ended.code(), ended.message()), (tonic::Code::Unavailable, "etcdserver: no leader"));

    let mut request = tonic::Request::new(RangeRequest { serializable: true, ..get("x") });
    assert_eq!(last.kv().range(RangeRequest { serializable: true, ..get("x") }).await?.into_inner().count, 1);
    demanding(request.metadata_mut());
    assert_eq!(last.kv().range(request).await.unwrap_err().message(), "etcdserver: no leader");
    let status = last.maintenance().status(StatusRequest {}).await?.into_inner();
    assert_eq!((status.leader, status.errors), (0, vec!["etcdserver: no leader".to_owned()]));
    let (_, health) = ask(&last, "GET", "/health").await?;
    assert_eq!(health, r#"{"health":"false","reason":"RAFT NO LEADER"}"#);
    let (_, metrics) = ask(&last, "GET", "/metrics").await?;
    for line in ["etcd_server_has_leader 0", "etcd_server_is_leader 0"] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    Ok(())
}
