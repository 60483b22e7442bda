use holdfast_proto::iam::{
    self as wire, DeletePolicyRequest, DeletePolicyResponse, GetPolicyRequest, GetPolicyResponse, GetSchemaRequest,
    GetSchemaResponse, ListPoliciesRequest, ListPoliciesResponse, PutPolicyRequest, PutPolicyResponse, SimulateRequest,
    SimulateResponse, policies_server::Policies,
};
use iam_core::{policy::Compiler, record::StoredPolicy};
use tonic::{Request, Response, Status, async_trait};

use super::convert;
use crate::{Iam, records::Versioned};

#[async_trait]
impl Policies for Iam {
    async fn put(&self, request: Request<PutPolicyRequest>) -> Result<Response<PutPolicyResponse>, Status> {
        let by = convert::caller(&request)?;
        let PutPolicyRequest { id, text, note, expected_revision, dry_run } = request.into_inner();
        let policy = StoredPolicy { text, note, created_ms: 0, changed_ms: 0, changed_by: String::new() };
        let revision = self.put_policy(&by, &id, policy, expected_revision, dry_run).await?;
        Ok(Response::new(PutPolicyResponse { revision }))
    }

    async fn delete(&self, request: Request<DeletePolicyRequest>) -> Result<Response<DeletePolicyResponse>, Status> {
        let by = convert::caller(&request)?;
        let DeletePolicyRequest { id, expected_revision } = request.into_inner();
        let revision = self.delete_policy(&by, &id, expected_revision).await?;
        Ok(Response::new(DeletePolicyResponse { revision }))
    }

    async fn get(&self, request: Request<GetPolicyRequest>) -> Result<Response<GetPolicyResponse>, Status> {
        let id = request.into_inner().id;
        let found = self.policy(&id)?;
        Ok(Response::new(GetPolicyResponse { policy: Some(policy(id, found)) }))
    }

    async fn list(&self, request: Request<ListPoliciesRequest>) -> Result<Response<ListPoliciesResponse>, Status> {
        let (after, limit) = convert::page(request.into_inner().page)?;
        let listing = self.list_policies(after.as_deref(), limit)?;
        let policies = listing.values.into_iter().map(|(id, found)| policy(id, found)).collect();
        Ok(Response::new(ListPoliciesResponse { policies, next_page_token: convert::next_page(listing.next) }))
    }

    async fn simulate(&self, request: Request<SimulateRequest>) -> Result<Response<SimulateResponse>, Status> {
        let changes = request.into_inner().changes.into_iter().map(|change| (change.id, change.text));
        let simulated = self.simulate(changes.collect()).await?;
        let changed = simulated.changed.into_iter().map(|changed| wire::ChangedDecision {
            principal: changed.decision.principal.to_string(),
            action: changed.decision.action.clone(),
            resource: changed.decision.resource.clone(),
            source: changed.decision.source.map(|source| source.to_string()).unwrap_or_default(),
            times: changed.times,
            last_ms: changed.last_ms,
            allowed_now: changed.now.allowed,
            policy_now: changed.now.policy.unwrap_or_default(),
            allowed_then: changed.then.allowed,
            policy_then: changed.then.policy.unwrap_or_default(),
        });
        Ok(Response::new(SimulateResponse {
            server: self.0.settings.member.clone(),
            decisions: simulated.decisions,
            since_ms: simulated.since_ms,
            changed: changed.collect(),
            changed_total: simulated.total,
            incomplete: simulated.incomplete,
        }))
    }

    async fn get_schema(&self, _: Request<GetSchemaRequest>) -> Result<Response<GetSchemaResponse>, Status> {
        let (schema, builtin) = (Compiler::schema().to_owned(), Compiler::builtin().to_owned());
        Ok(Response::new(GetSchemaResponse { schema, builtin }))
    }
}

fn policy(id: String, found: Versioned<StoredPolicy>) -> wire::Policy {
    let StoredPolicy { text, note, created_ms, changed_ms, changed_by } = found.value;
    wire::Policy { id, text, note, created_ms, changed_ms, changed_by, revision: found.revision }
}
