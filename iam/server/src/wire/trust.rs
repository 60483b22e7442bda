use std::sync::Arc;

use holdfast_proto::iam::{
    self as wire, AddMappingRequest, AddRootRequest, AllowRequest, AllowResponse, CheckRequest, CheckResponse,
    DenyRequest, DenyResponse, DropMappingRequest, IssueWithRequest, ListDeniedRequest, ListDeniedResponse,
    ListMappingsRequest, ListRootsRequest, MappingsResponse, RequestCertificateRequest, RequestCertificateResponse,
    RootsResponse, StepMappingRequest, StepRootRequest, trust_server::Trust,
};
use iam_ca::{Anchor, Intermediate};
use iam_core::{
    rotation::{Item, Step, Waive},
    trust::{Authorities, Denied, Root, word},
};
use tonic::{Request, Response, Status, async_trait};

use super::{convert, mappings};
use crate::{
    Error, Iam,
    intermediate::Requested,
    records::Versioned,
    signing::StepOptions,
    trust::{Changed, Checked, Enforced, Verdict, decoded, der},
};

#[async_trait]
impl Trust for Iam {
    async fn list(&self, _: Request<ListRootsRequest>) -> Result<Response<RootsResponse>, Status> {
        Ok(Response::new(shown(self, &*self.authorities()?)?))
    }

    async fn add_root(&self, request: Request<AddRootRequest>) -> Result<Response<RootsResponse>, Status> {
        let by = convert::caller(&request)?;
        let AddRootRequest { certificate, dry_run, issuing, own_names } = request.into_inner();
        let certificate = Some(certificate.to_vec()).filter(|der| !der.is_empty());
        let issuing = Some(issuing.as_ref()).filter(|der| !der.is_empty());
        answer(self, self.add_root(&by, certificate, issuing, own_names, dry_run).await?)
    }

    async fn request_certificate(
        &self,
        request: Request<RequestCertificateRequest>,
    ) -> Result<Response<RequestCertificateResponse>, Status> {
        let Requested { id, csr_der } = self.request_certificate(&convert::caller(&request)?).await?;
        Ok(Response::new(RequestCertificateResponse { csr_der: csr_der.into(), key_id: id }))
    }

    async fn issue_with(&self, request: Request<IssueWithRequest>) -> Result<Response<RootsResponse>, Status> {
        let by = convert::caller(&request)?;
        let IssueWithRequest { id, issuing, dry_run } = request.into_inner();
        answer(self, self.issue_with(&by, &id, &issuing, dry_run).await?)
    }

    async fn activate(&self, request: Request<StepRootRequest>) -> Result<Response<RootsResponse>, Status> {
        step(self, request, Step::Activate).await
    }

    async fn remove(&self, request: Request<StepRootRequest>) -> Result<Response<RootsResponse>, Status> {
        step(self, request, Step::Retire).await
    }

    async fn distrust(&self, request: Request<StepRootRequest>) -> Result<Response<RootsResponse>, Status> {
        step(self, request, Step::Compromise).await
    }

    async fn purge(&self, request: Request<StepRootRequest>) -> Result<Response<RootsResponse>, Status> {
        step(self, request, Step::Purge).await
    }

    async fn deny(&self, request: Request<DenyRequest>) -> Result<Response<DenyResponse>, Status> {
        let by = convert::caller(&request)?;
        let DenyRequest { serial, reason } = request.into_inner();
        let (revision, said) = self.deny(&by, &serial, reason).await?;
        Ok(Response::new(DenyResponse { revision, enforced: said.into_iter().map(enforced).collect() }))
    }

    async fn allow(&self, request: Request<AllowRequest>) -> Result<Response<AllowResponse>, Status> {
        let by = convert::caller(&request)?;
        let revision = self.allow(&by, &request.into_inner().serial).await?;
        Ok(Response::new(AllowResponse { revision }))
    }

    async fn list_denied(&self, request: Request<ListDeniedRequest>) -> Result<Response<ListDeniedResponse>, Status> {
        let ListDeniedRequest { page_size, page_token } = request.into_inner();
        let page = wire::Page { size: page_size, token: page_token };
        let (after, size) = convert::page(Some(page))?;
        let listing = self.list_denied(after.as_deref(), size)?;
        let denied = listing.values.into_iter().map(|denied| {
            let Denied { serial, reason, denied_ms, denied_by } = denied;
            wire::Denied { serial, reason, denied_ms, denied_by }
        });
        let denied = denied.collect();
        Ok(Response::new(ListDeniedResponse { denied, next_page_token: convert::next_page(listing.next) }))
    }

