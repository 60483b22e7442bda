//! What has brought other identity servers down, tried on this one.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use holdfast_proto::iam::{
    AuthorizeRequest, CreatePrincipalRequest, StatusRequest, admin_client::AdminClient, authz_client::AuthzClient,
};
use iam_client::{Authority as _, Refusal};
use iam_server::Iam;
use prometheus_client::{encoding::text::encode, registry::Registry};
use support::{ADMIN_TOKEN, Environment, Plane, api, bearer, open, with};
use tokio::time::{sleep, timeout};

/// The files of a decision log.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("decisions")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "decisions")).collect();
    found.sort();
    found
}

fn metric(iam: &Iam, name: &str) -> f64 {
    let (mut registry, mut text) = (Registry::default(), String::new());
    iam.register_metrics(&mut registry);
    encode(&mut text, &registry).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

/// Within the few seconds that anything here may take.
async fn soon(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waited = timeout(Duration::from_secs(20), async {
        while !condition().await {
            sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what} does not happen"));
}

#[tokio::test]
async fn a_deleted_decision_log_is_noticed_and_nothing_is_lost() {
    let plane = Plane::start().await;
    plane.principal("user/mira", "reader").await;
    let before = plane.iam.decisions().read(0, 10_000).unwrap();
    let name = "holdfast_iam_decision_log_displaced_files_total";
    assert!(metric(&plane.iam, name) == 0.0 && plane.iam.status().unwrap().warnings.is_empty());

    // While nobody does anything, and not a single record is lost meanwhile.
    fs::remove_file(&segments(plane.folder.path())[0]).unwrap();
    soon("a word about it", async || metric(&plane.iam, name) == 1.0).await;
    let warnings = plane.admin().status(with(ADMIN_TOKEN, StatusRequest {})).await.unwrap().into_inner().warnings;
    assert!(
        warnings.iter().any(|warning| warning.contains("was deleted; its records are written anew")),
        "{warnings:?}"
    );
    plane.token("user/mira").await;
    assert_eq!(segments(plane.folder.path()).len(), 2, "writing goes on in a new file");

    // The moment before an answer: it does not go out before its record is in a file that is there.
    fs::remove_file(&segments(plane.folder.path())[1]).unwrap();
    plane.token("user/mira").await;
    assert_eq!(metric(&plane.iam, name), 2.0);

    let Plane { store, clock, folder, iam, running } = plane;
    running.end().await;
    let written = iam.decisions().read(0, 10_000).unwrap();
    drop(iam);
    let (iam, running) = open(&store, &clock, folder.path(), &Environment::default(), |_| {}).unwrap();
    iam.settled().await;
    let found = iam.decisions().read(0, 10_000).unwrap();
    assert_eq!((&found[..before.len()], &found[..written.len()]), (&before[..], &written[..]));
    assert!(found.iter().enumerate().all(|(index, record)| record.sequence == index as u64 + 1), "no gap");
    let rows = found.iter().filter(|record| record.action == "iam.DecisionLogDisplaced");
    assert_eq!(rows.count(), 2);
    running.end().await;
}

/// What needs no record of its own goes on: who has a token is known, decisions are made, state is read and changed. What
/// changes state is recorded in the change itself.
async fn the_rest_goes_on(iam: &Iam, token: &str, new: &str) {
    let identity = bearer(iam, token).await.unwrap();
    assert_eq!(iam.authorize(&identity, "cluster.Read", "cluster/iam"), Ok(()));
    let question = AuthorizeRequest { principal: String::new(), action: "kv.Read".into(), resource: "keys/*".into() };
    assert!(AuthzClient::new(api(iam)).authorize(with(token, question)).await.is_ok());
    assert!(AdminClient::new(api(iam)).status(with(token, StatusRequest {})).await.is_ok());
    let create = CreatePrincipalRequest { id: new.into(), display_name: String::new() };
    assert!(AdminClient::new(api(iam)).create_principal(with(token, create)).await.is_ok());
}

/// vault#18943: nothing takes the records away any more.
#[tokio::test]
async fn a_full_decision_log_refuses_logins_until_it_is_shipped() {
    let plane = Plane::start().await;
    let token = plane.principal("user/mira", "admin").await;
    let folder = plane.folder.path().join("small");
    let environment = Environment::default();
    let (small, running) =
        open(&plane.store, &plane.clock, &folder, &environment, |settings| settings.decision_budget = 300).unwrap();
    small.settled().await;
    assert!(bearer(&small, ADMIN_TOKEN).await.is_ok());
    let refusal = bearer(&small, ADMIN_TOKEN).await.unwrap_err();
    assert!(matches!(&refusal, Refusal::Unavailable(text) if text.contains("its budget is 300")), "{refusal}");
    the_rest_goes_on(&small, &token, "user/noor").await;

    let newest = small.status().unwrap().decisions.newest;
    small.decisions().shipped(newest).unwrap();
    assert!(bearer(&small, ADMIN_TOKEN).await.is_ok(), "as soon as there is room");
    assert_eq!(small.status().unwrap().decisions.newest, newest + 1);
    running.end().await;
}

/// A file system in memory with room for little; none where that needs rights that the test does not have.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(at).status();
        let mounted = mounted.is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("SKIPPED: a file system in memory cannot be mounted here");
        }
        mounted.then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

/// vault#5361: the place where the records go takes nothing.
#[tokio::test]
async fn a_decision_log_that_cannot_be_written_heals_by_itself() {
    let plane = Plane::start().await;
    let token = plane.principal("user/mira", "admin").await;
    let folder = plane.folder.path().join("small");
    let Some(disk) = SmallDisk::mount(&folder.join("decisions")) else { return };
    let (small, running) = open(&plane.store, &plane.clock, &folder, &Environment::default(), |_| {}).unwrap();
    small.settled().await;
    assert!(bearer(&small, ADMIN_TOKEN).await.is_ok());
    let filler = disk.0.join("filler");
    fs::write(&filler, [0; 64 << 10]).unwrap_err();

    // What is left of the file's last page takes some.
    let mut refusal = None;
    for _ in 0..100 {
        refusal = bearer(&small, ADMIN_TOKEN).await.err();
        if refusal.is_some() {
            break;
        }
    }
    let refusal = refusal.unwrap();
    assert!(matches!(&refusal, Refusal::Unavailable(text) if text.contains("No space left on device")), "{refusal}");
    assert_eq!(metric(&small, "holdfast_iam_decision_log_failed"), 1.0);
    the_rest_goes_on(&small, &token, "user/noor").await;

    let newest = small.status().unwrap().decisions.newest;
    fs::remove_file(&filler).unwrap();
    soon("a login", async || bearer(&small, ADMIN_TOKEN).await.is_ok()).await;
    let found = small.decisions().read(0, 10_000).unwrap();
    assert_eq!(found.len() as u64, newest + 1);
    assert!(found.iter().enumerate().all(|(index, record)| record.sequence == index as u64 + 1), "no gap");
    running.end().await;
}
