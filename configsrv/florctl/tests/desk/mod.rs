//! An operator's desk: a copy of the example fleet and a folder for keys.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its own part and ends where it fails")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use holdfast_testkit::copy_folder;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct Desk {
    dir: TempDir,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Desk {
    /// Only the YAML.
    pub(crate) fn bare() -> Self {
        let desk = Self { dir: tempfile::tempdir().unwrap() };
        copy_folder(Path::new("../fleet/examples/quay"), &desk.repo()).unwrap();
        desk
    }

    /// An empty folder.
    pub(crate) fn empty() -> Self {
        let desk = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(desk.repo()).unwrap();
        desk
    }

    /// With an authority and certificates for everybody.
    pub(crate) fn new() -> Self {
        let desk = Self::bare();
        desk.run("ca init").expect(0);
        desk.run("ca issue --missing").expect(0);
        desk
    }

    pub(crate) fn repo(&self) -> PathBuf {
        self.dir.path().join("repo")
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.dir.path().join("keys")
    }

    pub(crate) fn sign_key(&self) -> PathBuf {
        self.keys().join("management-plane-primary.key")
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.repo().join(path)).unwrap()
    }

    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{path} does not contain {from:?}");
        fs::write(self.repo().join(path), text.replacen(from, to, 1)).unwrap();
    }

    /// A file beside the repository.
    pub(crate) fn password(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    /// Runs florctl with `words` in the repository.
    pub(crate) fn run(&self, words: &str) -> Said {
        self.command(words, &[])
    }

    pub(crate) fn command(&self, words: &str, variables: &[(&str, &str)]) -> Said {
        let output = Command::new(env!("CARGO_BIN_EXE_florctl"))
            .args(words.split_whitespace())
            .current_dir(self.repo())
            .env_clear()
            .env("HOME", self.dir.path())
            .env("FLORCTL_KEYS", self.keys())
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        Said {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Said {
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}
