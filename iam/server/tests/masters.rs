//! The rotation of the master key: who has to hold what when, and that every secret moves.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::{collections::BTreeSet, time::Duration};

use chainfire_client::SystemStore as _;
use holdfast_proto::iam::{
    CreateCredentialRequest, Credential, PlanRotationRequest, ResumeRotationRequest, RotationRequest, RotationResponse,
    StartRotationRequest,
};
use iam_client::{Authority as _, Presented};
use iam_core::{
    master::Resealing,
    record::{Record as _, key},
    seal::{MASTER_KEY as LENGTH, MasterKey, Sealed},
};
use iam_server::{Doors, Iam, Settings, cached_check};
use support::{ADMIN_TOKEN, Environment, MASTER_KEY, Plane, bearer, open, with};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

const SOON: Duration = Duration::from_secs(20);
const RETIREMENT: Duration = Duration::from_secs(24 * 3600);
/// More than one change moves.
const SECRETS: usize = 150;

fn new_key() -> String {
    "5a".repeat(LENGTH)
}

fn environment(current: &str, previous: Option<&str>) -> Environment {
    Environment { master_key: current.into(), previous_master_key: previous.map(Into::into), ..Environment::default() }
}

fn rotating() -> Environment {
    environment(&new_key(), Some(MASTER_KEY))
}

fn named(key: &str) -> MasterKey {
    MasterKey::new(hex::decode(key).unwrap().try_into().unwrap())
}

fn of<T>(message: T) -> tonic::Request<T> {
    with(ADMIN_TOKEN, message)
}

fn family() -> String {
    "master-key".to_owned()
}

fn member(name: &'static str) -> impl FnOnce(&mut Settings) {
    move |settings| {
        settings.member = name.to_owned();
        settings.members = ["s1", "s2"].map(str::to_owned).into();
    }
}

/// Access keys with their secrets.
struct Logins(Vec<(String, String)>);

impl Logins {
    /// Some of several principals.
    async fn make(plane: &Plane, prefix: &str, count: usize) -> Self {
        let mut logins = Vec::new();
        for at in 0..count {
            let principal = format!("service/{prefix}{}", at / 5);
            if at % 5 == 0 {
                plane.principal(&principal, "").await;
            }
            let create = CreateCredentialRequest { principal, note: String::new() };
            let made = plane.credentials().create(of(create)).await.unwrap().into_inner();
            let Credential { access_key_id, .. } = made.credential.unwrap();
            logins.push((access_key_id, made.secret));
        }
        Self(logins)
    }

    async fn are_known(&self, iam: &Iam) {
        for basic in &self.0 {
            let presented = Presented { basic: Some(basic.clone()), ..Presented::default() };
            iam.authenticate(presented).await.unwrap();
        }
    }
}

async fn start(plane: &Plane, until: &str) -> Result<RotationResponse, Status> {
    let request = StartRotationRequest { family: family(), until: until.into() };
    plane.rotation().start(of(request)).await.map(tonic::Response::into_inner)
}

async fn resume(plane: &Plane, until: &str) {
    let request = ResumeRotationRequest { family: family(), until: until.into() };
    plane.rotation().resume(of(request)).await.unwrap();
}

async fn abort(plane: &Plane) -> RotationResponse {
    plane.rotation().abort(of(RotationRequest { family: family() })).await.unwrap().into_inner()
}

async fn status(plane: &Plane) -> RotationResponse {
    plane.rotation().status(of(RotationRequest { family: family() })).await.unwrap().into_inner()
}

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

/// The names of the master keys that secrets are sealed with now.
fn sealed_with(plane: &Plane) -> BTreeSet<String> {
    let page = plane.store.list(key::SEALED.as_bytes(), None, 1000).unwrap();
    assert!(!page.more);
    page.records.iter().map(|record| Sealed::decode(&record.value).unwrap().master).collect()
}

