//! §2.7, expiry: what the servers do of themselves leaves room for what clients ask.

use chainfire_core::{
    Command, Envelope, Origin, UserCommand, format,
    lease::{LeaseGrant, LeaseId},
};
use chainfire_server::Chainfire;
use futures::future::try_join_all;
use tokio::time::timeout;

use crate::{support::Single, three::PATIENCE};

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
    let single = Single::start().await?;
    let grants = (1..=LEASES).map(|id| {
        let grant = LeaseGrant { id: LeaseId(id), ttl: 2, min_ttl: 2 };
        let command = Command::User(UserCommand::LeaseGrant(grant));
        let envelope = Envelope { origin: Origin::system("test", id.to_string()), time_ms: 0, command };
        let group = single.chainfire.group().clone();
        async move { anyhow::Ok(group.propose(format::encode_command(&envelope)?).await?) }
    });
    try_join_all(grants).await?;

    let times = timeout(PATIENCE, expiries(&single.chainfire)).await??;
    for (first, later) in times.iter().zip(times.iter().skip(SCAN_LEASES)) {
        // Of different scans; a clock may be set while the test runs, so not to the millisecond.
        assert!(later.saturating_sub(*first) >= SCAN_MS * 9 / 10, "{} ms", later.saturating_sub(*first));
    }
    single.end().await;
    Ok(())
}
