//! Starting cargo from inside `cargo run` as if a person had typed it.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{layout::Layout, programs, rocksdb};

/// A cargo command in this tree, with the shared target folder.
pub(crate) struct Cargo {
    command: Command,
}

impl Cargo {
    pub(crate) fn new(layout: &Layout, subcommand: &str) -> Self {
        let mut command = Command::new("cargo");
        command.arg(subcommand).current_dir(layout.root()).env("CARGO_TARGET_DIR", layout.target());
        if let Some(folder) = rocksdb::folder(layout).filter(|_| env::var_os(rocksdb::FOLDER_VARIABLE).is_none()) {
            command.env(rocksdb::FOLDER_VARIABLE, folder).env("ROCKSDB_STATIC", "1");
        }
        forget_outer_cargo(&mut command, layout.root());
        Self { command }
    }

    pub(crate) fn arguments<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.command.args(arguments);
        self
    }

    /// Arguments of the program that is to run.
    pub(crate) fn more(mut self, arguments: &[OsString]) -> Self {
        self.command.args(arguments);
        self
    }

    pub(crate) fn environment(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    pub(crate) fn run(mut self) -> Result<()> {
        programs::run(&mut self.command)
    }

    /// Shows progress and returns what cargo tells programs.
    pub(crate) fn messages(mut self) -> Result<Vec<u8>> {
        programs::messages(&mut self.command)
    }

    pub(crate) fn output(mut self) -> Result<Vec<u8>> {
        programs::output(&mut self.command)
    }
}

/// `cargo run` tells its child about the package that runs. Passed on, that would change what build scripts see, and
/// with it what cargo believes has to be compiled again.
fn forget_outer_cargo(command: &mut Command, root: &Path) {
    for (name, _) in env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        if name == "CARGO" || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    match env::var_os("LD_LIBRARY_PATH").and_then(|paths| without_own_folders(&paths, root)) {
        Some(paths) => command.env("LD_LIBRARY_PATH", paths),
        None => command.env_remove("LD_LIBRARY_PATH"),
    };
}

fn without_own_folders(paths: &OsString, root: &Path) -> Option<OsString> {
    let target = env::current_exe().ok().and_then(|own| own.parent().map(Path::to_owned));
    let kept: Vec<PathBuf> = env::split_paths(paths)
        .filter(|path| !path.as_os_str().is_empty() && !path.starts_with(root.join("target")))
        .filter(|path| !target.as_ref().is_some_and(|target| path.starts_with(target)))
        .filter(|path| !path.components().any(|part| part.as_os_str() == "rustlib" || part.as_os_str() == "toolchains"))
        .collect();
    if kept.is_empty() { None } else { env::join_paths(kept).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_folders_that_cargo_added_are_dropped() {
        let root = Path::new("/tree");
        let rust = "/opt/toolchains/stable/lib";
        let mixed = format!("/tree/target/debug/deps:{rust}:/opt/mine/lib");
        assert_eq!(without_own_folders(&mixed.into(), root), Some("/opt/mine/lib".into()));
        assert_eq!(without_own_folders(&"/tree/target/debug/deps:".into(), root), None);
    }
}
