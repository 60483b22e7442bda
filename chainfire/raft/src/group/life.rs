use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::{sync::watch, time::timeout_at};

use super::Group;
use crate::{
    Error, Founder, Founding, Machine, RaftId, Stall,
    genesis::{Known, random_uuid},
    rejoin::Roster,
    stall::{furthest, matched},
    state::Meta,
    types::{Command, Peer},
};

/// Makes the bytes of the first command, or says why it cannot.
pub(crate) type MakeGenesis = Arc<dyn Fn(&Founding) -> Result<Vec<u8>, String> + Send + Sync>;

/// A group as its node sees it, whatever its machine.
#[async_trait]
pub(crate) trait Life: Send + Sync + 'static {
    /// Lets Raft run. The first server also begins the log of a new cluster.
    async fn begin(&self, known: &Known) -> Result<(), Error>;

    /// Sees to it that the first command is the genesis, proposed by whoever leads first, then opens the group.
    async fn found(&self, known: Arc<Known>, make: MakeGenesis, open: watch::Sender<bool>);

    /// As the leader, ends what is left of giving a server its place back; returns when the node stops.
    async fn keep_members(&self);

    /// Does what the disk below the log asks for: with one that hangs it leads only if no other server can.
    async fn bear(&self, stall: Option<Stall>);

    /// Gives leadership to another server, if this one leads.
    async fn retire(&self);

    /// Ends Raft and makes the state durable.
    async fn end(&self);
}

#[async_trait]
impl<M: Machine> Life for Group<M> {
    async fn begin(&self, known: &Known) -> Result<(), Error> {
        let failed = |error: String| Error::Raft(error);
        let raft = &self.inner.raft;
        raft.run();
        let Some(formed) = known.formed() else { return Err(failed("the cluster is not formed".into())) };
        let first = formed.members.iter().min() == Some(&known.id().to_u64());
        if !first || raft.is_initialized().await.map_err(|error| failed(error.to_string()))? {
            return Ok(());
        }
        let peer =
            |id: &u64| known.cluster().member(RaftId::from_u64(*id).slot()).map(|member| (*id, Peer::from(member)));
        let members: BTreeMap<u64, Peer> = formed.members.iter().filter_map(peer).collect();
        raft.initialize(members).await.map_err(|error| failed(error.to_string()))
    }

    async fn found(&self, known: Arc<Known>, make: MakeGenesis, open: watch::Sender<bool>) {
        while !self.inner.stop.is_requested() {
            match self.founded(&known, &make).await {
                Ok(true) => {
                    open.send_replace(true);
                    return;
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(error, "the cluster's first command is not committed yet"),
            }
            self.something_new().await;
        }
    }

    async fn keep_members(&self) {
        self.tend_members().await;
    }

    async fn bear(&self, stall: Option<Stall>) {
        let inner = &self.inner;
        let mut step_down = inner.step_down.lock().await;
        let handed = step_down.look(&inner.raft, stall.is_some(), inner.timing.election_max).await;
        if let Some((to, stall)) = handed.zip(stall) {
            let to = inner.cluster.member(to.slot()).map_or("", |member| &member.name);
            let waited = stall.age;
            tracing::warn!(group = %inner.id, to, ?waited, "the disk does not sync the log: another server shall lead");
        }
    }

    async fn retire(&self) {
        let inner = &self.inner;
        if !self.status().is_leader {
            return;
        }
        let furthest = {
            let metrics = inner.raft.metrics();
            let seen = metrics.borrow_watched();
            furthest(&Roster::of(&seen.membership_config), |id| id != inner.own, &matched(&seen))
        };
        let Some(best) = furthest else { return };
        if let Err(error) = self.hand_over(best).await {
            tracing::info!(group = %inner.id, %error, "leadership not handed over; the others will elect");
        }
    }

    async fn end(&self) {
        if self.inner.raft.shutdown().await.is_err() {
            tracing::warn!(group = %self.inner.id, "raft did not end in good order");
        }
        let state = self.inner.state.clone();
        match tokio::task::spawn_blocking(move || state.flush()).await {
            Ok(Ok(_)) => {}
            // The log still has what the state has not.
            Ok(Err(error)) => tracing::warn!(group = %self.inner.id, %error, "state not flushed"),
            Err(error) => tracing::warn!(group = %self.inner.id, %error, "state not flushed"),
        }
    }
}

impl<M: Machine> Group<M> {
    /// Whether the first command is in the state; the leader proposes it if nobody has.
    async fn founded(&self, known: &Known, make: &MakeGenesis) -> Result<bool, String> {
        if self.has_first_command()? {
            return Ok(true);
        }
        if !self.status().is_leader {
            return Ok(false);
        }
        // What an earlier leader has proposed is in the state before this returns.
        let caught_up = async {
            let index = self.read_index_here().await?;
            self.applied(index).await;
            Ok::<_, String>(())
        };
        let in_time = timeout_at(self.deadline(), caught_up).await;
        in_time.map_err(|_| "what is committed is not applied in time")??;
        if self.has_first_command()? {
            return Ok(true);
        }
        let facts = facts(known).map_err(|error| error.to_string())?;
        let command = Command(Bytes::from(make(&facts)?));
        self.inner.raft.client_write(command).await.map_err(|error| error.to_string())?;
        Ok(true)
    }

    fn has_first_command(&self) -> Result<bool, String> {
        let meta = Meta::read(self.inner.state.generation().as_ref()).map_err(|error| error.to_string())?;
        Ok(meta.first_command.is_some())
    }
}

fn facts(known: &Known) -> Result<Founding, Error> {
    let formed = known.formed().ok_or_else(|| Error::Raft("the cluster is not formed".into()))?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let founder = |id: &u64| {
        let id = RaftId::from_u64(*id);
        let member = known.cluster().member(id.slot())?;
        Some(Founder { slot: id.slot(), name: member.name.clone(), address: member.address.clone(), id })
    };
    Ok(Founding {
        cluster: uuid::Uuid::from_bytes(formed.cluster),
        lineage: random_uuid()?,
        time_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        members: formed.members.iter().filter_map(founder).collect(),
    })
}
