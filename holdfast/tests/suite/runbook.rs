//! Runbooks whose commands are executed as they are written.

use std::{cell::RefCell, collections::BTreeSet, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    plane::Plane,
    programs::{Said, run},
};

const FLORCTL: &str = "florctl ";

/// A runbook, and which of its commands were executed.
pub(crate) struct Runbook {
    text: &'static str,
    executed: RefCell<BTreeSet<&'static str>>,
}

impl Runbook {
    pub(crate) fn new(text: &'static str) -> Self {
        Self { text, executed: RefCell::default() }
    }

    /// Every line that is a command: indented, or between fences.
    fn commands(&self) -> impl Iterator<Item = &'static str> {
        self.text.lines().map(str::trim).filter(|line| line.starts_with(FLORCTL))
    }

    /// The words after `florctl iam` of the command that begins with `words`, with `places` filled in.
    pub(crate) fn iam(&self, words: &str, places: &[(&str, &str)]) -> Result<String> {
        let begin = format!("florctl iam {words}");
        // The whole command, or one with more to it.
        let found = self.commands().find(|line| *line == begin);
        let found = found.or_else(|| self.commands().find(|line| line.starts_with(&begin)));
        let line = found.with_context(|| format!("the runbook has no command that begins with {begin:?}"))?;
        self.executed.borrow_mut().insert(line);
        let words = line.trim_start_matches("florctl iam ").to_owned();
        Ok(places.iter().fold(words, |words, (place, value)| words.replace(place, value)))
    }

    /// Executes that command as the administrator.
    pub(crate) fn run(&self, plane: &Plane, at: usize, words: &str, places: &[(&str, &str)]) -> Result<Value> {
        plane.admin(at, &self.iam(words, places)?)
    }

    /// Executes the command that begins with `begin` as the administrator's shell does, in `folder`, with the folder for
    /// private keys beside it.
    pub(crate) fn at_desk(
        &self,
        plane: &Plane,
        folder: &std::path::Path,
        begin: &str,
        places: &[(&str, &str)],
    ) -> Result<String> {
        let line = self.commands().find(|line| line.starts_with(begin));
        let line = line.with_context(|| format!("the runbook has no command that begins with {begin:?}"))?;
        self.executed.borrow_mut().insert(line);
        let line = places.iter().fold(line.to_owned(), |line, (place, value)| line.replace(place, value));
        let folder = folder.display();
        plane.shell(0, &format!("export FLORCTL_KEYS={folder}.keys; cd {folder}; {line}"))?.good()
    }

    /// Executes the line of the shell that begins with `begin`, in `folder`.
    pub(crate) fn shell(&self, folder: &std::path::Path, begin: &str) -> Result<()> {
        let line = self.text.lines().map(str::trim).find(|line| line.starts_with(begin));
        let mut command = Command::new("sh");
        command.current_dir(folder).args(["-e", "-c", line.with_context(|| format!("no line {begin:?}"))?]);
        run(command)?.good().map(drop)
    }

    /// Executes the look at the history, and says what it showed.
    pub(crate) fn history(&self, plane: &Plane) -> Result<String> {
        let line = self.commands().find(|line| line.starts_with("florctl history "));
        let line = line.context("the runbook looks at the history")?;
        self.executed.borrow_mut().insert(line);
        plane.shell(0, line).and_then(Said::good)
    }

    /// That none of its commands was left out.
    pub(crate) fn is_done(&self) -> Result<()> {
        let left: Vec<_> = self.commands().filter(|line| !self.executed.borrow().contains(line)).collect();
        ensure!(left.is_empty(), "not executed: {left:#?}");
        Ok(())
    }
}
