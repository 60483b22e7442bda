//! What happens to the members while the clients go on.

use anyhow::{Context as _, Result};
use holdfast_testkit::{Cluster, Signal, eventually};
use serde::Serialize;

use super::clients::Clients;
use crate::{
    etcd::Member,
    members::{PATIENCE, find_leader, split},
};

/// Calls that are answered during a fault and after it.
const CALLS: u64 = 150;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Fault {
    /// The leader dies and comes back.
    KillLeader,
    /// The leader stands still until the others have another one and have written; then it goes on where it was.
    PauseLeader,
    PauseFollower,
    KillFollower,
}

impl Fault {
    pub(super) const ALL: [Self; 4] = [Self::PauseLeader, Self::KillLeader, Self::PauseFollower, Self::KillFollower];

    /// Does it to a member, and undoes it once the clients have noticed.
    pub(super) async fn happen(self, cluster: &mut Cluster, members: &[Member], clients: &Clients) -> Result<()> {
        let leader = find_leader(members).await?;
        let (mut place, mut others) = split(members, &leader)?;
        if matches!(self, Self::PauseFollower | Self::KillFollower) {
            let follower = others.first().context("no followers")?.name().to_owned();
            (place, others) = split(members, &follower)?;
        }
        let server = cluster.servers_mut().get_mut(place).context("no such server")?;
        match self {
            Self::KillLeader | Self::KillFollower => server.kill()?,
            Self::PauseLeader | Self::PauseFollower => server.signal(Signal::Stop)?,
        }
        find_leader(&others).await.context("the others have no leader")?;
        answered(clients).await?;
        match self {
            Self::KillLeader | Self::KillFollower => {
                server.start_again()?;
                server.wait_ready()?;
            }
            Self::PauseLeader | Self::PauseFollower => server.signal(Signal::Continue)?,
        }
        answered(clients).await
    }
}

pub(super) async fn answered(clients: &Clients) -> Result<()> {
    let enough = clients.answered() + CALLS;
    eventually("answers", PATIENCE, async || Ok((clients.answered() >= enough).then_some(()))).await
}
