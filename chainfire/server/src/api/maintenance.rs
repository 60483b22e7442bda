use std::pin::Pin;

use chainfire_core::kv::{self, Revision};
use futures::Stream;
use holdfast_proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, DowngradeInfo, DowngradeRequest,
    DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest, HashResponse, MoveLeaderRequest, MoveLeaderResponse,
    SnapshotRequest, SnapshotResponse, StatusRequest, StatusResponse, alarm_request::AlarmAction,
    maintenance_server::Maintenance,
};
use tonic::{Request, Response, Status};

use super::Etcd;
use crate::{Error, members::MemberId, version};

type Parts = Pin<Box<dyn Stream<Item = Result<SnapshotResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Maintenance for Etcd {
    /// What this server knows by itself; answers without quorum.
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let status = self.store.status();
        let leader = status.leader.and_then(|slot| self.directory.members().by_slot(slot));
        let state = self.store.group().state();
        let total = state.total_bytes().map_err(Error::from)?;
        let live = state.live_bytes().map_err(Error::from)?.min(total);
        let mut errors = Vec::new();
        if leader.is_none() {
            errors.push(Error::NoLeader.to_string());
        }
        errors.extend(status.failed);
        Ok(Response::new(StatusResponse {
            header: Some(self.current_header()?),
            version: version::SERVER.to_owned(),
            db_size: bytes(total),
            leader: leader.map_or(0, |member| member.id.0),
            raft_index: status.committed,
            raft_term: status.term,
            raft_applied_index: status.applied,
            errors,
            db_size_in_use: bytes(live),
            is_learner: false,
            storage_version: version::STORAGE.to_owned(),
            // There is no quota on the user keyspace.
            db_size_quota: 0,
            downgrade_info: Some(DowngradeInfo::default()),
        }))
    }

    async fn hash_kv(&self, request: Request<HashKvRequest>) -> Result<Response<HashKvResponse>, Status> {
        let asked = request.into_inner().revision;
        let asked = (asked > 0).then_some(Revision(asked));
        let (hash, current) = self
            .read(false, move |read| {
                let current = kv::current_revision(read)?;
                Ok((kv::hash(read, asked)?, current))
            })
            .await?;
        Ok(Response::new(HashKvResponse {
            header: Some(self.header(current)),
            hash: hash.hash,
            compact_revision: hash.compacted.map_or(-1, |revision| revision.0),
            hash_revision: hash.revision.0,
        }))
    }

    /// Alarms are never raised: there is no quota to run out of, and a member that finds damage stops.
    async fn alarm(&self, request: Request<AlarmRequest>) -> Result<Response<AlarmResponse>, Status> {
        self.admit(request.metadata(), request.extensions())?;
        match AlarmAction::try_from(request.into_inner().action) {
            Ok(AlarmAction::Get | AlarmAction::Deactivate) => {
                Ok(Response::new(AlarmResponse { header: Some(self.current_header()?), alarms: Vec::new() }))
            }
            Ok(AlarmAction::Activate) | Err(_) => Err(Error::Unimplemented("alarms cannot be raised by hand").into()),
        }
    }

    /// Space is given back while the store runs, so there is nothing to do, and nothing stops for it.
    async fn defragment(&self, _: Request<DefragmentRequest>) -> Result<Response<DefragmentResponse>, Status> {
        Ok(Response::new(DefragmentResponse { header: None }))
    }

    async fn move_leader(&self, request: Request<MoveLeaderRequest>) -> Result<Response<MoveLeaderResponse>, Status> {
        let target = MemberId(request.into_inner().target_id);
        let status = self.store.status();
        if !status.is_leader {
            return Err(Error::NotLeader.into());
        }
        let target = self.directory.members().by_id(target).ok_or(Error::BadTransferee)?;
        if target.slot != status.slot {
            self.store.group().transfer_leader(target.slot).await.map_err(Error::from)?;
        }
        Ok(Response::new(MoveLeaderResponse { header: None }))
    }

    async fn hash(&self, _: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        Err(Error::Unimplemented("Hash depends on the file format of a member; use HashKV").into())
    }

    type SnapshotStream = Parts;

    async fn snapshot(&self, _: Request<SnapshotRequest>) -> Result<Response<Parts>, Status> {
        Err(Error::Unimplemented("Snapshot in etcd's file format is not offered; use florctl backup").into())
    }

    async fn downgrade(&self, _: Request<DowngradeRequest>) -> Result<Response<DowngradeResponse>, Status> {
        Err(Error::Unimplemented("Downgrade is not offered; the cluster's feature level never falls").into())
    }
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
