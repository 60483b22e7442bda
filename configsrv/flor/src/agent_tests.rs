//! The agent on a disk that can stop it after any step, and lose what was not synced.

#[path = "../../server/tests/support/tree.rs"]
mod tree;

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use configsrv_fleet::{NodeName, Payload, Sealed, Version, artifact::Activation};
use serde_json::json;
use tree::{Signer, Tree};

use crate::{
    Error,
    activate::{Activator, Hooks},
    agent::Agent,
    clock::Clock,
    cluster::Cluster,
    disk::{
        Disk as _,
        forgetful::{Crash, ForgetfulDisk},
    },
    home::Layout,
    identities::IdentityStore,
    machine::{BootId, Failure, Now, Target},
    outcome::{Outcome, SyncRequest},
    plane::NoPlane,
    server::{Intent, Offered, Report, Server},
    store::Store,
};

const HOME: &str = "/flor";
const WINDOW_MS: u64 = 300_000;

/// A server that has one artifact.
#[derive(Default)]
struct Published {
    bytes: Mutex<Vec<u8>>,
    downloads: AtomicU64,
    reports: Mutex<Vec<Report>>,
}

#[async_trait]
impl Server for Published {
    async fn fetch(&self, have: Option<Version>, _patience: Duration, _intent: Intent) -> Result<Offered, Error> {
        let bytes = self.bytes.lock().unwrap().clone();
        if have.is_some() && Sealed::parse(&bytes).map(|sealed| sealed.version()).ok() == have {
            return Ok(Offered::Nothing);
        }
        self.downloads.fetch_add(1, Ordering::Relaxed);
        Ok(Offered::Artifact(bytes))
    }

    async fn report(&self, report: &Report) -> Result<(), Error> {
        self.reports.lock().unwrap().push(report.clone());
        Ok(())
    }

    fn follow(&self, _active: Option<&Payload>) {}

    async fn prove(&self, _target: Target, _report: Report) -> Result<(), Error> {
        Ok(())
    }
}

/// Time in one boot, in milliseconds.
#[derive(Default)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> Result<Now, Error> {
        let at = self.0.load(Ordering::Relaxed);
        Ok(Now { wall_ms: 1_800_000_000_000 + at, uptime_ms: at, boot: BootId("b".into()) })
    }
}

/// A machine that does not say what time it is.
struct NoClock;

impl Clock for NoClock {
    fn now(&self) -> Result<Now, Error> {
        Err(Error::Unexpected("/proc/uptime is not there".into()))
    }
}

/// Hooks fail when they are told `fail`.
struct Told;

#[async_trait]
impl Hooks for Told {
    async fn run(&self, hook: &Activation) -> Result<(), Failure> {
        match hook {
            Activation::Run(words) if words.first().is_some_and(|word| word == "fail") => {
                Err(Failure("it failed".into()))
            }
            _ => Ok(()),
        }
    }
}

struct Fleet {
    signer: Signer,
    server: Arc<Published>,
    clock: Arc<Hand>,
}

impl Fleet {
    fn new() -> Self {
        Self { signer: Signer::new("primary"), server: Arc::default(), clock: Arc::default() }
    }

    /// Publishes files: path, text, hook.
    fn publish(&self, version: u64, files: &[(&str, &str, Option<&str>)]) {
        let files: Vec<_> = files
            .iter()
            .map(|(path, text, hook)| {
                let mut file = tree::file(path, text);
                if let Some(hook) = hook {
                    file["activate"] = json!({ "run": [hook] });
                }
                file
            })
            .collect();
        let tree = Tree::new(version, &self.signer).nodes(vec![("pier2", json!(files))]);
        *self.server.bytes.lock().unwrap() = tree.artifacts()[0].bytes().to_vec();
    }

    fn agent(&self, disk: &ForgetfulDisk) -> Agent {
        self.agent_with(disk, Arc::clone(&self.clock) as Arc<dyn Clock>)
    }

