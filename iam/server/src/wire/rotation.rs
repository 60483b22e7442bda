use holdfast_proto::iam::{
    PlanRotationRequest, PlanRotationResponse, PlannedStage, ResumeRotationRequest, RotationProgress, RotationRequest,
    RotationResponse, StartRotationRequest, rotation_server::Rotation,
};
use iam_core::rotation::{FOREVER, Planned, Stage, Step, Undo};
use tonic::{Request, Response, Status, async_trait};

use super::convert;
use crate::{
    Error, Iam,
    rotate::{Order, Plan, Progress, Report},
};

type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl Rotation for Iam {
    async fn plan(&self, request: Request<PlanRotationRequest>) -> Answer<PlanRotationResponse> {
        let family = request.into_inner().family;
        let plan = self.plan_rotation(&family)?;
        Ok(Response::new(shown(family, plan)))
    }

    async fn start(&self, request: Request<StartRotationRequest>) -> Answer<RotationResponse> {
        let by = convert::caller(&request)?;
        let StartRotationRequest { family, until } = request.into_inner();
        let until = stage(&until)?.unwrap_or(Stage::Purge);
        let report = self.begin_rotation(&by, &family, until).await?;
        Ok(answer(family, report))
    }

    async fn status(&self, request: Request<RotationRequest>) -> Answer<RotationResponse> {
        let family = request.into_inner().family;
        let report = self.rotation(&family)?;
        Ok(answer(family, report))
    }

    async fn pause(&self, request: Request<RotationRequest>) -> Answer<RotationResponse> {
        order(self, convert::caller(&request)?, request.into_inner().family, Order::Pause).await
    }

    async fn resume(&self, request: Request<ResumeRotationRequest>) -> Answer<RotationResponse> {
        let by = convert::caller(&request)?;
        let ResumeRotationRequest { family, until } = request.into_inner();
        let until = stage(&until)?;
        order(self, by, family, Order::Resume(until)).await
    }

    async fn abort(&self, request: Request<RotationRequest>) -> Answer<RotationResponse> {
        order(self, convert::caller(&request)?, request.into_inner().family, Order::Abort).await
    }
}

async fn order(iam: &Iam, by: iam_client::Identity, family: String, order: Order) -> Answer<RotationResponse> {
    let report = iam.order_rotation(&by, &family, order).await?;
    Ok(answer(family, report))
}

fn stage(text: &str) -> Result<Option<Stage>, Error> {
    match text {
        "" => Ok(None),
        text => {
            let unknown = || Error::Invalid(format!("{text:?} is none of add, activate, retire and purge"));
            Stage::parse(text).map(Some).ok_or_else(unknown)
        }
    }
}

fn answer(family: String, report: Report) -> Response<RotationResponse> {
    let Report { job, revision, plan, waits, progress } = report;
    let progress = progress.map(|Progress { done, total }| RotationProgress { done, total });
    Response::new(RotationResponse {
        id: job.id,
        state: job.state.to_string(),
        from: job.from,
        to: job.to,
        done: job.done.to_string(),
        until: job.until.to_string(),
        started_by: job.started_by,
        started_ms: job.started_ms,
        changed_ms: job.changed_ms,
        trouble: job.trouble.unwrap_or_default(),
        waits: waits.unwrap_or_default(),
        left: Some(shown(family, plan)),
        revision,
        progress,
    })
}

fn shown(family: String, plan: Plan) -> PlanRotationResponse {
    let (longest_of, longest_ms) = plan.longest.unwrap_or_default();
    PlanRotationResponse {
        family,
        from: plan.from,
        to: plan.to.unwrap_or_default(),
        stages: plan.stages.into_iter().map(planned).collect(),
        behind: plan.behind.into_iter().map(convert::last_word).collect(),
        longest_of,
        longest_ms,
    }
}

fn planned(planned: Planned) -> PlannedStage {
    let (undo_step, undo_id) = match planned.undo {
        None => (String::new(), String::new()),
        Some(Undo::Activate(id)) => (Step::Activate.to_string(), id),
        Some(Undo::Retire(id)) => (Step::Retire.to_string(), id.unwrap_or_default()),
    };
    PlannedStage {
        stage: planned.stage.to_string(),
        id: planned.id.unwrap_or_default(),
        possible_ms: Some(planned.possible_ms).filter(|at| *at != FOREVER).unwrap_or_default(),
        waiting_for: planned.waiting_for.into_iter().map(convert::last_word).collect(),
        undo_step,
        undo_id,
    }
}
