//! Everything that is tested by running it.

use std::{env, ffi::OsString};

use anyhow::{Context as _, Result};

use crate::{cargo::Cargo, demo, etcd_client, layout::Layout, native, proofs, steps::Steps};

/// What a test does when a public client that it drives our servers with is not installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clients {
    /// It says so and passes.
    Optional,
    /// It fails.
    Required,
}

pub(crate) fn run(layout: &Layout) -> Result<()> {
    let mut steps = Steps::default();
    let ready = steps.run("set up", || native::ensure(layout));
    self::steps(layout, &mut steps, ready, Clients::Optional);
    steps.finish()
}

/// The steps that `test` and `ci` share.
pub(crate) fn steps(layout: &Layout, steps: &mut Steps, ready: bool, clients: Clients) {
    let built = steps.run_after(ready, "build", || build(layout));
    steps.run_after(built, "test", || {
        let mut cargo = Cargo::new(layout, "test").arguments(["--workspace", "--locked", "--no-fail-fast"]);
        cargo = cargo.environment("HOLDFAST_BIN_DIR", layout.binaries()).environment("PATH", path(layout)?);
        if clients == Clients::Required {
            cargo = cargo.environment("HOLDFAST_REQUIRE_TOOLS", "1");
        }
        cargo.run()
    });
    if clients == Clients::Required {
        steps.run_after(built, "fuzz", || {
            let cargo = Cargo::new(layout, "test").arguments(["--workspace", "--locked", "--test", "fuzz"]);
            // All of them side by side, a minute each.
            cargo.environment("HOLDFAST_FUZZ_S", "60").environment("RUST_TEST_THREADS", "16").run()
        });
        steps.run_after(built, "etcd-client's own tests", || etcd_client::run(layout));
    }
    steps.run_after(built, "proofs", || proofs::short(layout));
    steps.run_after(built, "demo", || demo::once(layout, "1"));
    steps.run_after(built, "demo with three servers", || demo::once(layout, "3"));
}

/// Builds every binary, with the features of a build of the whole workspace: a narrower selection would compile
/// dependencies a second time.
pub(crate) fn build(layout: &Layout) -> Result<()> {
    Cargo::new(layout, "build").arguments(["--workspace", "--bins", "--locked"]).run()
}

/// `PATH` with the clients that were built for tests in front.
pub(crate) fn path(layout: &Layout) -> Result<OsString> {
    let mut folders = vec![layout.bin()];
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    env::join_paths(folders).context("PATH cannot be extended")
}
