//! `ops-proofs <lane>`: proofs of the operator contract that drive the real binaries over their public interfaces.
//!
//! A run leaves `work/<lane>/<UTC stamp>/` with `result.json`, one file of evidence for each check and the servers'
//! logs, and `work/<lane>/latest` points at it. Any failed check makes the exit code 1.

mod artifacts;
mod bootstrap;
mod contract;
mod digest;
mod etcd;
mod history;
mod https;
mod lane;
mod leader_kill;
mod linearizable;
mod lockout;
mod members;
mod metrics;
mod operator;
mod playbook;
mod result;
mod rotation;
mod scope;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

use crate::{
    lane::Lane,
    result::{Setting, Status},
};

#[derive(Parser)]
#[command(about = "Executable proofs of the operator contract")]
struct Arguments {
    lane: Lane,
    /// Only this check; may be repeated.
    #[arg(long, value_name = "CHECK")]
    only: Vec<String>,
    /// Where the folder of the lane is made.
    #[arg(long, default_value = "work")]
    out: PathBuf,
    /// A few minutes, for every change. The default.
    #[arg(long, conflicts_with = "long")]
    short: bool,
    /// As long as a release is worth.
    #[arg(long)]
    long: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let setting = if arguments.long { Setting::Long } else { Setting::Short };
    match lane::run(arguments.lane, &arguments.only, setting, &arguments.out) {
        Ok(Status::Passed | Status::Skipped) => ExitCode::SUCCESS,
        Ok(Status::Failed) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