    fn agent_with(&self, disk: &ForgetfulDisk, clock: Arc<dyn Clock>) -> Agent {
        let node: NodeName = "pier2".parse().unwrap();
        let cluster = Cluster {
            cluster: "quay.test".parse().unwrap(),
            node: node.clone(),
            urls: Vec::new(),
            api: Vec::new(),
            signers: Vec::new(),
        };
        let store = Store::new(Arc::new(disk.clone()), Layout::at(HOME), node);
        let server = Arc::clone(&self.server) as Arc<dyn Server>;
        let identities = IdentityStore::new(&Layout::at("/node"), cluster.cluster.clone());
        Agent::new(cluster, store, identities, Activator::new(Arc::new(Told), Arc::new(NoPlane)), server, clock)
    }

    fn pass(&self, milliseconds: u64) {
        self.clock.0.fetch_add(milliseconds, Ordering::Relaxed);
    }

    /// A node that has confirmed version 1, on a disk where two files are somebody else's.
    async fn settled(&self) -> ForgetfulDisk {
        let disk = ForgetfulDisk::default();
        disk.plant("/etc/motd", b"by hand");
        self.publish(1, &[("/etc/shop", "one", Some("reload")), ("/etc/old", "one", None)]);
        let agent = self.agent(&disk);
        let request = SyncRequest { window_ms: 0, ..SyncRequest::default() };
        let outcome = agent.sync(&request).await.unwrap();
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
        self.publish(2, &[("/etc/shop", "two", Some("reload")), ("/etc/motd", "two", None), ("/etc/new", "two", None)]);
        disk
    }
}

fn guarded() -> SyncRequest {
    SyncRequest { window_ms: WINDOW_MS, ..SyncRequest::default() }
}

#[track_caller]
fn is_old(disk: &ForgetfulDisk, context: &str) {
    assert_eq!(disk.text("/etc/shop").as_deref(), Some("one"), "{context}");
    assert_eq!(disk.text("/etc/old").as_deref(), Some("one"), "{context}");
    assert_eq!(disk.text("/etc/motd").as_deref(), Some("by hand"), "{context}");
    assert_eq!(disk.text("/etc/new"), None, "{context}");
}

#[track_caller]
fn is_new(disk: &ForgetfulDisk, context: &str) {
    assert_eq!(disk.text("/etc/shop").as_deref(), Some("two"), "{context}");
    assert_eq!(disk.text("/etc/old"), None, "{context}");
    assert_eq!(disk.text("/etc/motd").as_deref(), Some("two"), "{context}");
    assert_eq!(disk.text("/etc/new").as_deref(), Some("two"), "{context}");
}

#[tokio::test]
async fn sync_confirm_and_the_way_back() {
    let fleet = Fleet::new();
    let disk = fleet.settled().await;
    let agent = fleet.agent(&disk);
    assert!(matches!(agent.sync(&guarded()).await, Ok(Outcome::Pending { left_ms: WINDOW_MS, .. })));
    is_new(&disk, "pending");
    fleet.pass(WINDOW_MS);
    assert_eq!(agent.tick().await, Ok(None));
    is_old(&disk, "rolled back");
    let results: Vec<_> = fleet.server.reports.lock().unwrap().iter().filter_map(|report| report.result).collect();
    assert_eq!(results, ["acknowledged", "confirmed", "acknowledged", "pending", "rolled_back"]);
    let error = agent.confirm(None).await.unwrap_err();
    assert!(error.to_string().contains("version 2 was rolled back"), "{error}");

    let retry = SyncRequest { retry_rejected: true, ..guarded() };
    agent.sync(&retry).await.unwrap();
    agent.confirm(None).await.unwrap();
    fleet.pass(WINDOW_MS * 2);
    agent.recover().await.unwrap();
    is_new(&disk, "confirmed");
    let last = fleet.server.reports.lock().unwrap().last().unwrap().clone();
    assert_eq!(
        (last.result, last.active, last.confirmed, last.pending),
        (Some("confirmed"), last.confirmed, last.active, None)
    );
}

