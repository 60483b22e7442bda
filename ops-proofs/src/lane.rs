//! A lane is a row of checks that are run, timed and recorded one after the other.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use holdfast_testkit::{Binaries, Cluster};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    artifacts::Artifacts,
    digest, leader_kill, linearizable,
    result::{Binary, CheckResult, Counts, Evidence, FORMAT, ProofResult, Setting, Status},
    scope,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Lane {
    /// What the core control plane promises, also while servers die.
    Core,
}

impl Lane {
    fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
        }
    }

    fn checks(self) -> &'static [Check] {
        match self {
            Self::Core => &[scope::CHECK, leader_kill::CHECK, linearizable::CHECK],
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
    artifacts: &'a Artifacts,
    evidence: std::cell::RefCell<Vec<Evidence>>,
}

impl Run<'_> {
    /// Starts a cluster and lets `drive` have it; keeps the servers' logs, whatever comes of it. The cluster is driven
    /// from one task, which may block: clients have the runtime's other threads.
    pub(crate) fn on_cluster(
        &self,
        check: &str,
        servers: usize,
        drive: impl AsyncFnOnce(&mut Cluster) -> Result<()>,
    ) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let folder = tempfile::Builder::new().prefix("holdfast-proof-").tempdir()?;
        let mut cluster = Cluster::start_in(self.binaries, folder.path(), servers)?;
        let outcome = runtime.block_on(drive(&mut cluster));
        // Killed before their logs are kept, so that the files do not change any more.
        drop(cluster);
        self.keep_logs(check, &folder.path().join("logs"))?;
        outcome
    }

    /// Keeps a value as a file of evidence of the running check.
    pub(crate) fn keep(&self, file: &str, value: &impl serde::Serialize) -> Result<()> {
        let evidence = self.artifacts.keep(file, value)?;
        self.evidence.borrow_mut().push(evidence);
        Ok(())
    }

    /// Keeps the servers' logs; also called when a check fails.
    pub(crate) fn keep_logs(&self, check: &str, logs: &Path) -> Result<()> {
        let evidence = self.artifacts.keep_logs(check, logs)?;
        self.evidence.borrow_mut().extend(evidence);
        Ok(())
    }
}

/// Runs every check of the lane and writes `result.json`.
pub(crate) fn run(lane: Lane, setting: Setting, out: &Path) -> Result<Status> {
    let binaries = Binaries::find()?;
    let begun = OffsetDateTime::now_utc();
    let clock = Instant::now();
    let artifacts = Artifacts::create(out, lane.name(), begun)?;
    let checks: Vec<_> = lane.checks().iter().map(|check| run_check(check, &binaries, setting, &artifacts)).collect();
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
        binaries: vec![Binary { name: "holdfast".into(), sha256: digest::of_file(&binaries.path("holdfast"))? }],
        checks,
        counts,
    };
    artifacts.finish(&result)?;
    println!("{} passed, {} failed", counts.passed, counts.failed);
    println!("{}", artifacts.folder().join("result.json").display());
    Ok(result.status)
}

fn run_check(check: &Check, binaries: &Binaries, setting: Setting, artifacts: &Artifacts) -> CheckResult {
    println!("{}: {}", check.id, check.requirement);
    let clock = Instant::now();
    let run = Run { binaries, setting, artifacts, evidence: std::cell::RefCell::default() };
    let outcome = (check.run)(&run);
    let (status, failure) = match outcome {
        Ok(()) => (Status::Passed, None),
        Err(error) => (Status::Failed, Some(format!("{error:#}"))),
    };
    match &failure {
        None => println!("{}: passed in {:.1} s", check.id, clock.elapsed().as_secs_f64()),
        Some(failure) => println!("{}: FAILED: {failure}", check.id),
    }
    CheckResult {
        id: check.id.to_owned(),
        requirement: check.requirement.to_owned(),
        status,
        duration_ms: milliseconds(clock.elapsed()),
        failure,
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
