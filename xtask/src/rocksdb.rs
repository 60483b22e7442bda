//! RocksDB's library, compiled once a machine.
//!
//! Its C++ takes most of a first build, and cargo would compile it again for every selection of packages that gives
//! its build script other features. So the first build's library is put beside the target folder, and every later
//! cargo command links that one.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{cargo::Cargo, layout::Layout};

/// The package that compiles RocksDB.
const PACKAGE: &str = "librocksdb-sys";
/// The crate of this tree that uses it, with the features that it has everywhere.
const USER: &str = "chainfire-raft";
const LIBRARY: &str = "librocksdb.a";
/// Names a folder with the library for the package's build script; also set by people who bring their own.
pub(crate) const FOLDER_VARIABLE: &str = "ROCKSDB_LIB_DIR";

/// What cargo says of a build script, as far as it matters here.
#[derive(Deserialize)]
struct BuildScript {
    reason: String,
    #[serde(default)]
    package_id: String,
    out_dir: Option<PathBuf>,
}

/// The folder with the library, if it is there.
pub(crate) fn folder(layout: &Layout) -> Option<PathBuf> {
    let folder = expected(layout).ok()?;
    folder.join(LIBRARY).is_file().then_some(folder)
}

/// Compiles the library unless it is there or somebody has brought one.
pub(crate) fn ensure(layout: &Layout) -> Result<()> {
    if env::var_os(FOLDER_VARIABLE).is_some() || folder(layout).is_some() {
        return Ok(());
    }
    println!("RocksDB is compiled once, which takes about ten minutes on two cores");
    let cargo = Cargo::new(layout, "build");
    let messages =
        cargo.arguments(["--package", USER, "--locked", "--message-format=json-render-diagnostics"]).messages()?;
    let compiled = out_dir(&messages).with_context(|| format!("cargo did not run {PACKAGE}'s build script"))?;
    let folder = expected(layout)?;
    keep(&compiled.join(LIBRARY), &folder)
}

/// One folder for each release of the package.
fn expected(layout: &Layout) -> Result<PathBuf> {
    let lock = layout.root().join("Cargo.lock");
    let text = fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let Some(version) = locked_version(&text) else { bail!("{} has no {PACKAGE}", lock.display()) };
    Ok(layout.rocksdb().join(version))
}

fn locked_version(lock: &str) -> Option<&str> {
    let name = format!("name = \"{PACKAGE}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    lines.nth(1)?.strip_prefix("version = \"")?.strip_suffix('"')
}

fn out_dir(messages: &[u8]) -> Option<PathBuf> {
    messages
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<BuildScript>(line).ok())
        .find(|script| script.reason == "build-script-executed" && script.package_id.contains(PACKAGE))?
        .out_dir
}

/// Appears whole or not at all.
fn keep(library: &Path, folder: &Path) -> Result<()> {
    let partial = folder.join("partial");
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::copy(library, &partial).with_context(|| format!("cannot copy {}", library.display()))?;
    fs::rename(&partial, folder.join(LIBRARY)).with_context(|| format!("cannot write to {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locked_version_is_found() {
        let lock = "[[package]]\nname = \"lib\"\nversion = \"1\"\n\n[[package]]\nname = \"librocksdb-sys\"\nversion = \"0.1.0+2\"\n";
        assert_eq!(locked_version(lock), Some("0.1.0+2"));
        assert_eq!(locked_version("name = \"lib\"\nversion = \"1\"\n"), None);
    }

    #[test]
    fn the_build_script_is_found_among_other_messages() {
        let messages = b"{\"reason\":\"compiler-artifact\",\"package_id\":\"librocksdb-sys 1\"}\nnot json\n\
            {\"reason\":\"build-script-executed\",\"package_id\":\"registry+x#librocksdb-sys@1\",\"out_dir\":\"/out\"}\n";
        assert_eq!(out_dir(messages), Some(PathBuf::from("/out")));
        assert_eq!(out_dir(b""), None);
    }
}
