use holdfast_proto::iam::{
    self as wire, AuthorizeBatchRequest, AuthorizeBatchResponse, AuthorizeRequest, AuthorizeResponse, ExplainRequest,
    ExplainResponse, authz_server::Authz,
};
use iam_client::Identity;
use iam_core::policy::{Candidate, Circumstances, Clause};
use tonic::{Request, Response, Status, async_trait};

use super::convert;
use crate::{Error, Iam, explain::HeldRole, tokens::roles_of};

const MAX_BATCH: usize = 1000;

#[async_trait]
impl Authz for Iam {
    async fn authorize(&self, request: Request<AuthorizeRequest>) -> Result<Response<AuthorizeResponse>, Status> {
        let by = convert::caller(&request)?;
        let revision = self.0.records.applied().system_revision;
        Ok(Response::new(self.answer(&by, request.into_inner(), revision)?))
    }

    async fn authorize_batch(
        &self,
        request: Request<AuthorizeBatchRequest>,
    ) -> Result<Response<AuthorizeBatchResponse>, Status> {
        let by = convert::caller(&request)?;
        let questions = request.into_inner().questions;
        if questions.len() > MAX_BATCH {
            return Err(Error::Invalid(format!("a batch has at most {MAX_BATCH} questions")).into());
        }
        let revision = self.0.records.applied().system_revision;
        let answers = questions.into_iter().map(|question| self.answer(&by, question, revision));
        Ok(Response::new(AuthorizeBatchResponse { answers: answers.collect::<Result<_, _>>()? }))
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let by = convert::caller(&request)?;
        let ExplainRequest { principal, action, resource, source, time_ms } = request.into_inner();
        let about = self.about(by.clone(), &principal, &action, &resource)?;
        self.0.check_may_go_on(&about, &action, &resource).map_err(Error::from)?;
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
        // Whoever may not read policies hears which of them decided, and not what they say.
        let reads = self.0.decide(&by, "iam.Read", "iam/*")?.allowed;
        let policy = |candidate| policy(candidate, reads);
        Ok(Response::new(ExplainResponse {
            allowed: explained.verdict.allowed,
            outside_scope: explained.outside_scope,
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
    /// What is decided of the state at `revision` or later.
    fn answer(&self, by: &Identity, question: AuthorizeRequest, revision: u64) -> Result<AuthorizeResponse, Error> {
        let AuthorizeRequest { principal, action, resource } = question;
        let about = self.about(by.clone(), &principal, &action, &resource)?;
        self.0.check_may_go_on(&about, &action, &resource)?;
        let verdict = self.0.decide(&about, &action, &resource)?;
        let holdings = self.0.caller_holdings(&about.principal)?;
        Ok(AuthorizeResponse {
            allowed: verdict.allowed,
            roles: about.claims().map_or_else(|| holdings.role_names(), |claims| roles_of(claims, &holdings)),
            policy: verdict.policy.unwrap_or_default(),
            revision,
        })
    }

    /// Whom a question is about: the caller, or a principal whom it may ask about.
    fn about(&self, by: Identity, principal: &str, action: &str, resource: &str) -> Result<Identity, Error> {
        if action.is_empty() || resource.is_empty() {
            return Err(Error::Invalid("name an action and a resource".to_owned()));
        }
        if principal.is_empty() { Ok(by) } else { self.other(&by, &principal.parse()?) }
    }
}

fn policy(candidate: Candidate, whole: bool) -> wire::ExplainedPolicy {
    let clauses = if whole { candidate.clauses } else { Vec::new() };
    wire::ExplainedPolicy {
        id: candidate.id,
        effect: candidate.effect.as_str().to_owned(),
        text: if whole { candidate.text } else { String::new() },
        in_scope: candidate.in_scope,
        applies: candidate.applies,
        clauses: clauses.into_iter().map(clause).collect(),
    }
}

fn clause(Clause { word, text, holds }: Clause) -> wire::ExplainedClause {
    let holds_now = holds == Ok(true);
    wire::ExplainedClause { word, text, holds: holds_now, error: holds.err().unwrap_or_default() }
}

fn role(HeldRole { role, scope, binding, path }: HeldRole) -> wire::HeldRole {
    let path = path.iter().map(ToString::to_string).collect();
    let (org, project) = convert::names(&scope);
    wire::HeldRole { role: role.to_string(), binding: binding.unwrap_or_default(), path, org, project }
}
