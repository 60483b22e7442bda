//! What the servers do of themselves leaves room for what clients ask.

use chainfire_core::{
    Command, Envelope, Origin, UserCommand, format,
    lease::{LeaseGrant, LeaseId},
};
use chainfire_raft::{Cluster, GroupConfig, Node, NodeConfig, Timing};
use chainfire_server::{Chainfire, Config, Foundation};
use futures::future::try_join_all;
use holdfast_service::{Stop, Tasks};
use holdfast_telemetry::Metrics;
use tokio::{net::TcpListener, time::timeout};

use crate::three::PATIENCE;

/// Leases that end at the same moment: three scans of the expiry.
const LEASES: i64 = 1_200;

/// What one scan ends, and the time between two.
const SCAN_LEASES: usize = 500;
const SCAN_MS: u64 = 500;

/// The time stamps of the journal's expiries, in order, once there are all of them.
async fn expiries(chainfire: &Chainfire) -> anyhow::Result<Vec<u64>> {
    let (journal, mut changes) = (chainfire.journal(), chainfire.journal().changes());
    loop {
        changes.borrow_and_update();
        let records = journal.read(None, usize::MAX)?;
        let ended = records.iter().filter(|record| record.action == "lease.Expire");
        let times: Vec<u64> = ended.map(|record| record.time_ms).collect();
        if times.len() == usize::try_from(LEASES)? {
            return Ok(times);
        }
        changes.changed().await?;
    }
}

#[tokio::test]
async fn leases_that_end_together_are_ended_in_portions() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let peers = TcpListener::bind("127.0.0.1:0").await?;
    let node = Node::open(NodeConfig::new(folder.path(), Cluster::single("a", "localhost:2380"), "a"), peers)?;
    let config = Config::new(Timing::default());
    let chainfire = Chainfire::open(&node, GroupConfig::chainfire(), config, &Metrics::new()).await?;
    node.start(Foundation::suite().command("http")).await?;
    chainfire.ready().await;
    let stop = Stop::new();
    let mut tasks = Tasks::new(stop.clone());
    chainfire.spawn(&mut tasks);

    let grants = (1..=LEASES).map(|id| {
        let grant = LeaseGrant { id: LeaseId(id), ttl: 2, min_ttl: 2 };
        let command = Command::User(UserCommand::LeaseGrant(grant));
        let envelope = Envelope { origin: Origin::system("test", id.to_string()), time_ms: 0, command };
        let group = chainfire.group().clone();
        async move { anyhow::Ok(group.propose(format::encode_command(&envelope)?).await?) }
    });
    try_join_all(grants).await?;

    let times = timeout(PATIENCE, expiries(&chainfire)).await??;
    for (first, later) in times.iter().zip(times.iter().skip(SCAN_LEASES)) {
        // Of different scans; a clock may be set while the test runs, so not to the millisecond.
        assert!(later.saturating_sub(*first) >= SCAN_MS * 9 / 10, "{} ms", later.saturating_sub(*first));
    }
    stop.request();
    drop(tasks.finished().await);
    node.stop().await;
    Ok(())
}