#[tokio::test]
async fn a_hook_that_fails_undoes_everything() {
    let fleet = Fleet::new();
    let disk = fleet.settled().await;
    fleet.publish(2, &[("/etc/shop", "two", Some("fail")), ("/etc/motd", "two", None)]);
    let error = fleet.agent(&disk).sync(&guarded()).await.unwrap_err();
    assert!(matches!(&error, Error::RolledBack(reason) if reason.contains("it failed")), "{error}");
    is_old(&disk, "failed");
    assert!(matches!(fleet.agent(&disk).sync(&guarded()).await, Err(Error::State(_))), "the content is remembered");
}

#[tokio::test]
async fn a_superseded_version_leaves_nothing_behind() {
    let fleet = Fleet::new();
    let disk = fleet.settled().await;
    let agent = fleet.agent(&disk);
    agent.sync(&guarded()).await.unwrap();
    fleet.publish(3, &[("/etc/shop", "three", None)]);
    assert!(matches!(agent.sync(&guarded()).await, Err(Error::State(_))));
    agent.sync(&SyncRequest { supersede: true, ..guarded() }).await.unwrap();
    assert_eq!(
        (disk.text("/etc/shop").as_deref(), disk.text("/etc/motd").as_deref()),
        (Some("three"), Some("by hand"))
    );
    assert_eq!(disk.text("/etc/new"), None);
    agent.cancel().await.unwrap();
    is_old(&disk, "cancelled");
}

/// What failed is known by its version; content that failed under another number is looked at once more.
#[tokio::test]
async fn what_failed_is_not_downloaded_again() {
    let fleet = Fleet::new();
    let disk = fleet.settled().await;
    let agent = fleet.agent(&disk);
    agent.sync(&guarded()).await.unwrap();
    agent.cancel().await.unwrap();
    let downloads = || fleet.server.downloads.load(Ordering::Relaxed);
    let before = downloads();
    for _ in 0..2 {
        let error = agent.sync(&guarded()).await.unwrap_err();
        assert!(matches!(&error, Error::State(text) if text.contains("cancelled")), "{error}");
    }
    assert_eq!(downloads(), before);
    agent.sync(&SyncRequest { retry_rejected: true, ..guarded() }).await.unwrap();
    assert_eq!(downloads(), before + 1);
}

/// A staged artifact counts as long as it is the one that was verified, and is fetched again when it is not.
#[tokio::test]
async fn what_was_verified_is_what_runs() {
    let fleet = Fleet::new();
    let disk = ForgetfulDisk::default();
    let agent = fleet.agent(&disk);
    let sync = SyncRequest { window_ms: 0, ..SyncRequest::default() };
    fleet.publish(1, &[("/etc/shop", "another", None)]);
    let another = fleet.server.bytes.lock().unwrap().clone();
    fleet.publish(1, &[("/etc/shop", "one", None)]);
    agent.sync(&sync).await.unwrap();
    let staged = "/flor/artifacts/sets/v1/pier2.json";
    let whole = disk.text(staged).unwrap();
    for damaged in [another.as_slice(), b"{", &whole.as_bytes()[1..]] {
        disk.plant(staged, damaged);
        let error = agent.connect().await.unwrap_err();
        assert!(error.to_string().contains(staged), "{error}");
        assert!(matches!(agent.sync(&sync).await, Ok(Outcome::Unchanged { .. })));
        assert_eq!(disk.text(staged).as_ref(), Some(&whole));
        agent.connect().await.unwrap();
    }
}

/// Without the time nobody could keep the deadline.
#[tokio::test]
async fn a_machine_without_a_clock_changes_nothing() {
    let fleet = Fleet::new();
    let disk = fleet.settled().await;
    let before = disk.operations();
    let error = fleet.agent_with(&disk, Arc::new(NoClock)).sync(&guarded()).await.unwrap_err();
    assert!(error.to_string().contains("/proc/uptime"), "{error}");
    assert_eq!(disk.operations(), before);
    is_old(&disk, "no clock");
}

