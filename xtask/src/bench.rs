//! Starts measurements, of optimised builds.

use std::ffi::OsString;

use anyhow::Result;

use crate::{cargo::Cargo, layout::Layout, native, test, tools};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// The store: `--against etcd` measures etcd beside it.
    Chainfire {
        /// For instance `--against etcd,nothing --members 1 --modes drop-in`, or `--list`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        more: Vec<OsString>,
    },
    /// IAM in real servers: what admitting a request costs, and how soon a change counts everywhere.
    Iam {
        /// For instance `--small`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        more: Vec<OsString>,
    },
    /// Distribution: a fleet of simulated nodes against real servers, and the data plane of one node.
    Fleet {
        /// For instance `--nodes 1000 --servers 1`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        more: Vec<OsString>,
    },
}

pub(crate) fn run(layout: &Layout, arguments: &Arguments) -> Result<()> {
    let (package, more) = match &arguments.what {
        What::Chainfire { more } => ("chainfire-bench", more),
        What::Iam { more } => ("iam-bench", more),
        What::Fleet { more } => ("configsrv-bench", more),
    };
    native::ensure(layout)?;
    tools::ensure_clients(layout)?;
    Cargo::new(layout, "build")
        .arguments(["--release", "--locked", "--package", "holdfast", "--package", "flor", "--bins"])
        .run()?;
    Cargo::new(layout, "run")
        .arguments(["--release", "--locked", "--package", package, "--"])
        .more(more)
        .environment("PATH", test::path(layout)?)
        .environment("HOLDFAST_BIN_DIR", layout.target().join("release"))
        .run()?;
    if matches!(arguments.what, What::Fleet { .. }) {
        let figures = ["--release", "--locked", "--package", "configsrv-rete", "--example", "figures"];
        Cargo::new(layout, "run").arguments(figures).run()?;
    }
    Ok(())
}