/// The server ends and starts with another environment.
async fn restart(plane: &mut Plane, environment: &Environment, change: impl FnOnce(&mut Settings)) -> Doors {
    let folder = TempDir::new().unwrap();
    let (iam, running) = open(&plane.store, &plane.clock, folder.path(), environment, change).unwrap();
    let doors = iam.settled().await;
    (plane.iam, plane.folder) = (iam, folder);
    std::mem::replace(&mut plane.running, running).end().await;
    doors
}

async fn doors_with(plane: &Plane, environment: &Environment) -> Doors {
    let folder = TempDir::new().unwrap();
    let (iam, running) = open(&plane.store, &plane.clock, folder.path(), environment, |_| {}).unwrap();
    let doors = iam.settled().await;
    running.end().await;
    doors
}

fn closed(doors: &Doors) -> String {
    match doors {
        Doors::Closed(reasons) => reasons.join("; "),
        Doors::Open | Doors::Starting(_) => panic!("{doors:?}"),
    }
}

#[tokio::test]
async fn every_secret_moves_and_then_nobody_needs_the_old_key() {
    let mut plane = Plane::start().await;
    let (old, new) = (named(MASTER_KEY), named(&new_key()));
    let token = plane.principal("user/mira", "reader").await;
    let before = Logins::make(&plane, "before", SECRETS).await;
    let early = start(&plane, "").await.unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition);
    assert!(early.message().contains("start the servers with a new one"), "{early}");

    assert_eq!(restart(&mut plane, &rotating(), |_| {}).await, Doors::Open);
    let plan = plane.rotation().plan(of(PlanRotationRequest { family: family() })).await.unwrap().into_inner();
    let stages: Vec<_> = plan.stages.iter().map(|stage| stage.stage.as_str()).collect();
    assert_eq!((stages.as_slice(), plan.from), (&["add", "activate", "retire", "purge"][..], old.id()));
    let job = start(&plane, "add").await.unwrap();
    assert_eq!((job.from, job.to), (old.id(), new.id()));
    assert_eq!(sealed_with(&plane), [old.id()].into());
    assert_eq!(cached_check(plane.folder.path()).unwrap(), Some(old.check()));

    resume(&plane, "activate").await;
    reached(&plane, "paused", "activate").await;
    before.are_known(&plane.iam).await;
    let between = Logins::make(&plane, "between", 1).await;
    assert_eq!(sealed_with(&plane), [old.id(), new.id()].into(), "what is new is sealed with the new one");
    let reason = closed(&doors_with(&plane, &environment(&new_key(), None)).await);
    assert!(reason.contains("as IAM_CRED_MASTER_KEY_PREVIOUS until its rotation has retired it"), "{reason}");

    let paused = status(&plane).await;
    assert_eq!(paused.progress, None, "nothing moves while it is paused");
    resume(&plane, "retire").await;
    reached(&plane, "paused", "retire").await;
    assert_eq!(sealed_with(&plane), [new.id()].into());
    let way = plane.store.get(key::RESEALING).unwrap().unwrap();
    let way = Resealing::decode(&way.value).unwrap();
    // Those of the logins, of the first signing key, and of the authority.
    assert_eq!((way.complete, way.resealed, way.total), (true, SECRETS as u64 + 3, SECRETS as u64 + 3));
    assert_eq!(cached_check(plane.folder.path()).unwrap(), Some(new.check()), "for the next start");

    assert_eq!(restart(&mut plane, &environment(&new_key(), None), |_| {}).await, Doors::Open);
    for logins in [&before, &between] {
        logins.are_known(&plane.iam).await;
    }
    assert!(plane.bearer(&token).await.is_ok() && plane.bearer(ADMIN_TOKEN).await.is_ok());
    assert!(plane.bearer(&plane.token("user/mira").await).await.is_ok(), "the signing key opens");
    let reason = closed(&doors_with(&plane, &Environment::default()).await);
    assert!(reason.contains("IAM_CRED_MASTER_KEY is one that was replaced"), "{reason}");
    let other_token =
        Environment { admin_token: "another-token-0123456789-abcdefgh".into(), ..environment(&new_key(), None) };
    assert!(closed(&doors_with(&plane, &other_token).await).contains("IAM_ADMIN_TOKEN"));

    resume(&plane, "").await;
    plane.advance(RETIREMENT);
    reached(&plane, "done", "purge").await;
    let reason = closed(&doors_with(&plane, &Environment::default()).await);
    assert!(reason.contains("IAM_CRED_MASTER_KEY is not the cluster's"), "{reason}");
}

