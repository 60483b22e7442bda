//! Whether a unit that was told of its new file lives on with it: a program may accept its configuration, and end a moment
//! later.

use std::{process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

/// What is asked of systemd, in one question.
const PROPERTIES: &str = "--property=Type,ActiveState,SubState,Result,NRestarts,ExecMainCode,ExecMainStatus";
/// How long systemd may take to answer it.
const PATIENCE: Duration = Duration::from_secs(10);
/// A program that exits with this has understood its configuration and refuses it.
pub(super) const CONFIG_REJECTED: i32 = 78;
/// `CLD_EXITED`: the process ended by itself.
const EXITED: &str = "1";

/// A unit at one moment, in systemd's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UnitState {
    kind: String,
    active: String,
    sub: String,
    result: String,
    /// How often systemd started it again by itself, since somebody did.
    restarts: u64,
    code: String,
    status: i32,
}

impl UnitState {
    pub(super) async fn of(unit: &str) -> Result<Self, String> {
        let mut command = Command::new("systemctl");
        command.args(["show", PROPERTIES, "--", unit]).stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(PATIENCE, command.output()).await.map_err(|_| "systemctl show does not end".to_owned())?;
        let output = output.map_err(|error| format!("systemctl show: {error}"))?;
        if output.status.success() {
            Ok(Self::parse(&String::from_utf8_lossy(&output.stdout)))
        } else {
            Err(format!("systemctl show: {}", output.status))
        }
    }

    /// Lines of `NAME=VALUE`; what an older systemd does not know is not there.
    fn parse(text: &str) -> Self {
        let mut state = Self::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            match name {
                "Type" => value.clone_into(&mut state.kind),
                "ActiveState" => value.clone_into(&mut state.active),
                "SubState" => value.clone_into(&mut state.sub),
                "Result" => value.clone_into(&mut state.result),
                "NRestarts" => state.restarts = value.parse().unwrap_or_default(),
                "ExecMainCode" => value.clone_into(&mut state.code),
                "ExecMainStatus" => state.status = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
        state
    }

    /// Its program does not want this configuration.
    pub(super) fn refused(&self) -> bool {
        self.status == CONFIG_REJECTED && self.code == EXITED && !self.runs()
    }

    fn runs(&self) -> bool {
        matches!(self.active.as_str(), "active" | "reloading")
    }

    /// What is the matter with it, after it was as `before` for a while.
    pub(super) fn judge(&self, before: &Self) -> Result<(), String> {
        if self.refused() {
            return Err("refused its configuration".to_owned());
        }
        let again = self.restarts.saturating_sub(before.restarts);
        if again > 0 {
            return Err(format!("ended, and systemd started it again ({again} times)"));
        }
        let done = self.kind == "oneshot" && self.active == "inactive" && self.result == "success";
        if self.runs() || done {
            return Ok(());
        }
        let Self { active, sub, result, status, .. } = self;
        Err(format!("did not stay up: {active} ({sub}), {result}, status {status}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(text: &str) -> UnitState {
        UnitState::parse(&text.replace(' ', "\n"))
    }

    #[test]
    fn a_unit_lives_on_or_does_not() {
        let up = state("Type=simple ActiveState=active SubState=running Result=success NRestarts=2 ExecMainCode=0");
        for (text, expected) in [
            ("Type=simple ActiveState=active SubState=running NRestarts=2", ""),
            ("Type=notify ActiveState=reloading SubState=reload NRestarts=2", ""),
            ("Type=oneshot ActiveState=inactive SubState=dead Result=success", ""),
            ("ActiveState=active SubState=running", ""),
            ("Type=simple ActiveState=active SubState=running NRestarts=4", "started it again (2 times)"),
            (
                "Type=simple ActiveState=failed SubState=failed Result=exit-code NRestarts=2 ExecMainCode=1 ExecMainStatus=1",
                "failed (failed), exit-code, status 1",
            ),
            (
                "Type=simple ActiveState=activating SubState=auto-restart Result=exit-code NRestarts=2 ExecMainCode=1 ExecMainStatus=78",
                "refused its configuration",
            ),
            ("Type=simple ActiveState=inactive SubState=dead Result=success NRestarts=2", "did not stay up: inactive"),
            ("Type=oneshot ActiveState=failed SubState=failed Result=exit-code", "did not stay up"),
            ("", "did not stay up"),
        ] {
            match state(text).judge(&up) {
                Ok(()) => assert_eq!(expected, "", "{text}"),
                Err(why) => assert!(!expected.is_empty() && why.contains(expected), "{text}: {why}"),
            }
        }
        let killed = state("ActiveState=failed ExecMainCode=2 ExecMainStatus=78");
        assert!(!killed.refused(), "a signal is no exit code");
    }
}
