use holdfast_proto::iam::{
    LastWord, PlanRotationRequest, PlanRotationResponse, PlannedStage, ResumeRotationRequest, RotationRequest,
    RotationResponse, StartRotationRequest, rotation_client::RotationClient,
};
use serde_json::{Value, json};

use crate::{
    cli::{Rotate, RotateOrder},
    failure::Failure,
    output::{Format, Table, moment},
    remote::{Channel, refused},
};

pub(super) async fn run(command: Rotate, channel: Channel, output: Format) -> Result<(), Failure> {
    let mut client = RotationClient::new(channel);
    let Rotate { family, plan, until, order } = command;
    let request = RotationRequest { family: family.clone() };
    let answer = match order {
        None if plan => {
            let plan = client.plan(PlanRotationRequest { family }).await.map_err(refused)?.into_inner();
            return output.print(&plan_value(&plan), || plan_text(&plan));
        }
        None => client.start(StartRotationRequest { family, until: until.unwrap_or_default() }).await,
        Some(RotateOrder::Status) => client.status(request).await,
        Some(RotateOrder::Pause) => client.pause(request).await,
        Some(RotateOrder::Resume { until }) => {
            client.resume(ResumeRotationRequest { family, until: until.unwrap_or_default() }).await
        }
        Some(RotateOrder::Abort) => client.abort(request).await,
    };
    let job = answer.map_err(refused)?.into_inner();
    let left = job.left.clone().unwrap_or_default();
    output.print(&job_value(&job, &left), || job_text(&job, &left))
}

fn job_value(job: &RotationResponse, left: &PlanRotationResponse) -> Value {
    json!({
        "id": job.id,
        "family": left.family,
        "state": job.state,
        "from": job.from,
        "to": job.to,
        "done": job.done,
        "until": job.until,
        "started_by": job.started_by,
        "started_ms": job.started_ms,
        "changed_ms": job.changed_ms,
        "trouble": job.trouble,
        "waits": job.waits,
        "progress": job.progress.map(|progress| json!({ "done": progress.done, "total": progress.total })),
        "left": plan_value(left),
        "revision": job.revision,
    })
}

fn job_text(job: &RotationResponse, left: &PlanRotationResponse) -> String {
    let mut table = Table::new(&["ROTATION", "STATE", "DONE", "UNTIL", "OLD", "NEW", "SINCE", "BY"]);
    table.row([
        job.id.clone(),
        job.state.clone(),
        job.done.clone(),
        job.until.clone(),
        job.from.clone(),
        job.to.clone(),
        moment(Some(job.started_ms)),
        job.started_by.clone(),
    ]);
    let line = |word: &str, text: &str| if text.is_empty() { String::new() } else { format!("{word}: {text}\n") };
    let left = if left.stages.is_empty() { String::new() } else { format!("\n{}", plan_text(left)) };
    let progress = job.progress.map(|progress| format!("{} of {} sealed anew", progress.done, progress.total));
    let progress = line("progress", &progress.unwrap_or_default());
    format!("{table}{}{}{progress}{left}", line("trouble", &job.trouble), line("waits", &job.waits))
}

fn plan_value(plan: &PlanRotationResponse) -> Value {
    let stages = plan.stages.iter().map(|stage| {
        json!({
            "stage": stage.stage,
            "id": stage.id,
            "possible_ms": stage.possible_ms,
            "waiting_for": stage.waiting_for.iter().map(word_value).collect::<Vec<_>>(),
            "undo": undo(&plan.family, stage),
        })
    });
    json!({
        "family": plan.family,
        "from": plan.from,
        "to": plan.to,
        "stages": stages.collect::<Vec<_>>(),
        "behind": plan.behind.iter().map(word_value).collect::<Vec<_>>(),
        "longest": { "made_by": plan.longest_of, "until_ms": plan.longest_ms },
    })
}

fn plan_text(plan: &PlanRotationResponse) -> String {
    let mut table = Table::new(&["STAGE", "OF", "SAFE FROM", "WAITS FOR", "TO UNDO IT"]);
    for stage in &plan.stages {
        let id = if stage.id.is_empty() { "(new)" } else { stage.id.as_str() };
        let waits = stage.waiting_for.iter().map(|word| word.verifier.as_str()).collect::<Vec<_>>().join(" ");
        let undo = undo(&plan.family, stage).unwrap_or_else(|| "-".to_owned());
        table.row([stage.stage.clone(), id.to_owned(), moment(Some(stage.possible_ms)), waits, undo]);
    }
    let behind: String = plan
        .behind
        .iter()
        .map(|word| format!("behind: {}, last word {}\n", word.verifier, moment(Some(word.acknowledged_ms))))
        .collect();
    let longest = match plan.longest_ms {
        0 => String::new(),
        until_ms => format!("what {} made lasts longest: until {}\n", plan.longest_of, moment(Some(until_ms))),
    };
    format!("{table}{behind}{longest}")
}

/// The command that takes a stage back.
fn undo(family: &str, stage: &PlannedStage) -> Option<String> {
    let id = if stage.undo_id.is_empty() { "NEW" } else { &stage.undo_id };
    match (family, stage.undo_step.as_str()) {
        (_, "") => None,
        ("signing-key", step) => Some(format!("florctl iam key {step} {id}")),
        ("authority", "retire") => Some(format!("florctl iam trust remove {id}")),
        ("authority", step) => Some(format!("florctl iam trust {step} {id}")),
        (family, _) => Some(format!("florctl iam rotate abort --family {family}")),
    }
}

fn word_value(word: &LastWord) -> Value {
    json!({ "verifier": word.verifier, "acknowledged_ms": word.acknowledged_ms })
}
