use holdfast_proto::iam::{
    self as wire, ApproveRestoreRequest, ApproveRestoreResponse, ExportStandingsRequest, ExportStandingsResponse,
    MergeStandingsRequest, MergeStandingsResponse, RecoveryStatusRequest, RecoveryStatusResponse,
    recovery_server::Recovery,
};
use tonic::{Request, Response, Status, async_trait};

use super::convert;
use crate::{
    Error, Iam,
    recovery::{Ended, Standing},
};

#[async_trait]
impl Recovery for Iam {
    async fn status(&self, _: Request<RecoveryStatusRequest>) -> Result<Response<RecoveryStatusResponse>, Status> {
        let Some(restored) = self.last_restore()? else {
            return Ok(Response::new(RecoveryStatusResponse::default()));
        };
        let waits = restored.approved.is_none();
        let (approved_ms, approved_by) = restored.approved.map(|by| (by.at_ms, by.by)).unwrap_or_default();
        let (lineage, noticed_ms) = (restored.lineage, restored.noticed_ms);
        Ok(Response::new(RecoveryStatusResponse { waits, lineage, noticed_ms, approved_ms, approved_by }))
    }

    async fn export(
        &self,
        request: Request<ExportStandingsRequest>,
    ) -> Result<Response<ExportStandingsResponse>, Status> {
        let (after, limit) = convert::page(request.into_inner().page)?;
        // Before they are read: what is made meanwhile is younger.
        let exported_ms = self.0.now_ms();
        let listing = self.standings_of_principals(after.as_deref(), limit)?;
        Ok(Response::new(ExportStandingsResponse {
            standings: listing.values.into_iter().map(shown).collect(),
            next_page_token: convert::next_page(listing.next),
            exported_ms,
        }))
    }

    async fn merge(&self, request: Request<MergeStandingsRequest>) -> Result<Response<MergeStandingsResponse>, Status> {
        let by = convert::caller(&request)?;
        let MergeStandingsRequest { standings, exported_ms, denied_serials } = request.into_inner();
        let standings = standings.into_iter().map(standing).collect::<Result<_, Error>>()?;
        let merged = self.merge_ended(&by, Ended { standings, exported_ms, denied_serials }).await?;
        Ok(Response::new(MergeStandingsResponse {
            revision: merged.revision,
            disabled: merged.disabled,
            revoked: merged.revoked,
            denied: merged.denied,
        }))
    }

    async fn approve(
        &self,
        request: Request<ApproveRestoreRequest>,
    ) -> Result<Response<ApproveRestoreResponse>, Status> {
        let by = convert::caller(&request)?;
        let ApproveRestoreRequest { disable_bootstrap_token } = request.into_inner();
        let (revision, join_tokens) = self.approve_restore(&by, disable_bootstrap_token).await?;
        Ok(Response::new(ApproveRestoreResponse { revision, join_tokens }))
    }
}

fn shown(standing: Standing) -> wire::Standing {
    let Standing { principal, disabled, access_keys } = standing;
    wire::Standing { principal: principal.to_string(), disabled, access_keys }
}

fn standing(standing: wire::Standing) -> Result<Standing, Error> {
    let wire::Standing { principal, disabled, access_keys } = standing;
    Ok(Standing { principal: principal.parse()?, disabled, access_keys })
}
