//! A lane is a row of checks that are run, timed and recorded one after the other.

use std::{
    cell::RefCell,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use holdfast_testkit::{Binaries, Cluster};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    artifacts::Artifacts,
    bootstrap,
    contract::{Contract, Line},
    digest, leader_kill, linearizable, lockout, playbook,
    result::{Binary, CheckResult, Counts, Evidence, FORMAT, ProofResult, Setting, Status},
    rotation::{credential, signing_key, trust},
    scope,
};

/// What is put to the test.
const PROGRAMS: [&str; 3] = ["holdfast", "florctl", "flor"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Lane {
    /// What the core control plane promises, also while servers die.
    Core,
    /// What the operator of a fleet does, and what may go wrong with it.
    Playbook,
}

impl Lane {
    fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Playbook => "playbook",
        }
    }

    fn checks(self) -> &'static [Check] {
        match self {
            // The contract comes last: it has lines of checks before it.
            Self::Core => &[
                leader_kill::CHECK,
                linearizable::CHECK,
                bootstrap::CHECK,
                signing_key::CHECK,
                credential::CHECK,
                trust::CHECK,
                scope::CHECK,
            ],
            Self::Playbook => &[playbook::CHECK, lockout::MANUAL, lockout::WATCH],
        }
    }
}

/// One promise and the function that puts it to the test.
pub(crate) struct Check {
    pub(crate) id: &'static str,
    pub(crate) requirement: &'static str,
    pub(crate) run: fn(&Run<'_>) -> Result<()>,
}

/// What a check works with.
pub(crate) struct Run<'a> {
    pub(crate) binaries: &'a Binaries,
    pub(crate) setting: Setting,
    /// What the lane has found so far.
    pub(crate) contract: &'a RefCell<Contract>,
    /// The running check.
    check: &'static str,
    artifacts: &'a Artifacts,
    evidence: RefCell<Vec<Evidence>>,
    skipped: RefCell<Option<String>>,
}

impl Run<'_> {
    /// Lets `drive` have a folder of its own; keeps the logs that servers left in it, whatever comes of it.
    pub(crate) fn in_folder<T>(&self, drive: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        let folder = tempfile::Builder::new().prefix("holdfast-proof-").tempdir()?;
        let outcome = drive(folder.path());
        let logs = folder.path().join("logs");
        // Before the first program was started there are none, and what kept it from starting is what counts.
        if logs.is_dir() {
            self.keep_logs(&logs)?;
        }
        outcome
    }

    /// Starts a cluster and lets `drive` have it. The cluster is driven from one task, which may block: clients have
    /// the runtime's other threads.
    pub(crate) fn on_cluster(&self, servers: usize, drive: impl AsyncFnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        self.in_folder(|folder| {
            let mut cluster = Cluster::start_in(self.binaries, folder, servers)?;
            runtime.block_on(drive(&mut cluster))
        })
    }

    /// Says that this machine does not allow the check, and why: it is neither passed nor failed.
    pub(crate) fn skip(&self, reason: String) {
        *self.skipped.borrow_mut() = Some(reason);
    }

    /// A line of the contract that the running check proves.
    pub(crate) fn line(&self, id: &str, call: impl Into<String>, doc: &str) -> Line {
        Line { id: id.to_owned(), call: call.into(), proof: self.check.to_owned(), doc: doc.to_owned() }
    }

    /// Keeps a value as a file of evidence of the running check.
    pub(crate) fn keep(&self, file: &str, value: &impl serde::Serialize) -> Result<()> {
        let evidence = self.artifacts.keep(file, value)?;
        self.evidence.borrow_mut().push(evidence);
        Ok(())
    }

    /// Their servers have ended, so the files do not change any more.
    fn keep_logs(&self, logs: &Path) -> Result<()> {
        let evidence = self.artifacts.keep_logs(self.check, logs)?;
        self.evidence.borrow_mut().extend(evidence);
        Ok(())
    }
}

/// Runs the checks of the lane, or `only` those, and writes `result.json`.
pub(crate) fn run(lane: Lane, only: &[String], setting: Setting, out: &Path) -> Result<Status> {
    let chosen = |check: &&Check| only.is_empty() || only.iter().any(|id| id == check.id);
    let chosen: Vec<_> = lane.checks().iter().filter(chosen).collect();
    let binaries = Binaries::find()?;
    let begun = OffsetDateTime::now_utc();
    let clock = Instant::now();
    let artifacts = Artifacts::create(out, lane.name(), begun)?;
    let contract = RefCell::new(Contract::of(chosen.iter().map(|check| check.id)));
    let run = |check: &Check| {
        let (check, evidence, skipped) = (check.id, RefCell::default(), RefCell::default());
        Run { binaries: &binaries, setting, contract: &contract, check, artifacts: &artifacts, evidence, skipped }
    };
    let checks: Vec<_> = chosen.iter().map(|check| run_check(check, run(check))).collect();
    let counts = Counts::of(&checks);
    let result = ProofResult {
        format: FORMAT,
        lane: lane.name().to_owned(),
        setting,
        status: counts.status(),
        begun: begun.format(&Rfc3339)?,
        ended: OffsetDateTime::now_utc().format(&Rfc3339)?,
        duration_ms: milliseconds(clock.elapsed()),
        commit: commit(),
        binaries: PROGRAMS.iter().map(|name| binary(&binaries, name)).collect::<Result<_>>()?,
        checks,
        counts,
    };
    artifacts.finish(&result)?;
    println!("{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped);
    println!("{}", artifacts.folder().join("result.json").display());
    Ok(result.status)
}

fn binary(binaries: &Binaries, name: &str) -> Result<Binary> {
    Ok(Binary { name: name.to_owned(), sha256: digest::of_file(&binaries.path(name))? })
}

fn run_check(check: &Check, run: Run<'_>) -> CheckResult {
    println!("{}: {}", check.id, check.requirement);
    let clock = Instant::now();
    let outcome = (check.run)(&run);
    let (status, reason) = match (outcome, run.skipped.into_inner()) {
        (Err(error), _) => (Status::Failed, Some(format!("{error:#}"))),
        (Ok(()), Some(reason)) => (Status::Skipped, Some(reason)),
        (Ok(()), None) => (Status::Passed, None),
    };
    let took = clock.elapsed();
    match (status, reason.as_deref().unwrap_or_default()) {
        (Status::Passed, _) => println!("{}: passed in {:.1} s", check.id, took.as_secs_f64()),
        (Status::Skipped, reason) => println!("{}: SKIPPED: {reason}", check.id),
        (Status::Failed, reason) => println!("{}: FAILED: {reason}", check.id),
    }
    CheckResult {
        id: check.id.to_owned(),
        requirement: check.requirement.to_owned(),
        status,
        duration_ms: milliseconds(took),
        reason,
        evidence: run.evidence.into_inner(),
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The commit of the tree that the runner was started in, as far as there is one.
fn commit() -> String {
    let git = |arguments: &[&str]| -> Result<String> {
        let output = Command::new("git").args(arguments).output()?;
        output.status.success().then_some(()).context("not a repository")?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    match (git(&["rev-parse", "HEAD"]), git(&["status", "--porcelain"])) {
        (Ok(commit), Ok(changes)) if changes.is_empty() => commit,
        (Ok(commit), Ok(_)) => format!("{commit}-dirty"),
        _ => "unknown".to_owned(),
    }
}
