//! A row of named steps with a summary of what each one did and how long it took.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// What is run one after the other. A failed step does not keep the following ones from reporting theirs.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<(&'static str, Outcome, Duration)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    NotRun,
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Passed => "ok",
            Self::Failed => "FAILED",
            Self::NotRun => "not run",
        })
    }
}

impl Steps {
    /// Runs one step; true when it passed.
    pub(crate) fn run(&mut self, name: &'static str, step: impl FnOnce() -> Result<()>) -> bool {
        println!("\n=== {name}");
        let begun = Instant::now();
        let result = step();
        let outcome = if result.is_ok() { Outcome::Passed } else { Outcome::Failed };
        if let Err(error) = result {
            eprintln!("{name}: {error:#}");
        }
        self.done.push((name, outcome, begun.elapsed()));
        outcome == Outcome::Passed
    }

    /// Runs a step that makes sense only when what it builds on passed.
    pub(crate) fn run_after(&mut self, passed: bool, name: &'static str, step: impl FnOnce() -> Result<()>) -> bool {
        if passed {
            return self.run(name, step);
        }
        self.done.push((name, Outcome::NotRun, Duration::ZERO));
        false
    }

    /// Prints the summary; an error when any step did not pass.
    pub(crate) fn finish(self) -> Result<()> {
        println!("\n=== summary");
        for (name, outcome, took) in &self.done {
            println!("{outcome:>8}  {:>7.1} s  {name}", took.as_secs_f64());
        }
        let failed: Vec<_> =
            self.done.iter().filter(|(_, outcome, _)| *outcome != Outcome::Passed).map(|(name, ..)| *name).collect();
        if !failed.is_empty() {
            bail!("did not pass: {}", failed.join(", "));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_steps_run_after_a_failure_unless_they_build_on_it() {
        let mut steps = Steps::default();
        let built = steps.run("build", || bail!("no compiler"));
        assert!(!built);
        assert!(!steps.run_after(built, "use", || panic!("must not run")));
        assert!(steps.run("format", || Ok(())));
        let error = steps.finish().unwrap_err();
        assert_eq!(error.to_string(), "did not pass: build, use");
    }

    #[test]
    fn all_passed_is_success() {
        let mut steps = Steps::default();
        steps.run("format", || Ok(()));
        assert!(steps.finish().is_ok());
    }
}