    async fn list_mappings(&self, _: Request<ListMappingsRequest>) -> Result<Response<MappingsResponse>, Status> {
        mappings::list(self)
    }

    async fn add_mapping(&self, request: Request<AddMappingRequest>) -> Result<Response<MappingsResponse>, Status> {
        mappings::add(self, request).await
    }

    async fn step_mapping(&self, request: Request<StepMappingRequest>) -> Result<Response<MappingsResponse>, Status> {
        mappings::step(self, request).await
    }

    async fn drop_mapping(&self, request: Request<DropMappingRequest>) -> Result<Response<MappingsResponse>, Status> {
        mappings::forget(self, request).await
    }

    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let chain = request.into_inner().certificate_chain;
        let chain = chain.iter().map(|der| Arc::from(der.as_ref())).collect();
        let Checked { verdicts, serial, expires_ms } = self.check_certificate(&chain)?;
        Ok(Response::new(CheckResponse { verdicts: verdicts.into_iter().map(verdict).collect(), serial, expires_ms }))
    }
}

async fn step(iam: &Iam, request: Request<StepRootRequest>, step: Step) -> Result<Response<RootsResponse>, Status> {
    let by = convert::caller(&request)?;
    let StepRootRequest { id, now, force, dry_run, expected_revision } = request.into_inner();
    let options = StepOptions { dry_run, ..convert::step_options(now, force, expected_revision) };
    answer(iam, iam.step_root(&by, &id, step, options).await?)
}

fn answer(iam: &Iam, changed: Changed) -> Result<Response<RootsResponse>, Status> {
    let roots = shown(iam, &changed.authorities)?;
    let enforced = changed.enforced.into_iter().map(enforced).collect();
    Ok(Response::new(RootsResponse { id: changed.id, breaks: changed.breaks, enforced, ..roots }))
}

fn shown(iam: &Iam, authorities: &Versioned<Authorities>) -> Result<RootsResponse, Error> {
    let roots = authorities.value.roots.items.iter().map(|item| root(iam, item, authorities.revision));
    let roots = roots.collect::<Result<_, Error>>()?;
    Ok(RootsResponse { roots, revision: authorities.revision, ..RootsResponse::default() })
}

fn root(iam: &Iam, root: &Item<Root>, version: u64) -> Result<wire::Root, Error> {
    let certificate = der(root)?;
    let anchor = Anchor::parse(&certificate).map_err(|error| Error::Corrupt(error.to_string()))?;
    let judge = iam.0.judge_trust(root.state, version)?;
    let issuing = root.value.issuing.as_ref().map(|_| decoded(root.signer_certificate())).transpose()?;
    let below = issuing.as_deref().map(Intermediate::parse).transpose();
    let below = below.map_err(|error| Error::Corrupt(error.to_string()))?;
    Ok(wire::Root {
        id: root.id.clone(),
        subject: anchor.subject,
        state: word(root.state).to_owned(),
        own: iam.0.has_authority_key(root)?,
        added_ms: root.added_ms,
        activated_ms: root.activated_ms.unwrap_or_default(),
        superseded_ms: root.superseded_ms.unwrap_or_default(),
        removed_ms: root.retired_ms.unwrap_or_default(),
        expires_ms: anchor.expires_ms,
        next_step_ms: root.next_step_ms(&judge.terms(Waive::Nothing)).unwrap_or_default(),
        certificate: certificate.into(),
        issuing: issuing.unwrap_or_default().into(),
        issuing_expires_ms: below.as_ref().map_or(0, |below| below.expires_ms),
        issuing_serial: below.map_or_else(String::new, |below| below.serial),
        mapped_only: root.value.mapped_only,
    })
}

pub(super) fn enforced(server: Enforced) -> wire::Enforced {
    let closed = server.closed.unwrap_or_default();
    wire::Enforced { server: server.server, enforced: server.closed.is_some(), closed }
}

fn verdict(verdict: Verdict) -> wire::Verdict {
    let (when, possible_ms) = match verdict.without {
        None => ("now".to_owned(), 0),
        Some((id, possible_ms)) => (format!("remove {id}"), possible_ms),
    };
    let (principal, refused) = match verdict.found {
        Ok(principal) => (principal, String::new()),
        Err(fault) => (String::new(), fault),
    };
    wire::Verdict { when, possible_ms, principal, refused }
}
