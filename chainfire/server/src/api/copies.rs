//! Copies of everything: etcd's `Snapshot` and chainfire's own `Backup`. Both are recorded before the first byte.

use std::{path::PathBuf, pin::Pin, sync::Arc};

use futures::Stream;
use holdfast_proto::{
    chainfire::{BackupRequest, BackupResponse},
    etcdserverpb::{SnapshotRequest, SnapshotResponse},
};
use iam_client::Identity;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Request, Response, Status};

use super::{Etcd, caller::Caller};
use crate::{
    Error,
    backup::{self, Sources},
    snapshot::{self, About, MemberAbout},
};

/// Copies of everything that are on their way at a time. Each takes disk space or holds old versions on it.
const AT_A_TIME: usize = 2;

pub(crate) type Parts<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What copies are made from, and how many at a time.
pub(crate) struct Copies {
    sources: Arc<Sources>,
    /// Where files lie while they are sent.
    folder: PathBuf,
    places: Arc<Semaphore>,
}

impl Copies {
    pub(crate) fn new(sources: Arc<Sources>, folder: PathBuf) -> Self {
        Self { sources, folder, places: Arc::new(Semaphore::new(AT_A_TIME)) }
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| Error::TooManyRequests)
    }
}

impl Etcd {
    /// The user keyspace as this server has it, in etcd's file format. Like etcd's, it asks no quorum.
    pub(super) async fn send_snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<Response<Parts<SnapshotResponse>>, Status> {
        let caller = Caller::of(request.extensions());
        let place = self.copies.place()?;
        self.disclose(&caller.identity, "maintenance.Snapshot").await?;
        let (header, about) = (self.current_header()?, self.about()?);
        let (view, folder) = (self.store.view(), self.copies.folder.clone());
        let written = tokio::task::spawn_blocking(move || snapshot::write(&view, &about, &folder)).await;
        let failed = |error: &dyn std::fmt::Display| Error::Storage(format!("a snapshot is not made: {error}"));
        let (file, length) = written.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        tracing::info!(caller = caller.origin().principal, bytes = length, "a snapshot is sent");
        let version = self.profile.storage().unwrap_or_default();
        Ok(Response::new(Box::pin(snapshot::parts(file, length, header, version, place))))
    }

    /// Everything, in a file of our own.
    pub(super) async fn send_backup(
        &self,
        request: Request<BackupRequest>,
    ) -> Result<Response<Parts<BackupResponse>>, Status> {
        let caller = Caller::of(request.extensions());
        let place = self.copies.place()?;
        if !request.get_ref().local {
            self.store.barrier().await.map_err(Error::from)?;
        }
        self.disclose(&caller.identity, "cluster.Backup").await?;
        let views = self.copies.sources.views();
        tracing::info!(caller = caller.origin().principal, groups = views.len(), "a backup is sent");
        Ok(Response::new(Box::pin(backup::stream(views, place))))
    }

    /// Records that the caller gets a copy of everything; where there is a record to be made and it cannot be, nobody
    /// gets it.
    async fn disclose(&self, identity: &Identity, action: &'static str) -> Result<(), Error> {
        let Some(log) = &self.doors.disclosures else { return Ok(()) };
        Ok(log.record_disclosure(identity, action, "cluster/chainfire").await?)
    }

    fn about(&self) -> Result<About, Error> {
        let mut members = Vec::new();
        for member in self.directory.members().iter() {
            members.push(MemberAbout {
                id: member.id.0,
                peer_urls: vec![member.peer_url.clone()],
                name: member.name.clone(),
                client_urls: self.directory.client_urls(member.slot)?,
            });
        }
        let profile = self.profile;
        Ok(About { members, cluster_version: profile.cluster(), storage_version: profile.storage() })
    }
}
