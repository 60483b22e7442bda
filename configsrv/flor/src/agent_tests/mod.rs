//! The agent on a disk that can stop it after any step, and lose what was not synced.

mod changes;
mod confirming;
mod crashes;
mod drift;
mod looks;
mod memory;
mod rotation;
mod silence;
#[path = "../../../server/tests/support/tree.rs"]
mod tree;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use configsrv_fleet::{NodeName, Payload, Sealed, Sequence, Version, artifact::Activation};
use serde_json::json;
use tree::{Signer, Tree};

use crate::{
    Error,
    activate::{Activator, Hooks},
    agent::Agent,
    clock::Clock,
    cluster::Cluster,
    disk::{Disk, forgetful::ForgetfulDisk},
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
    kept: Mutex<BTreeMap<Version, Vec<u8>>>,
    downloads: AtomicU64,
    reports: Mutex<Vec<Report>>,
    revocations: Mutex<Option<Vec<u8>>>,
    revoked: Mutex<Sequence>,
    /// It takes what it is sent, and never answers.
    silent: AtomicBool,
    /// It has another content under every number.
    forked: AtomicBool,
}

impl Published {
    async fn answers(&self) {
        if self.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Server for Published {
    async fn fetch(&self, have: Option<Version>, _patience: Duration, _intent: Intent) -> Result<Offered, Error> {
        self.answers().await;
        let bytes = self.bytes.lock().unwrap().clone();
        if have.is_some() && Sealed::parse(&bytes).map(|sealed| sealed.version()).ok() == have {
            return Ok(Offered::Nothing);
        }
        self.downloads.fetch_add(1, Ordering::Relaxed);
        Ok(Offered::Artifact(bytes))
    }

    async fn exact(&self, version: Version) -> Result<Vec<u8>, Error> {
        let kept = self.kept.lock().unwrap().get(&version).cloned();
        kept.ok_or_else(|| Error::State(format!("version {version} is pruned")))
    }

    async fn report(&self, report: &Report) -> Result<(), Error> {
        self.answers().await;
        if report.result == Some("confirmed") && self.forked.load(Ordering::Relaxed) {
            return Err(Error::Unexpected("the version was published with another digest".into()));
        }
        self.reports.lock().unwrap().push(report.clone());
        Ok(())
    }

    async fn revocations(&self, _have: Sequence, _patience: Duration) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.revocations.lock().unwrap().clone())
    }

    async fn revoked(&self, sequence: Sequence) -> Result<(), Error> {
        *self.revoked.lock().unwrap() = sequence;
        Ok(())
    }

    fn follow(&self, _active: Option<&Payload>) {}

    async fn prove(&self, _target: Target, _carried: bool, _report: Report) -> Result<(), Error> {
        self.answers().await;
        Ok(())
    }
}

/// Clocks that a test moves.
struct Hand(Mutex<Now>);

impl Default for Hand {
    fn default() -> Self {
        Self(Mutex::new(Now { wall_ms: 1_800_000_000_000, uptime_ms: 0, boot: BootId("first".into()) }))
    }
}

impl Hand {
    fn pass(&self, milliseconds: u64) {
        let mut now = self.0.lock().unwrap();
        now.wall_ms += milliseconds;
        now.uptime_ms += milliseconds;
    }

    /// The machine starts again; meanwhile the wall clock moved, or was moved.
    fn reboot(&self, wall_ms: i64) {
        let mut now = self.0.lock().unwrap();
        now.wall_ms = now.wall_ms.saturating_add_signed(wall_ms);
        now.uptime_ms = 1000;
        now.boot = BootId(format!("after {}", now.boot.0));
    }
}

impl Clock for Hand {
    fn now(&self) -> Result<Now, Error> {
        Ok(self.0.lock().unwrap().clone())
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
        self.publish_tree(&Tree::new(version, &self.signer).nodes(vec![("pier2", json!(files))]));
    }

    fn publish_tree(&self, tree: &Tree<'_>) {
        let bytes = tree.artifacts()[0].bytes().to_vec();
        self.server.kept.lock().unwrap().insert(Version::new(tree.version).unwrap(), bytes.clone());
        *self.server.bytes.lock().unwrap() = bytes;
    }

    fn agent(&self, disk: &ForgetfulDisk) -> Agent {
        self.agent_on(Arc::new(disk.clone()), Arc::new(Told), Arc::clone(&self.clock) as _)
    }

    fn agent_on(&self, disk: Arc<dyn Disk>, hooks: Arc<dyn Hooks>, clock: Arc<dyn Clock>) -> Agent {
        let node: NodeName = "pier2".parse().unwrap();
        let cluster = Cluster {
            cluster: "quay.test".parse().unwrap(),
            node: node.clone(),
            urls: Vec::new(),
            api: Vec::new(),
            signers: Vec::new(),
        };
        let store = Store::new(disk, Layout::at(HOME), node);
        let server = Arc::clone(&self.server) as Arc<dyn Server>;
        let identities = IdentityStore::new(&Layout::at("/node"), cluster.cluster.clone());
        Agent::new(cluster, store, identities, Activator::new(hooks, Arc::new(NoPlane)), server, clock)
    }

    fn pass(&self, milliseconds: u64) {
        self.clock.pass(milliseconds);
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
