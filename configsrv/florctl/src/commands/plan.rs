use configsrv_fleet::{Finding, Payload, Plan, Version, compile::payloads, lockout, plan::listed};
use serde_json::{Value, json};

use super::diff;
use crate::{
    cli,
    failure::{Code, Failure, REVOKED_ELSEWHERE},
    output::Format,
    settings::Settings,
    workspace::Workspace,
};

/// What publishing the repository as it is would do, against what the servers have.
pub(super) async fn run(options: &cli::Plan, settings: &Settings, output: Format) -> Result<Code, Failure> {
    let workspace = Workspace::open(&options.repository)?;
    let new: Vec<Payload> = payloads(&workspace.fleet()?)?.into_values().collect();
    let http = workspace.servers(settings, None)?;
    workspace.check_cluster(&http).await?;
    let published = http.published(&new, &workspace.trusted()?).await?;
    let plan = Plan::between(&published.payloads, &new);
    // Who signs is known when it is compiled.
    let lockouts = lockout(&published.payloads, &new, None);
    let revoked = workspace.revoked(&http).await?;
    for finding in &revoked {
        eprintln!("{finding}");
    }
    if !revoked.is_empty() {
        eprintln!("warning: publish refuses this: {REVOKED_ELSEWHERE}");
    }
    let value = to_json(published.version, &plan, &lockouts, &revoked);
    output.print(&value, || to_text(published.version, &plan, &lockouts))?;
    Ok(if options.exit_code && !plan.diff.is_empty() { Code::Differs } else { Code::Done })
}

fn to_json(on: Version, plan: &Plan, lockouts: &[Finding], revoked: &[Finding]) -> Value {
    let diff = &plan.diff;
    json!({
        "on_top_of": on,
        "nodes": plan.nodes,
        "unchanged": plan.unchanged(),
        "groups": plan.groups,
        "added": diff.added,
        "removed": diff.removed,
        "access": diff.access,
        "restarts": diff.restarts().collect::<Vec<_>>(),
        "order": plan.order,
        "two_steps": plan.two_steps,
        "lockout": lockouts,
        "revoked": revoked,
        "guard": plan.guard(),
    })
}

/// What changes where, who gains and loses, and then what to do about it.
fn to_text(on: Version, plan: &Plan, lockouts: &[Finding]) -> String {
    let diff = &plan.diff;
    if diff.is_empty() {
        return format!("nothing to publish: the servers have this as version {on}");
    }
    let (changed, added, removed) = (diff.changed.len(), diff.added.len(), diff.removed.len());
    let mut text = match on {
        Version::NONE => format!("the first version, for {} nodes\n", plan.nodes),
        on => format!("on top of version {on}: {} nodes, {changed} change, {added} new, {removed} gone\n", plan.nodes),
    };
    for group in &plan.groups {
        text += &format!("\n{}\n", group.summary());
        if group.nodes.len() > 1 {
            text += &format!("  {}\n", listed(&group.nodes));
        }
    }
    if added > 0 {
        text += &format!("\nnew: {}\n", listed(&diff.added));
    }
    if removed > 0 {
        text +=
            &format!("\ngone: {}; they go on with what they have until somebody stops them\n", listed(&diff.removed));
    }
    text += &format!("\n{}\n{}", diff.access, diff::restarts(diff));
    for finding in lockouts {
        text += &format!("warning[{}]: {}\n", finding.rule, finding.message);
    }
    if plan.order.len() > 1 {
        text += "\norder:\n";
        for (at, turn) in (1..).zip(&plan.order) {
            text += &format!("  {at}. {}: {}\n", listed(&turn.nodes), turn.why);
        }
    }
    for steps in &plan.two_steps {
        text += &format!(
            "\n{}: without a break it takes two versions\n  expand: {}\n  contract: {}\n",
            steps.what, steps.expand, steps.contract
        );
    }
    format!("{text}\n{}\n", plan.guard())
}
