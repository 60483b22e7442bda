use holdfast_proto::iam::{
    self as wire, AddMappingRequest, DropMappingRequest, MappingStep, MappingsResponse, StepMappingRequest,
};
use iam_core::{
    mapping::{Mapped, Mappings, Rule},
    rotation::{Item, Step, Waive},
    trust::word,
};
use tonic::{Request, Response, Status};

use super::{convert, trust::enforced};
use crate::{Error, Iam, mappings::Changed, records::Versioned, signing::StepOptions};

pub(super) fn list(iam: &Iam) -> Result<Response<MappingsResponse>, Status> {
    Ok(Response::new(shown(iam, &*iam.mappings()?)?))
}

pub(super) async fn add(iam: &Iam, request: Request<AddMappingRequest>) -> Result<Response<MappingsResponse>, Status> {
    let by = convert::caller(&request)?;
    let AddMappingRequest { principal, name, authority, dry_run } = request.into_inner();
    let (mapped, name) = (mapped(&principal)?, name.parse().map_err(Error::Mapping)?);
    let authority = Some(authority).filter(|id| !id.is_empty());
    answer(iam, iam.add_mapping(&by, mapped, name, authority, dry_run).await?)
}

pub(super) async fn step(
    iam: &Iam,
    request: Request<StepMappingRequest>,
) -> Result<Response<MappingsResponse>, Status> {
    let by = convert::caller(&request)?;
    let request = request.into_inner();
    let step = match request.step() {
        MappingStep::Unspecified => return Err(Error::Invalid("which step?".to_owned()).into()),
        MappingStep::Activate => Step::Activate,
        MappingStep::Remove => Step::Retire,
        MappingStep::Distrust => Step::Compromise,
        MappingStep::Purge => Step::Purge,
    };
    let StepMappingRequest { principal, name, now, force, dry_run, expected_revision, .. } = request;
    let options = StepOptions { dry_run, ..convert::step_options(now, force, expected_revision) };
    answer(iam, iam.step_mapping(&by, &mapped(&principal)?, &name, step, options).await?)
}

pub(super) async fn forget(
    iam: &Iam,
    request: Request<DropMappingRequest>,
) -> Result<Response<MappingsResponse>, Status> {
    let by = convert::caller(&request)?;
    let DropMappingRequest { principal, dry_run } = request.into_inner();
    answer(iam, iam.drop_mapping(&by, &mapped(&principal)?, dry_run).await?)
}

fn mapped(principal: &str) -> Result<Mapped, Error> {
    Ok(principal.parse()?)
}

fn answer(iam: &Iam, changed: Changed) -> Result<Response<MappingsResponse>, Status> {
    let rules = shown(iam, &changed.mappings)?;
    let enforced = changed.enforced.into_iter().map(enforced).collect();
    Ok(Response::new(MappingsResponse { breaks: changed.breaks, enforced, ..rules }))
}

fn shown(iam: &Iam, mappings: &Versioned<Mappings>) -> Result<MappingsResponse, Error> {
    let all = mappings.value.0.iter().flat_map(|(mapped, rules)| rules.items.iter().map(move |item| (mapped, item)));
    let rules = all.map(|(mapped, item)| rule(iam, mapped, item, mappings.revision)).collect::<Result<_, Error>>()?;
    Ok(MappingsResponse { rules, revision: mappings.revision, ..MappingsResponse::default() })
}

fn rule(iam: &Iam, mapped: &Mapped, rule: &Item<Rule>, version: u64) -> Result<wire::MappingRule, Error> {
    let judge = iam.0.judge_trust(rule.state, version)?;
    Ok(wire::MappingRule {
        principal: mapped.to_string(),
        name: rule.id.clone(),
        authority: rule.value.authority.clone().unwrap_or_default(),
        state: word(rule.state).to_owned(),
        added_ms: rule.added_ms,
        activated_ms: rule.activated_ms.unwrap_or_default(),
        superseded_ms: rule.superseded_ms.unwrap_or_default(),
        removed_ms: rule.retired_ms.unwrap_or_default(),
        next_step_ms: rule.next_step_ms(&judge.terms(Waive::Nothing)).unwrap_or_default(),
    })
}
