//! A member that has lost its disk, as clients see it (§0 "Wiped member", §1.1).

use std::{net::SocketAddr, time::Duration};

use chainfire_raft::{Cluster, Member, NodeConfig, Timing};
use chainfire_server::Config;
use holdfast_proto::etcdserverpb::{
    LeaseGrantRequest, MemberListRequest, MemberPromoteRequest, MoveLeaderRequest, RangeRequest, SnapshotRequest,
    StatusRequest,
};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};

use crate::{
    kv::{get, put},
    pages::ask,
    support::{Single, TestServer},
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
    let leads = own.leader == own.header.unwrap_or_default().member_id;
    let to_learner = MoveLeaderRequest { target_id: id };
    let refused = if leads { &a } else { &b }.maintenance().move_leader(to_learner).await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: bad leader transferee");

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

/// What the journal calls places that were given back, once there are `count` of them.
async fn given_back(member: &Single, count: usize) -> anyhow::Result<Vec<String>> {
    let journal = member.chainfire.journal();
    let mut changes = journal.changes();
    let recorded = async {
        loop {
            changes.borrow_and_update();
            let records = journal.read(None, usize::MAX)?;
            let found = records.iter().filter(|record| record.action == "cluster.MemberRejoin");
            let found: Vec<String> = found.map(|record| record.resource.clone()).collect();
            if found.len() >= count {
                return anyhow::Ok(found);
            }
            changes.changed().await?;
        }
    };
    timeout(PATIENCE, recorded).await?
}

/// Once for each disk, however often the server starts with it.
#[tokio::test]
async fn a_place_that_is_given_back_is_in_the_journal() -> anyhow::Result<()> {
    let (mut listeners, mut members) = (Vec::new(), Vec::new());
    for name in NAMES {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        members.push(Member { name: name.to_owned(), address: listener.local_addr()?.to_string() });
        listeners.push(listener);
    }
    let cluster = Cluster { token: "test".to_owned(), members };
    let start = |name: &'static str, folder: TempDir, peers: TcpListener, rejoin_wiped: bool| {
        let node = NodeConfig { rejoin_wiped, ..NodeConfig::new(folder.path(), cluster.clone(), name) };
        Single::open(folder, node, peers, Config::new(Timing::default()))
    };
    let mut starting = Vec::new();
    for (name, peers) in NAMES.into_iter().zip(listeners) {
        starting.push(start(name, tempfile::tempdir()?, peers, false));
    }
    let mut servers = futures::future::try_join_all(starting).await?;
    let mut last = servers.pop().ok_or_else(|| anyhow::anyhow!("three members"))?;
    for count in 1..=2 {
        drop(last.end().await);
        let again = || TcpListener::bind(&cluster.members[2].address);
        last = start("c", tempfile::tempdir()?, again().await?, true).await?;
        assert_eq!(given_back(&servers[0], count).await?, vec!["member/c"; count]);
        last = start("c", last.end().await, again().await?, false).await?;
    }
    last.end().await;
    for server in servers {
        server.end().await;
    }
    Ok(())
}
