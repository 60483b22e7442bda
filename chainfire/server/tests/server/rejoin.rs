//! A member that has lost its disk, as clients see it (§0 "Wiped member", §1.1).

use std::{net::SocketAddr, time::Duration};

use holdfast_proto::etcdserverpb::{
    LeaseGrantRequest, MemberListRequest, MemberPromoteRequest, RangeRequest, SnapshotRequest, StatusRequest,
};
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};

use crate::{
    kv::{get, put},
    pages::ask,
    support::TestServer,
    three::PATIENCE,
};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Three members and where the others reach the last one.
struct Plan {
    flags: Vec<Vec<String>>,
    addresses: Vec<SocketAddr>,
}

impl Plan {
    async fn new() -> anyhow::Result<(Self, Vec<TcpListener>)> {
        let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
        for _ in NAMES {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            addresses.push(listener.local_addr()?);
            listeners.push(listener);
        }
        let members: Vec<String> =
            NAMES.iter().zip(&addresses).map(|(name, address)| format!("{name}=http://{address}")).collect();
        let cluster = format!("--initial-cluster={}", members.join(","));
        let flags = NAMES.map(|name| vec![format!("--name={name}"), cluster.clone()]);
        Ok((Self { flags: flags.into(), addresses }, listeners))
    }

    fn flags<'a>(&'a self, slot: usize, more: &[&'a str]) -> Vec<&'a str> {
        self.flags[slot].iter().map(String::as_str).chain(more.iter().copied()).collect()
    }
}

/// Which members a server shows as learners.
async fn learners(server: &TestServer) -> anyhow::Result<Vec<String>> {
    let members = server.cluster().member_list(MemberListRequest::default()).await?.into_inner().members;
    Ok(members.into_iter().filter(|member| member.is_learner).map(|member| member.name).collect())
}

async fn until_learners(server: &TestServer, names: &[&str]) -> anyhow::Result<()> {
    let seen = async {
        while !learners(server).await.is_ok_and(|learners| learners == names) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    Ok(timeout(PATIENCE, seen).await?)
}

#[tokio::test]
async fn a_member_with_a_new_disk_is_a_learner_until_it_has_caught_up() -> anyhow::Result<()> {
    let (plan, listeners) = Plan::new().await?;
    let mut servers = Vec::new();
    for (slot, listener) in listeners.into_iter().enumerate() {
        servers.push(TestServer::member(&plan.flags(slot, &[]), listener).await?);
    }
    let (Some(c), Some(b), Some(a)) = (servers.pop(), servers.pop(), servers.pop()) else { anyhow::bail!("three") };
    for server in [&a, &b, &c] {
        server.kv().put(put("x", "1")).await?;
    }
    let id = c.maintenance().status(StatusRequest {}).await?.into_inner().header.unwrap_or_default().member_id;
    drop(c.end().await?);

    let refused = TestServer::member(&plan.flags(2, &[]), TcpListener::bind(plan.addresses[2]).await?).await?;
    let refused = refused.ended().await.unwrap_err().to_string();
    assert!(refused.contains("--rejoin-wiped"), "{refused}");
    let existing = TestServer::start_with(&["--initial-cluster-state=existing"]).await;
    let existing = existing.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(existing.contains("--rejoin-wiped"), "{existing}");

    // It reaches the others, but is not where they look for it, so that it learns nothing.
    let rejoin = plan.flags(2, &["--rejoin-wiped", "--initial-cluster-state=existing"]);
    let hidden = TestServer::member(&rejoin, TcpListener::bind("127.0.0.1:0").await?).await?;
    until_learners(&a, &["c"]).await?;
    until_learners(&b, &["c"]).await?;
    let early = a.cluster().member_promote(MemberPromoteRequest { id }).await.unwrap_err();
    assert_eq!(early.message(), "etcdserver: can only promote a learner member which is in sync with leader");
    let own = a.maintenance().status(StatusRequest {}).await?.into_inner();
    assert!(!own.is_learner);

    let status = hidden.maintenance().status(StatusRequest {}).await?.into_inner();
    assert!(status.is_learner && status.header.unwrap_or_default().member_id == id);
    assert_eq!(hidden.kv().range(RangeRequest { serializable: true, ..get("x") }).await?.into_inner().count, 0);
    let (code, _) = ask(&hidden, "GET", "/readyz/non_learner").await?;
    assert!(code.contains("503"), "{code}");
    let snapshot = hidden.maintenance().snapshot(SnapshotRequest {}).await;
    assert!(!snapshot.is_err_and(|status| status.message().contains("learner")));
    let refused = [
        hidden.kv().range(get("x")).await.err(),
        hidden.kv().put(put("x", "2")).await.err(),
        hidden.lease().lease_grant(LeaseGrantRequest { ttl: 60, id: 1 }).await.err(),
        hidden.cluster().member_list(MemberListRequest::default()).await.err(),
        hidden.watch().watch(tokio_stream::pending()).await.err(),
    ];
    for status in refused {
        let status = status.ok_or_else(|| anyhow::anyhow!("a learner has answered"))?;
        assert_eq!(status.code(), tonic::Code::FailedPrecondition);
        assert_eq!(status.message(), "etcdserver: rpc not supported for learner");
    }

    let folder = hidden.end().await?;
    let listener = TcpListener::bind(plan.addresses[2]).await?;
    let back = TestServer::member_in(folder, &plan.flags(2, &[]), listener).await?;
    until_learners(&a, &[]).await?;
    until_learners(&back, &[]).await?;
    assert_eq!(back.kv().range(get("x")).await?.into_inner().count, 1);
    let status = back.maintenance().status(StatusRequest {}).await?.into_inner();
    assert!(!status.is_learner && status.header.unwrap_or_default().member_id == id);
    Ok(())
}
