use std::{fs, path::Path};

use holdfast_proto::iam::{
    self, DeletePolicyRequest, ExplainRequest, ExplainResponse, ExplainedPolicy, GetPolicyRequest, GetSchemaRequest,
    ListPoliciesRequest, Page, PolicyChange, PutPolicyRequest, SimulateRequest, SimulateResponse,
    authz_client::AuthzClient, policies_client::PoliciesClient,
};
use serde_json::{Value, json};

use super::{PAGE, directory::within};
use crate::{
    cli::{Explain, Policy},
    failure::Failure,
    output::{Format, Table, moment},
    remote::{Channel, refused},
};

pub(super) async fn policy(command: Policy, channel: Channel, output: Format) -> Result<(), Failure> {
    let mut client = PoliciesClient::new(channel);
    match command {
        Policy::Put { id, file, note, expected_revision, dry_run } => {
            let text = read(&file)?;
            let request = PutPolicyRequest { id: id.clone(), text, note, expected_revision, dry_run };
            let revision = client.put(request).await.map_err(refused)?.into_inner().revision;
            output.print(&json!({ "id": id, "revision": revision }), || match dry_run {
                true => format!("{id} can come into force"),
                false => format!("{id} is in force, revision {revision}"),
            })
        }
        Policy::Delete { id, expected_revision } => {
            let request = DeletePolicyRequest { id: id.clone(), expected_revision };
            let revision = client.delete(request).await.map_err(refused)?.into_inner().revision;
            output.print(&json!({ "id": id, "revision": revision }), || format!("{id} is no longer in force"))
        }
        Policy::Simulate { id, file, delete: _ } => {
            let text = file.as_deref().map(read).transpose()?.unwrap_or_default();
            let request = SimulateRequest { changes: vec![PolicyChange { id, text }] };
            let answer = client.simulate(request).await.map_err(refused)?.into_inner();
            output.print(&simulated(&answer), || differences(&answer))
        }
        Policy::Show { id } => {
            let found = client.get(GetPolicyRequest { id }).await.map_err(refused)?.into_inner().policy;
            let found = found.unwrap_or_default();
            output.print(&value(&found), || found.text.clone())
        }
        Policy::List => list(client, output).await,
        Policy::Schema => {
            let found = client.get_schema(GetSchemaRequest {}).await.map_err(refused)?.into_inner();
            output.print(&json!({ "schema": found.schema, "builtin": found.builtin }), || {
                format!("{}\n{}", found.schema, found.builtin)
            })
        }
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    let text =
        if file == Path::new("-") { std::io::read_to_string(std::io::stdin()) } else { fs::read_to_string(file) };
    text.map_err(|error| Failure::file(file, &error))
}

async fn list(mut client: PoliciesClient<Channel>, output: Format) -> Result<(), Failure> {
    let mut all = Vec::new();
    let mut token = String::new();
    loop {
        let request = ListPoliciesRequest { page: Some(Page { size: PAGE, token }) };
        let answer = client.list(request).await.map_err(refused)?.into_inner();
        all.extend(answer.policies);
        token = answer.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    output.print(&all.iter().map(value).collect::<Vec<_>>(), || {
        let mut table = Table::new(&["POLICY", "CHANGED", "BY", "REVISION", "NOTE"]);
        for policy in &all {
            table.row([
                policy.id.clone(),
                moment(Some(policy.changed_ms)),
                policy.changed_by.clone(),
                policy.revision.to_string(),
                policy.note.clone(),
            ]);
        }
        table.to_string()
    })
}

fn value(policy: &iam::Policy) -> Value {
    json!({
        "id": policy.id,
        "text": policy.text,
        "note": policy.note,
        "created_ms": policy.created_ms,
        "changed_ms": policy.changed_ms,
        "changed_by": policy.changed_by,
        "revision": policy.revision,
    })
}

fn simulated(answer: &SimulateResponse) -> Value {
    let changed: Vec<Value> = answer
        .changed
        .iter()
        .map(|changed| {
            json!({
                "principal": changed.principal,
                "action": changed.action,
                "resource": changed.resource,
                "source": changed.source,
                "times": changed.times,
                "last_ms": changed.last_ms,
                "allowed_now": changed.allowed_now,
                "policy_now": changed.policy_now,
                "allowed_then": changed.allowed_then,
                "policy_then": changed.policy_then,
            })
        })
        .collect();
    json!({
        "server": answer.server,
        "decisions": answer.decisions,
        "since_ms": answer.since_ms,
        "changed": changed,
        "changed_total": answer.changed_total,
        "incomplete": answer.incomplete,
    })
}

fn differences(answer: &SimulateResponse) -> String {
    let mut table = Table::new(&["WOULD BE", "PRINCIPAL", "ACTION", "RESOURCE", "FROM", "TIMES", "LAST", "BY"]);
    for changed in &answer.changed {
        table.row([
            if changed.allowed_then { "allowed" } else { "denied" }.to_owned(),
            changed.principal.clone(),
            changed.action.clone(),
            changed.resource.clone(),
            changed.source.clone(),
            changed.times.to_string(),
            moment(Some(changed.last_ms)),
            if changed.policy_then.is_empty() { "nothing permits it" } else { &changed.policy_then }.to_owned(),
        ]);
    }
    let SimulateResponse { server, decisions, since_ms, changed_total, incomplete, .. } = answer;
    let latest = if *incomplete { "the latest " } else { "" };
    let since = moment(Some(*since_ms));
    format!("{table}{changed_total} of {latest}{decisions} decisions of {server} since {since} would change")
}

pub(super) async fn explain(question: Explain, channel: Channel, output: Format) -> Result<(), Failure> {
    let Explain { principal, action, resource, source, at } = question;
    let request = ExplainRequest { principal, action, resource, source, time_ms: at };
    let answer = AuthzClient::new(channel).explain(request).await.map_err(refused)?.into_inner();
    let policies: Vec<Value> = answer.policies.iter().map(explained).collect();
    let roles: Vec<Value> = answer
        .roles
        .iter()
        .map(|held| {
            json!({
                "role": held.role,
                "org": held.org,
                "project": held.project,
                "binding": held.binding,
                "path": held.path,
            })
        })
        .collect();
    let value = json!({
        "allowed": answer.allowed,
        "outside_scope": answer.outside_scope,
        "policy": answer.policy,
        "errors": answer.errors,
        "policies": policies,
        "roles": roles,
        "groups": answer.groups,
        "revision": answer.revision,
    });
    output.print(&value, || told(&answer))
}

fn explained(policy: &ExplainedPolicy) -> Value {
    let clauses: Vec<Value> = policy
        .clauses
        .iter()
        .map(|clause| json!({ "word": clause.word, "text": clause.text, "holds": clause.holds, "error": clause.error }))
        .collect();
    json!({
        "id": policy.id,
        "effect": policy.effect,
        "text": policy.text,
        "in_scope": policy.in_scope,
        "applies": policy.applies,
        "clauses": clauses,
    })
}

/// For people: the decision, what was near it, and where the roles come from.
fn told(answer: &ExplainResponse) -> String {
    let decision = match (answer.allowed, answer.policy.as_str()) {
        (true, policy) => format!("allowed by {policy}"),
        (false, _) if !answer.errors.is_empty() => "denied: a policy cannot be evaluated".to_owned(),
        (false, "") => "denied: nothing permits it".to_owned(),
        (false, policy) => format!("denied by {policy}"),
    };
    let mut lines = vec![decision];
    if answer.outside_scope {
        lines.push(
            "the owner of this token would be allowed: it is outside the roles to which the token is narrowed".into(),
        );
    }
    lines.extend(answer.errors.iter().map(|error| format!("  error: {error}")));
    for policy in answer.policies.iter().filter(|policy| policy.in_scope) {
        let say = if policy.applies { "applies" } else { "does not apply" };
        lines.push(format!("{} {} {say}", policy.effect, policy.id));
        for clause in &policy.clauses {
            let holds = match (clause.holds, clause.error.as_str()) {
                (true, _) => "holds",
                (false, "") => "does not hold",
                (false, error) => error,
            };
            lines.push(format!("  {} {{ {} }}: {holds}", clause.word, clause.text));
        }
    }
    for held in &answer.roles {
        let binding =
            if held.binding.is_empty() { "every node".to_owned() } else { format!("binding {}", held.binding) };
        let within = match within(&held.org, &held.project) {
            within if within.is_empty() => within,
            within => format!(" within {within}"),
        };
        lines.push(format!("role {}{within} from {binding}: {}", held.role, held.path.join(" in ")));
    }
    lines.join("\n")
}