#[tokio::test]
async fn a_server_without_the_new_key_is_waited_for_however_long_that_takes() {
    let mut plane = Plane::set_up(Environment::default(), member("s1")).await;
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let second = |plane: &Plane, folder: &TempDir, environment: &Environment| {
        open(&plane.store, &plane.clock, folder.path(), environment, member("s2")).unwrap()
    };
    let (iam, with_the_old_one) = second(&plane, &folders[0], &Environment::default());
    assert_eq!(iam.settled().await, Doors::Open);
    restart(&mut plane, &rotating(), member("s1")).await;
    let only_the_other = async {
        loop {
            let plan = plane.rotation().plan(of(PlanRotationRequest { family: family() })).await.unwrap().into_inner();
            let behind: Vec<_> = plan.behind.into_iter().map(|word| word.verifier).collect();
            if behind == ["server/s2"] {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, only_the_other).await.unwrap();
    let job = start(&plane, "").await.unwrap();
    assert!(job.waits.contains("it becomes possible once these acknowledge: server/s2 ("), "{}", job.waits);
    let activate = &job.left.unwrap().stages[0];
    assert_eq!((activate.possible_ms, activate.waiting_for[0].verifier.as_str()), (0, "server/s2"));
    plane.advance(RETIREMENT * 100);
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(status(&plane).await.done, "add");
    with_the_old_one.end().await;
    let (iam, running) = second(&plane, &folders[1], &rotating());
    assert_eq!(iam.settled().await, Doors::Open);
    reached(&plane, "running", "retire").await;
    running.end().await;
}

#[tokio::test]
async fn until_the_old_key_is_retired_there_is_a_way_back() {
    let mut plane = Plane::start().await;
    let (old, new) = (named(MASTER_KEY), named(&new_key()));
    let logins = Logins::make(&plane, "login", SECRETS).await;
    restart(&mut plane, &rotating(), |_| {}).await;
    start(&plane, "add").await.unwrap();
    abort(&plane).await;
    reached(&plane, "aborted", "add").await;
    assert_eq!(sealed_with(&plane), [old.id()].into());
    assert_eq!(doors_with(&plane, &Environment::default()).await, Doors::Open);
    let again = start(&plane, "").await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition);
    assert!(again.message().contains("is retired; to purge it becomes possible in 86400 s"), "{again}");

    // What a rotation left that came to nothing goes with the next one, in time.
    plane.advance(RETIREMENT);
    start(&plane, "activate").await.unwrap();
    reached(&plane, "paused", "activate").await;
    let between = Logins::make(&plane, "between", 1).await;
    resume(&plane, "retire").await;
    let moved = async {
        loop {
            match status(&plane).await.progress {
                Some(progress) => return assert!(progress.done <= progress.total && progress.total > SECRETS as u64),
                None => sleep(Duration::from_millis(10)).await,
            }
        }
    };
    timeout(SOON, moved).await.unwrap();
    assert!(sealed_with(&plane).contains(&new.id()));
    abort(&plane).await;
    reached(&plane, "aborted", "add").await;
    assert_eq!(sealed_with(&plane), [old.id()].into(), "all of them are back");
    assert_eq!(cached_check(plane.folder.path()).unwrap(), Some(old.check()));
    restart(&mut plane, &Environment::default(), |_| {}).await;
    for logins in [&logins, &between] {
        logins.are_known(&plane.iam).await;
    }
    assert!(bearer(&plane.iam, ADMIN_TOKEN).await.is_ok());
}
