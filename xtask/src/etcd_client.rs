//! The tests that the crate `etcd-client` is published with, run against the drop-in server.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use holdfast_testkit::{Process, copy_folder, free_ports, wait_until};
use serde::Deserialize;

use crate::{cargo::Cargo, layout::Layout, programs, tools};

const VERSION: &str = "0.21.1";

/// Where its tests look for a server, and what they look at instead: the compiler puts the address there.
const ENDPOINT: (&str, &str) = ("\"localhost:2379\"", "env!(\"HOLDFAST_ENDPOINT\")");

const START: Duration = Duration::from_secs(60);

/// What its tests expect of the server: tokens that end while they wait, and an administrator.
const TOKENS: &str = "--auth-token-ttl=3";
const ADMINISTRATOR: &[&[&str]] = &[&["user", "add", "root:rootpwd"], &["user", "grant-role", "root", "root"]];

/// A membership that changes.
const LEFT_OUT: &[&str] = &["test_cluster"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
}

/// Fetches the package if need be, starts a server, and runs the tests.
pub(crate) fn run(layout: &Layout) -> Result<()> {
    let package = fetch(layout)?;
    let folder = tempfile::tempdir()?;
    let [port] = free_ports()?;
    let address = format!("127.0.0.1:{port}");
    let mut command = Command::new(layout.binaries().join("holdfast"));
    command.args(["chainfire", TOKENS, &format!("--listen-client-urls=http://{address}")]);
    command.arg(format!("--data-dir={}", folder.path().join("data").display()));
    let _server = Process::start("chainfire", &mut command, folder.path())?;
    wait_until(START, "the drop-in server", || Ok(TcpStream::connect(&address).ok()))?;
    let etcdctl = tools::find(layout, "etcdctl").context("etcdctl is not installed")?;
    for words in ADMINISTRATOR {
        let mut command = Command::new(&etcdctl);
        programs::output(command.env("ETCDCTL_API", "3").arg(format!("--endpoints={address}")).args(*words))?;
    }

    let mut cargo = Cargo::new(layout, "test").arguments(["--tests", "--locked", "--manifest-path"]);
    cargo = cargo.more(&[package.join("Cargo.toml").into(), "--".into(), "--exact".into(), "--include-ignored".into()]);
    for test in LEFT_OUT {
        cargo = cargo.more(&["--skip".into(), test.into()]);
    }
    cargo.environment("CARGO_TARGET_DIR", package.join("target")).environment("HOLDFAST_ENDPOINT", address).run()
}

/// The package's source in a folder of our own, where its tests may be told another address.
fn fetch(layout: &Layout) -> Result<PathBuf> {
    let folder = layout.etcd_client().join(VERSION);
    if folder.join("Cargo.toml").is_file() {
        return Ok(folder);
    }
    let asking = tempfile::tempdir()?;
    fs::create_dir(asking.path().join("src"))?;
    fs::write(asking.path().join("src/lib.rs"), "")?;
    let manifest = format!(
        "[package]\nname = \"asking\"\nedition = \"2024\"\n[dependencies]\netcd-client = \"={VERSION}\"\n[workspace]\n"
    );
    fs::write(asking.path().join("Cargo.toml"), manifest)?;
    let mut metadata = Command::new("cargo");
    metadata.args(["metadata", "--format-version=1"]).current_dir(asking.path());
    let metadata: Metadata = serde_json::from_slice(&programs::output(&mut metadata)?)?;
    let package = metadata.packages.iter().find(|package| package.name == "etcd-client");
    let package = package.and_then(|package| package.manifest_path.parent()).context("cargo fetched no etcd-client")?;
    copy_folder(package, &folder)?;
    redirect(&folder.join("tests/testing.rs"))?;
    Ok(folder)
}

fn redirect(path: &Path) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (theirs, ours) = ENDPOINT;
    anyhow::ensure!(text.contains(theirs), "{} names another address than {theirs}", path.display());
    fs::write(path, text.replace(theirs, ours)).with_context(|| format!("cannot write {}", path.display()))
}
