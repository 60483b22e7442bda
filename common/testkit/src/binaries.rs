//! Where the binaries under test are.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

/// A folder with the binaries of one build.
#[derive(Clone, Debug)]
pub struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// `HOLDFAST_BIN_DIR`, else the folder that cargo built the running test or program into.
    ///
    /// # Errors
    /// When there is no `holdfast` there.
    pub fn find() -> Result<Self> {
        let candidates: Vec<PathBuf> = match env::var_os("HOLDFAST_BIN_DIR") {
            Some(folder) => vec![folder.into()],
            // A test is `target/debug/deps/name-hash`, a program `target/debug/name`.
            None => env::current_exe()?.ancestors().skip(1).take(2).map(Path::to_owned).collect(),
        };
        match candidates.iter().find(|folder| folder.join("holdfast").is_file()) {
            Some(folder) => Ok(Self::in_folder(folder)),
            None => {
                bail!("no `holdfast` binary in {candidates:?}; run `cargo build -p holdfast` or set HOLDFAST_BIN_DIR")
            }
        }
    }

    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The path of `holdfast`, `florctl` or `flor`. Setting `HOLDFAST_BIN` names another `holdfast`.
    pub fn path(&self, name: &str) -> PathBuf {
        let other = if name == "holdfast" { env::var_os("HOLDFAST_BIN") } else { None };
        other.map_or_else(|| self.folder.join(name), PathBuf::from)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
