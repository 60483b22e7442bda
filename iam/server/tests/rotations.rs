//! Rotations as jobs: to the end, in pieces, back, and through the end of every server.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::time::Duration;

use holdfast_proto::iam::{
    ListRootsRequest, ListSigningKeysRequest, PlanRotationRequest, ResumeRotationRequest, RotationRequest,
    RotationResponse, StartRotationRequest, StepSigningKeyRequest,
};
use iam_server::Doors;
use support::{ADMIN_TOKEN, Environment, Plane, Running, bearer, open, with};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

const SOON: Duration = Duration::from_secs(20);
/// Verifiers' caches, and the longest life of a token or certificate with the leeway.
const CACHES: Duration = Duration::from_secs(300);
const TOKENS: Duration = Duration::from_secs(24 * 3600 + 30);
const RETIREMENT: Duration = Duration::from_secs(24 * 3600);

fn of<T>(message: T) -> tonic::Request<T> {
    with(ADMIN_TOKEN, message)
}

fn family() -> String {
    "signing-key".to_owned()
}

async fn start(plane: &Plane, until: &str) -> Result<RotationResponse, Status> {
    let request = StartRotationRequest { family: family(), until: until.into() };
    plane.rotation().start(of(request)).await.map(tonic::Response::into_inner)
}

async fn resume(plane: &Plane, until: &str) -> Result<RotationResponse, Status> {
    let request = ResumeRotationRequest { family: family(), until: until.into() };
    plane.rotation().resume(of(request)).await.map(tonic::Response::into_inner)
}

async fn abort(plane: &Plane) -> Result<RotationResponse, Status> {
    plane.rotation().abort(of(RotationRequest { family: family() })).await.map(tonic::Response::into_inner)
}

async fn status(plane: &Plane) -> RotationResponse {
    plane.rotation().status(of(RotationRequest { family: family() })).await.unwrap().into_inner()
}

