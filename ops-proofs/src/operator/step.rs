//! One step of an operator: what was typed, what came of it, what was found.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use holdfast_testkit::{Ended, Program, wait_until};
use serde::Serialize;

use crate::{lane::Run, members::PATIENCE};

/// What a step leaves as evidence.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    title: String,
    commands: Vec<Said>,
    found: Vec<String>,
    duration_ms: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

/// A command and its answer.
#[derive(Debug, Serialize)]
pub(crate) struct Said {
    command: String,
    exit: Option<i32>,
    output: String,
    errors: String,
}

impl Step {
    /// Does a step, and keeps `FILE.json` whatever comes of it.
    pub(crate) fn of<T>(
        run: &Run<'_>,
        file: &str,
        title: &str,
        walk: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        println!("  {file}: {title}");
        let begun = Instant::now();
        let mut step =
            Self { title: title.to_owned(), commands: Vec::new(), found: Vec::new(), duration_ms: 0, failure: None };
        let outcome = walk(&mut step);
        step.duration_ms = begun.elapsed().as_millis();
        step.failure = outcome.as_ref().err().map(|error| format!("{error:#}"));
        run.keep(&format!("{file}.json"), &step)?;
        outcome.with_context(|| format!("step {file}"))
    }

    /// Runs a program, which has to end with this code.
    pub(crate) fn tell(&mut self, program: Program, code: i32) -> Result<Ended> {
        let command = program.shown();
        let ended = program.run()?;
        self.said(Said::of(command, &ended));
        ended.expect(code)
    }

    /// What was typed elsewhere.
    pub(crate) fn said(&mut self, said: Said) {
        self.commands.push(said);
    }

    /// Writes down what is true now, or fails.
    pub(crate) fn find(&mut self, holds: bool, claim: impl Into<String>) -> Result<()> {
        let claim = claim.into();
        if !holds {
            bail!("it is not so that {claim}");
        }
        self.found.push(claim);
        Ok(())
    }

    /// Writes down what becomes true in time, or fails.
    pub(crate) fn await_that(
        &mut self,
        claim: impl Into<String>,
        mut holds: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let claim = claim.into();
        wait_until(PATIENCE, &format!("it to be so that {claim}"), || Ok(holds()?.then_some(())))?;
        self.found.push(claim);
        Ok(())
    }
}

impl Said {
    pub(crate) fn of(command: String, ended: &Ended) -> Self {
        Self { command, exit: ended.code, output: ended.output.clone(), errors: ended.errors.clone() }
    }
}
