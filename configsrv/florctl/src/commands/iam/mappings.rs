use holdfast_proto::iam::{
    AddMappingRequest, DropMappingRequest, ListMappingsRequest, MappingStep, MappingsResponse, StepMappingRequest,
    trust_client::TrustClient,
};
use serde_json::{Value, json};

use super::trust::{closed, enforced};
use crate::{
    cli::{Mapping, MappingRule},
    failure::Failure,
    output::{Format, Table, moment},
    remote::{Channel, refused},
};

pub(super) async fn run(command: Mapping, mut client: TrustClient<Channel>, output: Format) -> Result<(), Failure> {
    let rehearsed = command.is_rehearsal();
    let answer = match command {
        Mapping::List => client.list_mappings(ListMappingsRequest {}).await,
        Mapping::Add { principal, name, authority, dry_run } => {
            let authority = authority.unwrap_or_default();
            client.add_mapping(AddMappingRequest { principal, name, authority, dry_run }).await
        }
        Mapping::Activate { rule, now } => {
            client.step_mapping(StepMappingRequest { now, ..step(rule, MappingStep::Activate) }).await
        }
        Mapping::Remove(rule) => client.step_mapping(step(rule, MappingStep::Remove)).await,
        Mapping::Distrust(rule) => client.step_mapping(step(rule, MappingStep::Distrust)).await,
        Mapping::Purge(rule) => client.step_mapping(step(rule, MappingStep::Purge)).await,
        Mapping::Drop { principal, dry_run } => client.drop_mapping(DropMappingRequest { principal, dry_run }).await,
    };
    show(&answer.map_err(refused)?.into_inner(), rehearsed, output)
}

fn step(rule: MappingRule, step: MappingStep) -> StepMappingRequest {
    let MappingRule { principal, name, dry_run, force } = rule;
    StepMappingRequest { principal, name, step: step.into(), force, dry_run, ..StepMappingRequest::default() }
}

impl Mapping {
    fn is_rehearsal(&self) -> bool {
        match self {
            Self::List => false,
            Self::Add { dry_run, .. } | Self::Drop { dry_run, .. } => *dry_run,
            Self::Activate { rule, .. } | Self::Remove(rule) | Self::Distrust(rule) | Self::Purge(rule) => rule.dry_run,
        }
    }
}

fn show(answer: &MappingsResponse, rehearsed: bool, output: Format) -> Result<(), Failure> {
    let rules = answer.rules.iter().map(|rule| {
        json!({
            "principal": rule.principal,
            "name": rule.name,
            "authority": rule.authority,
            "state": rule.state,
            "added_ms": rule.added_ms,
            "activated_ms": rule.activated_ms,
            "superseded_ms": rule.superseded_ms,
            "removed_ms": rule.removed_ms,
            "next_step_ms": rule.next_step_ms,
        })
    });
    let value = json!({
        "rules": rules.collect::<Vec<Value>>(),
        "revision": answer.revision,
        "breaks": answer.breaks,
        "enforced": enforced(&answer.enforced),
        "dry_run": rehearsed,
    });
    output.print(&value, || {
        let mut table = Table::new(&["PRINCIPAL", "NAME", "AUTHORITY", "STATE", "NEXT STEP FROM"]);
        for rule in &answer.rules {
            let authority = if rule.authority.is_empty() { "any" } else { &rule.authority };
            table.row([
                rule.principal.clone(),
                rule.name.clone(),
                authority.to_owned(),
                rule.state.clone(),
                moment(Some(rule.next_step_ms)),
            ]);
        }
        let breaks = if answer.breaks.is_empty() { String::new() } else { format!("by force: {}\n", answer.breaks) };
        let rehearsal = if rehearsed { "nothing was changed: this was a rehearsal" } else { "" };
        format!("{table}{breaks}{}{rehearsal}", closed(&answer.enforced))
    })
}
