//! The simulator of whole clusters, over many seeds: see `chainfire/raft/src/sim`.

use anyhow::Result;

use crate::{cargo::Cargo, layout::Layout};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many seeds to try, one after the other; 1,000 without --seed.
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed. Alone it shows one run again.
    #[arg(long)]
    seed: Option<u64>,
}

/// Seeds cost nothing but computing, and most of that is openraft checking itself. Only these crates are compiled anew.
const FAST: [&str; 4] = [
    "profile.dev.package.chainfire-raft.opt-level=2",
    "profile.dev.package.chainfire-core.opt-level=2",
    "profile.dev.package.openraft.debug-assertions=false",
    "profile.dev.package.validit.debug-assertions=false",
];

/// Without a failure it prints what the runs reached; with one its seed and what happened.
pub(crate) fn run(layout: &Layout, arguments: &Arguments) -> Result<()> {
    let first = arguments.seed.unwrap_or(0);
    let seeds = arguments.seeds.unwrap_or(if arguments.seed.is_some() { 1 } else { 1_000 });
    let test = ["--nocapture", "--exact", "sim::tests::nothing_is_found_and_nothing_left_out"];
    let mut cargo = Cargo::new(layout, "test");
    for setting in FAST {
        cargo = cargo.arguments(["--config", setting]);
    }
    cargo
        .arguments(["--package", "chainfire-raft", "--lib", "--locked", "--"])
        .arguments(test)
        .environment("HOLDFAST_SIM_FIRST", first.to_string())
        .environment("HOLDFAST_SIM_SEEDS", seeds.to_string())
        .run()
}
