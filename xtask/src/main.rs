//! `cargo xtask`: everything a contributor or CI does with this tree, needing only cargo.

mod bench;
mod cargo;
mod ci;
mod demo;
mod differential;
mod etcd_client;
mod layout;
mod native;
mod programs;
mod proofs;
mod rocksdb;
mod sim;
mod steps;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::layout::Layout;

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "Automation for the Holdfast tree")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build everything and run every test, the short proofs and the demo once.
    Test,
    /// What CI runs: formatting, lints, tidy, then what `test` runs.
    Ci,
    /// Check the rules that the compiler cannot: dependency direction, file sizes, words that must not be left behind.
    Tidy,
    /// Walk through everything with real servers and agents, and stay for a look.
    Demo(demo::Arguments),
    /// Ask a real etcd and chainfire the same, at random, and compare every answer.
    Differential(differential::Arguments),
    /// Measure release builds, beside other products where asked for.
    Bench(bench::Arguments),
    /// Simulate clusters under every kind of failure, a seed at a time.
    Sim(sim::Arguments),
    /// Run proof lanes against the real binaries.
    Proofs(proofs::Arguments),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let layout = Layout::find()?;
    match command {
        Command::Test => test::run(&layout),
        Command::Ci => ci::run(&layout),
        Command::Tidy => tidy::run(&layout),
        Command::Demo(arguments) => demo::run(&layout, &arguments),
        Command::Differential(arguments) => differential::run(&layout, &arguments),
        Command::Bench(arguments) => bench::run(&layout, &arguments),
        Command::Sim(arguments) => sim::run(&layout, &arguments),
        Command::Proofs(arguments) => proofs::run(&layout, &arguments),
    }
}