/// Waits until the job is where `wanted` says: its state and the last stage that is done.
async fn reached(plane: &Plane, state: &str, done: &str) -> RotationResponse {
    let there = async {
        loop {
            let found = status(plane).await;
            if (found.state.as_str(), found.done.as_str()) == (state, done) {
                return found;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, there).await.unwrap_or_else(|_| panic!("not {state} after {done}"))
}

async fn states(plane: &Plane) -> Vec<String> {
    let keys = plane.admin().list_signing_keys(of(ListSigningKeysRequest {})).await.unwrap().into_inner().keys;
    keys.into_iter().map(|key| key.state).collect()
}

#[tokio::test]
async fn a_rotation_goes_on_as_soon_as_each_stage_is_safe() {
    let plane = Plane::start().await;
    let old = plane.principal("user/mira", "").await;
    let plan = plane.rotation().plan(of(PlanRotationRequest { family: family() })).await.unwrap().into_inner();
    let now_ms = plane.clock.now_ms.load(std::sync::atomic::Ordering::Relaxed);
    let times: Vec<_> =
        plan.stages.iter().map(|stage| (stage.stage.as_str(), (stage.possible_ms - now_ms) / 1000)).collect();
    assert_eq!(times, [("add", 0), ("activate", 300), ("retire", 300 + 86_430), ("purge", 300 + 86_430 + 86_400)]);
    assert_eq!((plan.stages[1].undo_step.as_str(), &plan.stages[1].undo_id), ("activate", &plan.from));
    assert_eq!(states(&plane).await, ["active"], "a plan changes nothing");

    let job = start(&plane, "").await.unwrap();
    assert_eq!((job.state.as_str(), job.done.as_str(), &job.from), ("running", "add", &plan.from));
    assert!(job.waits.contains("is pending; to activate it becomes possible in"), "{}", job.waits);
    let again = start(&plane, "").await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition, "{again}");
    plane.advance(CACHES);
    reached(&plane, "running", "activate").await;
    let new = plane.token("user/mira").await;
    for token in [&old, &new] {
        assert!(plane.bearer(token).await.is_ok(), "the overlap");
    }
    plane.advance(TOKENS);
    reached(&plane, "running", "retire").await;
    assert_eq!(states(&plane).await, ["retired", "active"]);
    plane.advance(RETIREMENT);
    let job = reached(&plane, "done", "purge").await;
    assert_eq!((states(&plane).await, job.left.unwrap().stages.len()), (vec!["active".to_owned()], 0));
    assert!(plane.bearer(&plane.token("user/mira").await).await.is_ok());
    assert_eq!(start(&plane, "add").await.unwrap().from, job.to, "another one");
}

#[tokio::test]
async fn authorities_rotate_as_signing_keys_do() {
    const FAMILY: &str = "authority";
    let plane = Plane::start().await;
    let roots = async || {
        let listed = plane.trust().list(of(ListRootsRequest {})).await.unwrap().into_inner().roots;
        listed.into_iter().map(|root| root.state).collect::<Vec<_>>()
    };
    let plan = plane.rotation().plan(of(PlanRotationRequest { family: FAMILY.into() })).await.unwrap().into_inner();
    let now_ms = plane.clock.now_ms.load(std::sync::atomic::Ordering::Relaxed);
    let times: Vec<_> = plan.stages.iter().map(|stage| (stage.possible_ms - now_ms) / 1000).collect();
    assert_eq!(times, [0, 300, 300 + 86_430, 300 + 86_430 + 86_400]);

    let request = StartRotationRequest { family: FAMILY.into(), until: String::new() };
    let job = plane.rotation().start(of(request)).await.unwrap().into_inner();
    assert_eq!((job.from, roots().await), (plan.from, vec!["active".to_owned(), "trusted".to_owned()]));
    for (advance, state, done, expected) in [
        (CACHES, "running", "activate", vec!["overlap", "active"]),
        (TOKENS, "running", "retire", vec!["removed", "active"]),
        (RETIREMENT, "done", "purge", vec!["active"]),
    ] {
        plane.advance(advance);
        let there = async {
            loop {
                let request = RotationRequest { family: FAMILY.into() };
                let found = plane.rotation().status(of(request)).await.unwrap().into_inner();
                if (found.state.as_str(), found.done.as_str()) == (state, done) {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(SOON, there).await.unwrap_or_else(|_| panic!("not {state} after {done}"));
        assert_eq!(roots().await, expected);
    }
    let issuing = plane.trust().list(of(ListRootsRequest {})).await.unwrap().into_inner().roots;
    assert!(issuing[0].id == job.to && issuing[0].own);
}

#[tokio::test]
async fn a_rotation_pauses_where_it_is_told() {
    let plane = Plane::start().await;
    assert_eq!(start(&plane, "sign").await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(resume(&plane, "").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(start(&plane, "add").await.unwrap().state, "paused");
    plane.advance(CACHES);
    resume(&plane, "activate").await.unwrap();
    let job = reached(&plane, "paused", "activate").await;
    assert_eq!(
        job.left.unwrap().stages.iter().map(|stage| stage.stage.as_str()).collect::<Vec<_>>(),
        ["retire", "purge"]
    );
    assert_eq!(resume(&plane, "activate").await.unwrap_err().code(), Code::InvalidArgument);
    resume(&plane, "").await.unwrap();
    let paused = plane.rotation().pause(of(RotationRequest { family: family() })).await.unwrap().into_inner();
    assert_eq!(paused.state, "paused");
    plane.advance(TOKENS);
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(status(&plane).await.done, "activate");
    resume(&plane, "").await.unwrap();
    reached(&plane, "running", "retire").await;
}

#[tokio::test]
async fn a_rotation_is_aborted_at_every_stage_and_tokens_of_both_keys_stay_good() {
    let plane = Plane::start().await;
    let old = plane.principal("user/mira", "").await;
    start(&plane, "add").await.unwrap();
    abort(&plane).await.unwrap();
    reached(&plane, "aborted", "add").await;
    assert_eq!(states(&plane).await, ["active", "retired"], "it never signed");

    start(&plane, "activate").await.unwrap();
    plane.advance(CACHES);
    reached(&plane, "paused", "activate").await;
    let new = plane.token("user/mira").await;
    assert_eq!(abort(&plane).await.unwrap().state, "aborting");
    let job = reached(&plane, "aborting", "add").await;
    assert_eq!(states(&plane).await, ["active", "retired", "verify-only"]);
    assert!(job.waits.contains("is verify-only; to retire it becomes possible in"), "{}", job.waits);
    for token in [&old, &new] {
        assert!(plane.bearer(token).await.is_ok());
    }
    plane.advance(TOKENS);
    reached(&plane, "aborted", "add").await;
    assert_eq!(states(&plane).await, ["active", "retired", "retired"]);

    start(&plane, "retire").await.unwrap();
    plane.advance(CACHES);
    reached(&plane, "running", "activate").await;
    plane.advance(TOKENS);
    reached(&plane, "paused", "retire").await;
    let late = abort(&plane).await.unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition);
    assert!(late.message().contains("it can only go on"), "{late}");
}

/// Between any two steps all servers end; others go on with what is stored.
#[tokio::test]
async fn a_rotation_outlives_every_server() {
    let mut plane = Plane::start().await;
    let old = plane.principal("user/mira", "").await;
    start(&plane, "").await.unwrap();
    let folder = TempDir::new().unwrap();
    let mut generation = 0;
    for (advance, done, expected) in [
        (CACHES, "activate", vec!["verify-only", "active"]),
        (TOKENS, "retire", vec!["retired", "active"]),
        (RETIREMENT, "purge", vec!["active"]),
    ] {
        let ended: Running = {
            generation += 1;
            let data = folder.path().join(generation.to_string());
            std::fs::create_dir_all(&data).unwrap();
            let (iam, running) = open(&plane.store, &plane.clock, &data, &Environment::default(), |_| {}).unwrap();
            assert_eq!(iam.settled().await, Doors::Open);
            plane.iam = iam;
            std::mem::replace(&mut plane.running, running)
        };
        ended.end().await;
        plane.advance(advance);
        reached(&plane, if done == "purge" { "done" } else { "running" }, done).await;
        assert_eq!(states(&plane).await, expected);
        assert_eq!(bearer(&plane.iam, &old).await.is_ok(), done == "activate");
    }
}

#[tokio::test]
async fn a_rotation_that_somebody_crossed_by_hand_pauses_and_says_why() {
    let plane = Plane::start().await;
    let job = start(&plane, "").await.unwrap();
    let retire = StepSigningKeyRequest { kid: job.to.clone(), ..Default::default() };
    plane.admin().retire_signing_key(of(retire)).await.unwrap();
    let job = reached(&plane, "paused", "add").await;
    assert!(job.trouble.contains("is retired; to activate it, add a new one"), "{}", job.trouble);
    abort(&plane).await.unwrap();
    reached(&plane, "aborted", "add").await;
}

/// Each step is one change, and the history has whose it was.
#[tokio::test]
async fn only_admins_rotate() {
    let plane = Plane::start().await;
    let auditor = plane.principal("user/noor", "auditor").await;
    let plan = plane.rotation().plan(with(&auditor, PlanRotationRequest { family: family() })).await;
    assert!(plan.is_ok());
    let start = StartRotationRequest { family: family(), until: String::new() };
    let denied = plane.rotation().start(with(&auditor, start)).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    let unknown = PlanRotationRequest { family: "moon".into() };
    let unknown = plane.rotation().plan(of(unknown)).await.unwrap_err();
    assert_eq!(unknown.message(), "\"moon\" does not rotate by jobs; these do: signing-key, authority, master-key");
}
