//! The members of a cluster, as a client sees them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use holdfast_testkit::{Cluster, eventually};

use crate::etcd::{self, Member};

/// For elections, restarts, leases and shipping on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A client of each member as the bootstrap admin, and the token that all of them use.
pub(crate) async fn log_in(cluster: &Cluster) -> Result<(Vec<Member>, String)> {
    let first = cluster.servers().first().context("the cluster has no servers")?.endpoints()?;
    let token = etcd::log_in(etcd::channel(&first.api)?, "admin", &cluster.admin_token()?).await?;
    let servers = cluster.servers().iter();
    let members = servers.map(|server| Member::new(server.name(), etcd::channel(&server.endpoints()?.api)?, &token));
    Ok((members.collect::<Result<_>>()?, token))
}

/// The name of the member that says it leads.
pub(crate) async fn find_leader(members: &[Member]) -> Result<String> {
    eventually("a leader", PATIENCE, async || {
        for member in members {
            if member.leads().await {
                return Ok(Some(member.name().to_owned()));
            }
        }
        Ok(None)
    })
    .await
}

/// The place of a member and the members without it.
pub(crate) fn split(members: &[Member], name: &str) -> Result<(usize, Vec<Member>)> {
    let place = members.iter().position(|member| member.name() == name).context("no such member")?;
    Ok((place, members.iter().filter(|member| member.name() != name).cloned().collect()))
}
