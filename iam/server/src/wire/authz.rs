use holdfast_proto::iam::{
    self as wire, AuthorizeRequest, AuthorizeResponse, ExplainRequest, ExplainResponse, authz_server::Authz,
};
use iam_client::Identity;
use iam_core::policy::{Candidate, Circumstances, Clause};
use tonic::{Request, Response, Status, async_trait};

use super::convert;
use crate::{Error, Iam, explain::HeldRole};

#[async_trait]
impl Authz for Iam {
    async fn authorize(&self, request: Request<AuthorizeRequest>) -> Result<Response<AuthorizeResponse>, Status> {
        let by = convert::caller(&request)?;
        let AuthorizeRequest { principal, action, resource } = request.into_inner();
        let about = self.about(by, &principal, &action, &resource)?;
        let verdict = self.0.decide(&about, &action, &resource)?;
        Ok(Response::new(AuthorizeResponse {
            allowed: verdict.allowed,
            roles: self.0.caller_holdings(&about)?.role_names(),
            policy: verdict.policy.unwrap_or_default(),
            revision: self.0.records.applied().system_revision,
        }))
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let by = convert::caller(&request)?;
        let ExplainRequest { principal, action, resource, source, time_ms } = request.into_inner();
        let about = self.about(by, &principal, &action, &resource)?;
        let mut circumstances = self.0.circumstances(&about);
        if !source.is_empty() {
            let source = source.parse().map_err(|_| Error::Invalid("the source is not an IP address".to_owned()))?;
            circumstances.source = Some(source);
        }
        if time_ms != 0 {
            circumstances = Circumstances { time_ms, ..circumstances };
        }
        let revision = self.0.records.applied().system_revision;
        let explained = self.0.explain(&about, &action, &resource, circumstances)?;
        Ok(Response::new(ExplainResponse {
            allowed: explained.verdict.allowed,
            policy: explained.verdict.policy.unwrap_or_default(),
            errors: explained.verdict.errors,
            policies: explained.candidates.into_iter().map(policy).collect(),
            roles: explained.roles.into_iter().map(role).collect(),
            groups: explained.groups,
            revision,
        }))
    }
}

impl Iam {
    /// Whom a question is about: the caller, or a principal whom it may ask about.
    fn about(&self, by: Identity, principal: &str, action: &str, resource: &str) -> Result<Identity, Error> {
        if action.is_empty() || resource.is_empty() {
            return Err(Error::Invalid("name an action and a resource".to_owned()));
        }
        if principal.is_empty() { Ok(by) } else { self.other(&by, &principal.parse()?) }
    }
}

fn policy(candidate: Candidate) -> wire::ExplainedPolicy {
    wire::ExplainedPolicy {
        id: candidate.id,
        effect: candidate.effect.as_str().to_owned(),
        text: candidate.text,
        in_scope: candidate.in_scope,
        applies: candidate.applies,
        clauses: candidate.clauses.into_iter().map(clause).collect(),
    }
}

fn clause(Clause { word, text, holds }: Clause) -> wire::ExplainedClause {
    let holds_now = holds == Ok(true);
    wire::ExplainedClause { word, text, holds: holds_now, error: holds.err().unwrap_or_default() }
}

fn role(HeldRole { role, binding, path }: HeldRole) -> wire::HeldRole {
    let path = path.iter().map(ToString::to_string).collect();
    wire::HeldRole { role: role.to_string(), binding: binding.unwrap_or_default(), path }
}
