//! Starts the proof runner on freshly built binaries.

use std::{ffi::OsString, process::Command};

use anyhow::Result;

use crate::{layout::Layout, native, programs, test};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The lane: `core` or `playbook`.
    lane: String,
    /// More arguments for the runner, for instance `--long`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    more: Vec<OsString>,
}

pub(crate) fn run(layout: &Layout, arguments: &Arguments) -> Result<()> {
    native::ensure(layout)?;
    test::build(layout)?;
    programs::run(runner(layout).arg(&arguments.lane).args(&arguments.more))
}

/// The lanes that every change has to pass, at their short settings.
pub(crate) fn short(layout: &Layout) -> Result<()> {
    // Every lane reports, also when one before it has failed.
    let lanes = ["core", "playbook"].map(|lane| programs::run(runner(layout).args([lane, "--short"])));
    lanes.into_iter().collect()
}

fn runner(layout: &Layout) -> Command {
    let mut command = Command::new(layout.binaries().join("ops-proofs"));
    command.current_dir(layout.root()).env("HOLDFAST_BIN_DIR", layout.binaries());
    command
}
