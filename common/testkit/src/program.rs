//! Running command lines the way a person types them.

use std::{
    ffi::OsString,
    fs,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::netns;

/// A program with its arguments, run in a folder in which paths are short enough to read.
#[derive(Debug)]
pub struct Program {
    command: Command,
    shown: Vec<String>,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub output: String,
    pub errors: String,
    shown: String,
}

impl Program {
    /// `binary` is run; its file name is shown.
    pub fn new(binary: &Path, folder: &Path) -> Self {
        let mut command = Command::new(binary);
        command.current_dir(folder);
        let name = binary.file_name().unwrap_or(binary.as_os_str()).to_string_lossy().into_owned();
        Self { command, shown: vec![name] }
    }

    /// Arguments, split at blanks; what holds a blank itself goes through [`Program::argument`].
    pub fn words(mut self, words: &str) -> Self {
        for word in words.split_whitespace() {
            self = self.argument(word);
        }
        self
    }

    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        let argument = argument.into();
        self.shown.push(quoted(&argument.to_string_lossy()));
        self.command.arg(argument);
        self
    }

    /// An argument that is not shown because the typed command would not have it, such as `-o json`.
    pub fn quietly(mut self, words: &str) -> Self {
        self.command.args(words.split_whitespace());
        self
    }

    /// A variable that is not shown.
    pub fn environment(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    /// A variable with a secret that is in a file, set as a person would set it for one command.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn secret(mut self, name: &str, prefix: &str, file: &Path) -> Result<Self> {
        let secret = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let folder = self.command.get_current_dir().unwrap_or(Path::new(""));
        let short = file.strip_prefix(folder).unwrap_or(file);
        self.shown.insert(0, format!("{name}=\"{prefix}$(cat {})\"", quoted(&short.to_string_lossy())));
        self.command.env(name, format!("{prefix}{}", secret.trim_end()));
        Ok(self)
    }

    /// The line that a person would type.
    pub fn shown(&self) -> String {
        self.shown.join(" ")
    }

    /// The same in a namespace, which is not shown.
    pub fn within(mut self, namespace: Option<&str>) -> Self {
        if let Some(name) = namespace {
            self.command = netns::enter(name, &self.command);
        }
        self
    }

    /// Takes the command apart for a caller that starts it in the background.
    pub fn into_command(self) -> Command {
        self.command
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(mut self) -> Result<Ended> {
        let shown = self.shown();
        let Output { status, stdout, stderr } =
            self.command.output().with_context(|| format!("cannot start {shown}"))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Ended { code: status.code(), output: text(stdout), errors: text(stderr), shown })
    }
}

impl Ended {
    /// An error that shows what the program said, unless it ended with this code.
    ///
    /// # Errors
    /// When it ended otherwise.
    pub fn expect(self, code: i32) -> Result<Self> {
        if self.code == Some(code) {
            return Ok(self);
        }
        let ended = self.code.map_or_else(|| "a signal".to_owned(), |code| format!("code {code}"));
        bail!("`{}` ended with {ended} instead of {code}\n{}{}", self.shown, self.output, self.errors)
    }

    /// What it printed, which is JSON.
    ///
    /// # Errors
    /// When it is not.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.output)
            .with_context(|| format!("`{}` did not print JSON: {}", self.shown, self.output))
    }

    /// Both streams, for showing.
    pub fn said(&self) -> String {
        format!("{}{}", self.output, self.errors)
    }
}

fn quoted(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./:=@,+%".contains(character);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_typed() {
        let program = Program::new(Path::new("/usr/bin/florctl"), Path::new("/"))
            .words("history query")
            .argument("SELECT 'x'")
            .quietly("-o json");
        assert_eq!(program.shown(), r"florctl history query 'SELECT '\''x'\'''");
    }

    #[test]
    fn secrets_stay_in_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("admin.token");
        fs::write(&file, "deep\n").unwrap();
        let shell = Program::new(Path::new("/bin/sh"), folder.path()).words("-c").argument("echo $WHO");
        let shell = shell.secret("WHO", "admin:", &file).unwrap();
        assert_eq!(shell.shown(), r#"WHO="admin:$(cat admin.token)" sh -c 'echo $WHO'"#);
        assert_eq!(shell.run().unwrap().output, "admin:deep\n");
    }

    #[test]
    fn an_unexpected_end_shows_what_was_said() {
        let shell = |script: &str| Program::new(Path::new("/bin/sh"), Path::new("/")).words("-c").argument(script);
        assert_eq!(shell("echo '[1]'").run().unwrap().expect(0).unwrap().json().unwrap(), serde_json::json!([1]));
        let error = shell("echo no such node >&2; exit 5").run().unwrap().expect(0).unwrap_err();
        assert!(error.to_string().contains("code 5") && error.to_string().contains("no such node"), "{error}");
    }
}
