//! One kill of a leader, and what clients notice of it.

use std::time::Instant;

use anyhow::{Context as _, Result};
use holdfast_testkit::{Cluster, eventually};
use serde::Serialize;

use super::writers::Writers;
use crate::{
    etcd::Member,
    members::{PATIENCE, find_leader, split},
};

/// Calls that are acknowledged between a new leader's first and the return of the killed one.
const CALLS_WITHOUT: u64 = 40;

/// One kill, in milliseconds from it.
#[derive(Debug, Serialize)]
pub(super) struct Kill {
    pub(super) leader: String,
    new_leader_ms: u128,
    /// Until clients had their first further call acknowledged.
    pub(super) serving_ms: u128,
    /// Until the killed one was back and had applied what the others had when it was ready.
    caught_up_ms: u128,
}

/// Kills the leader, waits until the others serve, and brings it back.
pub(super) async fn kill_leader(cluster: &mut Cluster, members: &[Member], writers: &Writers) -> Result<Kill> {
    let leader = find_leader(members).await?;
    let (place, others) = split(members, &leader)?;
    let before = writers.acknowledged();
    let clock = Instant::now();
    let server = cluster.servers_mut().get_mut(place).context("no such server")?;
    server.kill()?;
    find_leader(&others).await.context("no new leader")?;
    let new_leader_ms = clock.elapsed().as_millis();
    acknowledged(writers, before).await?;
    let serving_ms = clock.elapsed().as_millis();
    acknowledged(writers, writers.acknowledged() + CALLS_WITHOUT).await?;

    server.start_again()?;
    server.wait_ready()?;
    let target = applied(&others).await?;
    let returned = members.get(place).context("no such member")?;
    eventually("the killed member to catch up", PATIENCE, async || {
        Ok(returned.status().await.ok().filter(|status| status.raft_applied_index >= target))
    })
    .await?;
    Ok(Kill { leader, new_leader_ms, serving_ms, caught_up_ms: clock.elapsed().as_millis() })
}

async fn acknowledged(writers: &Writers, more_than: u64) -> Result<()> {
    eventually("an acknowledged call", PATIENCE, async || Ok((writers.acknowledged() > more_than).then_some(()))).await
}

async fn applied(members: &[Member]) -> Result<u64> {
    let mut most = 0;
    for member in members {
        most = most.max(member.status().await?.raft_applied_index);
    }
    Ok(most)
}
