mod kind;
mod launch;
mod servers;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use holdfast_testkit::{Binaries, client};

pub(crate) use self::kind::Kind;
use self::servers::Servers;
use crate::{door::Entrance, load::first_answer};

/// Running servers of one kind, whose data is removed with them.
pub(crate) struct Subject {
    servers: Servers,
    pub(crate) entrance: Entrance,
    _folder: tempfile::TempDir,
}

impl Subject {
    /// Starts `members` servers with their data below `folder`, and waits for an answer of each.
    pub(crate) async fn start(kind: Kind, members: usize, folder: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("data-").tempdir_in(folder)?;
        let begun = Instant::now();
        let (servers, entrance) = match kind {
            Kind::Nothing => launch::nothing(folder.path())?,
            Kind::Etcd => {
                let program = client("etcd-3.6")?.context("etcd-3.6 is not installed")?;
                launch::alike(&program, &[], members, folder.path())?
            }
            Kind::DropIn => launch::alike(&Binaries::find()?.path("holdfast"), &["chainfire"], members, folder.path())?,
            Kind::Suite => launch::suite(members, folder.path()).await?,
        };
        first_answer(&entrance, begun).await.context("the servers do not answer")?;
        Ok(Self { servers, entrance, _folder: folder })
    }

    /// Ends all servers in order and starts them again on their data; how long the start took until each answered.
    pub(crate) async fn restart(&mut self) -> Result<Duration> {
        let members = 0..self.servers.count();
        members.clone().try_for_each(|member| self.servers.stop(member))?;
        let begun = Instant::now();
        members.clone().try_for_each(|member| self.servers.start(member))?;
        first_answer(&self.entrance, begun).await
    }

    /// Ends a member, counted from 0, without a chance to prepare for it.
    pub(crate) fn kill(&mut self, member: usize) -> Result<()> {
        self.servers.kill(member)
    }

    /// Starts a member again that was killed, and waits for an answer of each.
    pub(crate) async fn revive(&mut self, member: usize) -> Result<()> {
        self.servers.start(member)?;
        first_answer(&self.entrance, Instant::now()).await.map(drop)
    }

    /// Bytes that the first member's process occupies.
    pub(crate) fn memory(&self) -> Result<u64> {
        holdfast_bench::memory(self.servers.first()?)
    }
}