/// Whoever looks takes no turn: between any two files that it reads, somebody else may have finished.
#[tokio::test]
async fn a_look_while_somebody_confirms_sees_no_way_back() {
    let fleet = Fleet::new();
    let disk = fleet.settled().await;
    fleet.agent(&disk).sync(&guarded()).await.unwrap();
    let confirmed = disk.after(Crash::Kill);
    fleet.agent(&confirmed).confirm(None).await.unwrap();
    for reads in 0..4 {
        let disk = disk.after(Crash::Kill);
        disk.turns_into(&confirmed, reads);
        let status = fleet.agent(&disk).status().unwrap();
        let two = Some(Version::new(2).unwrap());
        assert_eq!(status.active, two, "after {reads} reads");
        assert!(status.pending.is_some() || status.confirmed == two, "after {reads} reads");
    }
}

/// Stops the agent after every single change of the disk during a sync, in both ways, and starts another one: before
/// the deadline there is a usable state, and after it there is the old one.
#[tokio::test]
async fn a_crash_at_any_step_of_a_sync_ends_in_the_old_state() {
    let fleet = Fleet::new();
    for crash in [Crash::Kill, Crash::PowerLoss] {
        for steps in 0.. {
            let disk = fleet.settled().await;
            disk.stop_after(steps);
            let finished = fleet.agent(&disk).sync(&guarded()).await.is_ok();
            let context = format!("{crash:?} after {steps} steps");
            let disk = disk.after(crash);
            let agent = fleet.agent(&disk);
            agent.recover().await.unwrap_or_else(|error| panic!("{context}: {error}"));
            let sets = disk.list(Path::new("/flor/artifacts/sets")).unwrap();
            match agent.status().unwrap().pending {
                Some(_) => is_new(&disk, &context),
                None => {
                    is_old(&disk, &context);
                    assert_eq!(sets, ["v1"], "{context}");
                }
            }
            fleet.pass(WINDOW_MS);
            agent.recover().await.unwrap();
            is_old(&disk, &context);
            assert_eq!(agent.status().unwrap().active, Some(Version::new(1).unwrap()), "{context}");
            if finished {
                assert!(steps > 20, "the whole sync has more steps than {steps}");
                break;
            }
        }
    }
}

/// The same while confirming and while rolling back: one of the two states, whole, and the records agree with it.
#[tokio::test]
async fn a_crash_at_any_step_of_the_end_leaves_one_whole_state() {
    let fleet = Fleet::new();
    for crash in [Crash::Kill, Crash::PowerLoss] {
        for confirm in [true, false] {
            for steps in 0.. {
                let disk = fleet.settled().await;
                let agent = fleet.agent(&disk);
                agent.sync(&guarded()).await.unwrap();
                disk.stop_after(steps);
                let finished = if confirm {
                    agent.confirm(None).await.is_ok()
                } else {
                    fleet.pass(WINDOW_MS);
                    agent.tick().await.is_ok()
                };
                let context = format!("{crash:?} after {steps} steps, confirm {confirm}");
                let disk = disk.after(crash);
                fleet.pass(WINDOW_MS);
                let agent = fleet.agent(&disk);
                agent.recover().await.unwrap_or_else(|error| panic!("{context}: {error}"));
                let status = agent.status().unwrap();
                assert_eq!((status.pending, status.active), (None, status.confirmed), "{context}");
                if status.confirmed == Some(Version::new(2).unwrap()) {
                    assert!(confirm, "{context}");
                    is_new(&disk, &context);
                } else {
                    assert!(!(confirm && finished), "an acknowledged confirmation was lost: {context}");
                    is_old(&disk, &context);
                }
                if finished {
                    break;
                }
            }
        }
    }
}

/// Stopped again while the start puts things in order.
#[tokio::test]
async fn a_crash_while_recovering_is_recovered_from() {
    let fleet = Fleet::new();
    for steps in 0.. {
        let disk = fleet.settled().await;
        fleet.agent(&disk).sync(&guarded()).await.unwrap();
        fleet.pass(WINDOW_MS);
        disk.stop_after(steps);
        let finished = fleet.agent(&disk).recover().await.is_ok();
        let before = disk.operations();
        let disk = disk.after(Crash::PowerLoss);
        fleet.agent(&disk).recover().await.unwrap();
        is_old(&disk, &format!("after {steps} steps of {before}"));
        if finished {
            break;
        }
    }
}
