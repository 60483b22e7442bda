use chainfire_core::{
    alarm::Alarm,
    kv::{self, Revision},
};
use holdfast_proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, DowngradeInfo, DowngradeRequest,
    DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest, HashResponse, MoveLeaderRequest, MoveLeaderResponse,
    SnapshotRequest, SnapshotResponse, StatusRequest, StatusResponse, alarm_request::AlarmAction,
    downgrade_request::DowngradeAction, maintenance_server::Maintenance,
};
use tonic::{Request, Response, Status};

use super::{Etcd, caller::Caller, copies::Parts, downgrade};
use crate::{Error, Profile, members::MemberId, wire};

#[tonic::async_trait]
impl Maintenance for Etcd {
    /// What this server knows by itself; answers without quorum.
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let status = self.store.status();
        let leader = status.leader.and_then(|slot| self.directory.members().by_slot(slot));
        let usage = self.store.usage()?;
        let quota = self.store.limits().quota_bytes.unwrap_or(0);
        let mut errors = Vec::new();
        if leader.is_none() {
            errors.push(Error::NoLeader.to_string());
        }
        errors.extend(self.store.alarms()?.into_iter().map(wire::alarm_text));
        errors.extend(status.failed);
        errors.extend(self.store.group().disk_stall().filter(|stall| stall.lasting).map(|stall| stall.to_string()));
        let newest = self.profile == Profile::V3_6;
        Ok(Response::new(StatusResponse {
            header: Some(self.current_header()?),
            version: self.profile.server().to_owned(),
            db_size: bytes(usage.total),
            leader: leader.map_or(0, |member| member.id.0),
            raft_index: status.committed,
            raft_term: status.term,
            raft_applied_index: status.applied,
            errors,
            // JSON leaves out zeroes, and monitors expect the field of an empty store, too.
            db_size_in_use: bytes(usage.used).max(1),
            is_learner: status.learners.contains(&status.slot),
            storage_version: self.profile.storage().unwrap_or_default().to_owned(),
            db_size_quota: if newest { bytes(quota) } else { 0 },
            downgrade_info: newest.then(DowngradeInfo::default),
        }))
    }

    async fn hash_kv(&self, request: Request<HashKvRequest>) -> Result<Response<HashKvResponse>, Status> {
        let asked = request.into_inner().revision;
        let asked = (asked != 0).then_some(Revision(asked));
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
            hash_revision: if self.profile == Profile::V3_6 { hash.revision.0 } else { 0 },
        }))
    }

    /// Alarms are read by everybody; to change them is for who may do everything.
    async fn alarm(&self, request: Request<AlarmRequest>) -> Result<Response<AlarmResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        if request.action != i32::from(AlarmAction::Get) {
            self.permit(&caller, |permit| permit.everything())?;
        }
        let kind = wire::alarm_kind(request.alarm);
        let named = kind.map(|kind| Alarm { member: request.member_id, kind });
        let alarms = match (AlarmAction::try_from(request.action), named) {
            (Ok(AlarmAction::Get), _) => {
                self.store.barrier().await.map_err(Error::from)?;
                let mut alarms = self.store.alarms()?;
                alarms.retain(|alarm| kind.is_none_or(|kind| alarm.kind == kind));
                alarms
            }
            (Ok(AlarmAction::Activate), Some(alarm)) => {
                // 0 is nobody in particular.
                if alarm.member != 0 {
                    self.directory.members().by_id(MemberId(alarm.member)).ok_or(Error::MemberNotFound)?;
                }
                self.store.raise(caller.origin(), alarm).await?.into_iter().collect()
            }
            (Ok(AlarmAction::Deactivate), Some(alarm)) => {
                self.store.clear(caller.origin(), alarm).await?.into_iter().collect()
            }
            (Ok(AlarmAction::Activate | AlarmAction::Deactivate), None) | (Err(_), _) => Vec::new(),
        };
        let alarms = alarms.into_iter().map(wire::alarm_member).collect();
        Ok(Response::new(AlarmResponse { header: Some(self.current_header()?), alarms }))
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

    /// Everything that is stored, as it is stored: of use only between members of one cluster.
    async fn hash(&self, _: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        let (hash, revision) = self.read(false, |read| Ok((kv::hash_rows(read)?, kv::current_revision(read)?))).await?;
        Ok(Response::new(HashResponse { header: Some(self.header(revision)), hash }))
    }

    type SnapshotStream = Parts<SnapshotResponse>;

    async fn snapshot(&self, request: Request<SnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        self.send_snapshot(request).await
    }

    /// Tells which release a downgrade could go to. None begins here: what is stored is not etcd's, so that none of its
    /// releases could go on with it.
    async fn downgrade(&self, request: Request<DowngradeRequest>) -> Result<Response<DowngradeResponse>, Status> {
        let request = request.into_inner();
        match DowngradeAction::try_from(request.action) {
            Ok(DowngradeAction::Validate) => {
                downgrade::check(self.profile, self.store.is_founded(), &request.version)?;
                self.undowngraded().await
            }
            Ok(DowngradeAction::Enable) => {
                downgrade::check(self.profile, self.store.is_founded(), &request.version)?;
                Err(Error::NotCapable.into())
            }
            // There is none; etcd does not mind.
            Ok(DowngradeAction::Cancel) => self.undowngraded().await,
            Err(_) => Err(Error::Unimplemented("etcdserver: unknown method").into()),
        }
    }
}

impl Etcd {
    /// The cluster's version, which stays.
    async fn undowngraded(&self) -> Result<Response<DowngradeResponse>, Status> {
        self.store.barrier().await.map_err(Error::from)?;
        let version = self.profile.protocol().to_owned();
        Ok(Response::new(DowngradeResponse { header: Some(self.current_header()?), version }))
    }
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
