use chainfire_core::{
    ClusterError,
    cluster::{self, ClusterCommand},
};
use holdfast_proto::chainfire::{
    BackupRequest, BackupResponse, SetAuditPolicyRequest, SetAuditPolicyResponse, admin_server::Admin,
};
use tonic::{Request, Response, Status};

use super::{Etcd, caller::Caller, copies::Parts};
use crate::{Error, store::Ungoverned, wire};

/// What etcd has no call for.
#[tonic::async_trait]
impl Admin for Etcd {
    type BackupStream = Parts<BackupResponse>;

    async fn backup(&self, request: Request<BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        self.send_backup(request).await
    }

    async fn set_audit_policy(
        &self,
        request: Request<SetAuditPolicyRequest>,
    ) -> Result<Response<SetAuditPolicyResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let state = cluster::state(self.store.group().state()).map_err(Error::from)?;
        if state.is_some_and(|state| !state.journal) {
            return Err(Status::failed_precondition("this store stands alone and keeps no history"));
        }
        let policy = wire::audit_policy(request.into_inner());
        let policy = policy.map_err(|bad| Status::invalid_argument(bad.to_string()))?;
        match self.store.govern(caller.origin(), ClusterCommand::AuditPolicySet(policy)).await {
            Ok(_) => Ok(Response::new(SetAuditPolicyResponse {})),
            Err(Ungoverned::Refused(full @ ClusterError::JournalFull)) => {
                Err(Status::resource_exhausted(full.to_string()))
            }
            Err(Ungoverned::Refused(refused)) => Err(Status::failed_precondition(refused.to_string())),
            Err(Ungoverned::Failed(error)) => Err(error.into()),
        }
    }
}
