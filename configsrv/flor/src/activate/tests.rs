//! What a hook that fails means, there and back.

use std::{
    fs::File,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use configsrv_fleet::{Payload, artifact::Activation};
use serde_json::{Value, json};

use super::{Activator, Hooks, Way};
use crate::{
    disk::{Disk, RealDisk, forgetful::ForgetfulDisk},
    home::Layout,
    machine::Failure,
    plane::NoPlane,
    store::Store,
};

/// Programs by the names of their units.
#[derive(Default)]
struct Programs {
    /// Who cannot be told anything.
    deaf: Mutex<Vec<String>>,
    /// Who ends soon after it was told.
    frail: Mutex<Vec<String>>,
}

fn names(programs: &Mutex<Vec<String>>, hook: &Activation) -> Option<String> {
    let Activation::Reload(unit) = hook else { panic!("{hook:?}") };
    programs.lock().unwrap().contains(unit).then(|| unit.clone())
}

#[async_trait]
impl Hooks for Programs {
    async fn run(&self, hook: &Activation) -> Result<(), Failure> {
        names(&self.deaf, hook).map_or(Ok(()), |unit| Err(Failure(format!("{unit} is deaf"))))
    }

    async fn outlive(&self, hooks: &[&Activation]) -> Result<(), Failure> {
        let frail = hooks.iter().find_map(|hook| names(&self.frail, hook));
        frail.map_or(Ok(()), |unit| Err(Failure(format!("{unit} is frail"))))
    }
}

/// A machine on which the files of version `one` are as they are to be.
struct Machine {
    disk: ForgetfulDisk,
    store: Store,
    programs: Arc<Programs>,
    activator: Activator,
}

impl Machine {
    async fn new() -> Self {
        let (disk, programs) = (ForgetfulDisk::default(), Arc::new(Programs::default()));
        let store = store(Arc::new(disk.clone()), "/flor");
        let activator = Activator::new(Arc::clone(&programs) as _, Arc::new(NoPlane));
        let machine = Self { disk, store, programs, activator };
        machine.forward(&[], &ONE).await.unwrap();
        machine.store.drop_originals().unwrap();
        machine
    }

    async fn forward(&self, from: &[Row], to: &[Row]) -> Result<(), Failure> {
        self.activator.bring(&self.store, Some(&payload(from)), Some(&payload(to)), Way::Forward).await
    }

    /// To version `one`, as whose files are from then on.
    async fn back(&self, from: &[Row]) -> Result<(), Failure> {
        let done = self.activator.bring(&self.store, Some(&payload(from)), Some(&payload(&ONE)), Way::Back).await;
        assert_eq!(self.disk.text("/etc/shop").as_deref(), Some("one"));
        assert_eq!((self.disk.text("/etc/till"), self.disk.text("/etc/lamp")), (None, None));
        done
    }

    fn deaf(&self, units: &[&str]) {
        *self.programs.deaf.lock().unwrap() = units.iter().map(|&unit| unit.to_owned()).collect();
    }

    fn frail(&self, units: &[&str]) {
        *self.programs.frail.lock().unwrap() = units.iter().map(|&unit| unit.to_owned()).collect();
    }
}

/// Path, text, unit.
type Row = (&'static str, &'static str, &'static str);

const ONE: [Row; 1] = [("/etc/shop", "one", "shop")];
/// Two files are new, before and after the one that was there.
const TWO: [Row; 3] = [("/etc/till", "two", "till"), ("/etc/shop", "two", "shop"), ("/etc/lamp", "two", "lamp")];

fn store(disk: Arc<dyn Disk>, home: &str) -> Store {
    Store::new(disk, Layout::at(home), "pier2".parse().unwrap())
}

fn payload(rows: &[Row]) -> Payload {
    let file = |(path, text, unit): &Row| json!({ "path": path, "mode": "0644", "content": { "text": text }, "activate": { "reload": unit } });
    with_files(&rows.iter().map(file).collect::<Vec<_>>())
}

fn with_files(files: &[Value]) -> Payload {
    let node = "spiffe://quay.test/node/pier2";
    serde_json::from_value(json!({
        "schema_version": "1.0", "node": "pier2", "labels": {}, "local_users": [], "local_services": [],
        "local_node": { "spiffe_id": node, "socks5_proxy": "127.0.0.1:1080" }, "ingress": [], "egress": [], "files": files,
        "trust": { "authorized_mgmt_signers": [] },
        "sync": {
            "via": "direct", "principal": node, "config_server": "spiffe://quay.test/service/config-server", "urls": [],
        },
    }))
    .unwrap()
}

fn failure(text: &str) -> Result<(), Failure> {
    Err(Failure(text.to_owned()))
}

#[tokio::test]
async fn a_hook_that_failed_there_may_fail_on_the_way_back() {
    for unit in ["till", "shop", "lamp"] {
        let machine = Machine::new().await;
        machine.deaf(&[unit]);
        assert_eq!(machine.forward(&ONE, &TWO).await, failure(&format!("{unit} is deaf")));
        assert_eq!(machine.back(&TWO).await, Ok(()), "{unit}");
    }
}

#[tokio::test]
async fn a_program_that_was_told_of_its_new_file_has_to_hear_that_it_went() {
    let machine = Machine::new().await;
    machine.deaf(&["lamp"]);
    assert!(machine.forward(&ONE, &TWO).await.is_err());
    machine.deaf(&["till", "lamp"]);
    assert_eq!(machine.back(&TWO).await, failure("till is deaf"));
}

#[tokio::test]
async fn who_was_not_reached_need_not_hear_of_a_file_that_went() {
    let machine = Machine::new().await;
    machine.deaf(&["till"]);
    assert!(machine.forward(&ONE, &TWO).await.is_err());
    machine.deaf(&["till", "lamp"]);
    assert_eq!(machine.back(&TWO).await, Ok(()));
    // The old version's own program has to.
    assert!(machine.forward(&ONE, &TWO).await.is_err());
    machine.deaf(&["till", "shop"]);
    assert_eq!(machine.back(&TWO).await, failure("shop is deaf"));
}

#[tokio::test]
async fn a_program_that_did_not_live_on_with_a_new_file_need_not_live_without_it() {
    let machine = Machine::new().await;
    machine.frail(&["till"]);
    assert_eq!(machine.forward(&ONE, &TWO).await, failure("till is frail"));
    machine.deaf(&["till"]);
    assert_eq!(machine.back(&TWO).await, Ok(()));
    machine.frail(&["shop"]);
    machine.deaf(&[]);
    assert_eq!(machine.forward(&ONE, &TWO).await, failure("shop is frail"));
    assert_eq!(machine.back(&TWO).await, failure("shop is frail"), "the old version does not run");
}

/// Nothing is excused by what happened to an earlier change, nor without a failure on the way there.
#[tokio::test]
async fn every_change_is_judged_by_itself() {
    let machine = Machine::new().await;
    machine.deaf(&["till"]);
    assert!(machine.forward(&ONE, &TWO).await.is_err());
    machine.deaf(&[]);
    machine.forward(&ONE, &TWO).await.unwrap();
    machine.deaf(&["till"]);
    assert_eq!(machine.back(&TWO).await, failure("till is deaf"));
}

/// Whoever owns the folder of a file has put something endless there.
#[tokio::test]
async fn what_is_too_large_to_be_kept_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop");
    File::create(&path).unwrap().set_len(1 << 36).unwrap();
    let store = store(Arc::new(RealDisk), &folder.path().join("flor").display().to_string());
    let activator = Activator::new(Arc::new(Programs::default()), Arc::new(NoPlane));
    let new = with_files(&[json!({ "path": path, "mode": "0644", "content": { "text": "two" } })]);
    let Err(Failure(why)) = activator.bring(&store, None, Some(&new), Way::Forward).await else {
        panic!("it was replaced")
    };
    assert!(why.contains("shop") && why.contains("move it away"), "{why}");
    assert_eq!(activator.bring(&store, Some(&new), None, Way::Back).await, Ok(()));
    assert_eq!(path.metadata().unwrap().len(), 1 << 36);
}
