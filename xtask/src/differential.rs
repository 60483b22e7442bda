//! Starts long runs of the differential test.

use std::ffi::OsString;

use anyhow::Result;

use crate::{cargo::Cargo, layout::Layout, native, test, tools};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// For instance `--operations 100000 --seed 7 --against 3.4`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    more: Vec<OsString>,
}

pub(crate) fn run(layout: &Layout, arguments: &Arguments) -> Result<()> {
    native::ensure(layout)?;
    tools::ensure_clients(layout)?;
    Cargo::new(layout, "run")
        .arguments(["--locked", "--package", "chainfire-differential", "--"])
        .more(&arguments.more)
        .environment("PATH", test::path(layout)?)
        .run()
}
