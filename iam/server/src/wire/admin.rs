use holdfast_proto::iam::{
    AddMemberRequest, AddMemberResponse, AddSigningKeyRequest, CreatePrincipalRequest, CreatePrincipalResponse,
    DecisionLog, DisableBootstrapTokenRequest, DisableBootstrapTokenResponse, GrantRequest, GrantResponse,
    ListBindingsRequest, ListBindingsResponse, ListMembersRequest, ListMembersResponse, ListPrincipalsRequest,
    ListPrincipalsResponse, ListSigningKeysRequest, RemoveMemberRequest, RemoveMemberResponse, RevokeGrantRequest,
    RevokeGrantResponse, SetPrincipalRequest, SetPrincipalResponse, SigningKeysResponse, StatusRequest, StatusResponse,
    StepSigningKeyRequest, admin_server::Admin,
};
use iam_core::{Kind, Subject, rotation::Step};
use tonic::{Request, Response, Status, async_trait};

use super::{convert, keys};
use crate::{Doors, Error, Iam};

type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl Admin for Iam {
    async fn create_principal(&self, request: Request<CreatePrincipalRequest>) -> Answer<CreatePrincipalResponse> {
        let by = convert::caller(&request)?;
        let CreatePrincipalRequest { id, display_name, org, project } = request.into_inner();
        let id = id.parse().map_err(Error::from)?;
        let wanted = convert::scope(org, project)?;
        let (principal, revision) = self.create_principal(&by, id, display_name, wanted).await?;
        let principal = Some(convert::principal(self, principal, revision));
        Ok(Response::new(CreatePrincipalResponse { principal, revision }))
    }

    async fn set_principal(&self, request: Request<SetPrincipalRequest>) -> Answer<SetPrincipalResponse> {
        let by = convert::caller(&request)?;
        let SetPrincipalRequest { id, disabled, expected_revision } = request.into_inner();
        let id = id.parse().map_err(Error::from)?;
        let (principal, revision) = self.set_principal(&by, &id, disabled, expected_revision).await?;
        let principal = Some(convert::principal(self, principal, revision));
        Ok(Response::new(SetPrincipalResponse { principal, revision }))
    }

    async fn list_principals(&self, request: Request<ListPrincipalsRequest>) -> Answer<ListPrincipalsResponse> {
        let by = convert::caller(&request)?;
        let ListPrincipalsRequest { page, kind } = request.into_inner();
        let kind = match kind.as_str() {
            "" => None,
            text => Some(Kind::parse(text).ok_or_else(|| Error::Invalid(format!("there is no kind {text:?}")))?),
        };
        let (after, size) = convert::page(page)?;
        let listing = self.list_principals(&by, kind, after.as_deref(), size)?;
        let principals = listing.values.into_iter().map(|(_, one)| convert::principal(self, one.value, one.revision));
        Ok(Response::new(ListPrincipalsResponse {
            principals: principals.collect(),
            next_page_token: convert::next_page(listing.next),
        }))
    }

    async fn add_member(&self, request: Request<AddMemberRequest>) -> Answer<AddMemberResponse> {
        let by = convert::caller(&request)?;
        let AddMemberRequest { group, member } = request.into_inner();
        let member = member.parse().map_err(Error::from)?;
        let revision = self.add_member(&by, group, member).await?;
        Ok(Response::new(AddMemberResponse { revision }))
    }

    async fn remove_member(&self, request: Request<RemoveMemberRequest>) -> Answer<RemoveMemberResponse> {
        let by = convert::caller(&request)?;
        let RemoveMemberRequest { group, member } = request.into_inner();
        let member = member.parse().map_err(Error::from)?;
        let revision = self.remove_member(&by, &group, &member).await?;
        Ok(Response::new(RemoveMemberResponse { revision }))
    }

    async fn list_members(&self, request: Request<ListMembersRequest>) -> Answer<ListMembersResponse> {
        let ListMembersRequest { page, member, group } = request.into_inner();
        let member = convert::subject(&member)?;
        let group = Some(group.as_str()).filter(|group| !group.is_empty());
        let (after, size) = convert::page(page)?;
        let listing = self.list_members(member.as_ref(), group, after.as_deref(), size)?;
        Ok(Response::new(ListMembersResponse {
            members: listing.values.into_iter().map(convert::membership).collect(),
            next_page_token: convert::next_page(listing.next),
        }))
    }

    async fn grant(&self, request: Request<GrantRequest>) -> Answer<GrantResponse> {
        let by = convert::caller(&request)?;
        let GrantRequest { binding, expected_revision } = request.into_inner();
        let binding = convert::new_binding(binding)?;
        let (binding, revision) = self.grant(&by, binding, expected_revision).await?;
        Ok(Response::new(GrantResponse { binding: Some(convert::binding(binding, revision)?), revision }))
    }

    async fn revoke_grant(&self, request: Request<RevokeGrantRequest>) -> Answer<RevokeGrantResponse> {
        let by = convert::caller(&request)?;
        let RevokeGrantRequest { subject, name, expected_revision } = request.into_inner();
        let subject: Subject = subject.parse().map_err(Error::from)?;
        let revision = self.revoke_grant(&by, &subject, &name, expected_revision).await?;
        Ok(Response::new(RevokeGrantResponse { revision }))
    }

    async fn list_bindings(&self, request: Request<ListBindingsRequest>) -> Answer<ListBindingsResponse> {
        let by = convert::caller(&request)?;
        let ListBindingsRequest { page, subject } = request.into_inner();
        let subject = convert::subject(&subject)?;
        let (after, size) = convert::page(page)?;
        let listing = self.list_bindings(&by, subject.as_ref(), after.as_deref(), size)?;
        let bindings = listing.values.into_iter().map(|(_, one)| convert::binding(one.value, one.revision));
        let bindings = bindings.collect::<Result<_, _>>()?;
        Ok(Response::new(ListBindingsResponse { bindings, next_page_token: convert::next_page(listing.next) }))
    }

    async fn add_signing_key(&self, request: Request<AddSigningKeyRequest>) -> Answer<SigningKeysResponse> {
        keys::add(self, request).await
    }

    async fn activate_signing_key(&self, request: Request<StepSigningKeyRequest>) -> Answer<SigningKeysResponse> {
        keys::step(self, request, Step::Activate).await
    }

    async fn retire_signing_key(&self, request: Request<StepSigningKeyRequest>) -> Answer<SigningKeysResponse> {
        keys::step(self, request, Step::Retire).await
    }

    async fn purge_signing_key(&self, request: Request<StepSigningKeyRequest>) -> Answer<SigningKeysResponse> {
        keys::step(self, request, Step::Purge).await
    }

    async fn compromise_signing_key(&self, request: Request<StepSigningKeyRequest>) -> Answer<SigningKeysResponse> {
        keys::step(self, request, Step::Compromise).await
    }

    async fn list_signing_keys(&self, _: Request<ListSigningKeysRequest>) -> Answer<SigningKeysResponse> {
        keys::list(self)
    }

    async fn disable_bootstrap_token(
        &self,
        request: Request<DisableBootstrapTokenRequest>,
    ) -> Answer<DisableBootstrapTokenResponse> {
        let by = convert::caller(&request)?;
        let revision = self.disable_bootstrap_token(&by, request.into_inner().reason).await?;
        Ok(Response::new(DisableBootstrapTokenResponse { revision }))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Answer<StatusResponse> {
        let status = self.status()?;
        let (state, reasons) = match status.doors {
            Doors::Starting(reason) => ("starting", reason.into_iter().collect()),
            Doors::Open => ("ready", Vec::new()),
            Doors::Closed(reasons) => ("closed", reasons),
        };
        Ok(Response::new(StatusResponse {
            state: state.to_owned(),
            reasons,
            bootstrap_token_enabled: status.bootstrap_token_enabled,
            dev: status.dev,
            issuer: status.issuer,
            trust_domain: status.trust_domain,
            applied_index: status.applied.index,
            stale_ms: status.stale_ms,
            decisions: Some(DecisionLog {
                newest: status.decisions.newest,
                shipped: status.decisions.shipped,
                bytes: status.decisions.bytes,
                budget: status.decisions.budget,
                dropped_denials: status.decisions.dropped_denials,
            }),
            warnings: status.warnings,
        }))
    }
}
