//! Where the tree is and where what is built from it goes.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// Folders that every command shares.
///
/// Compiled code is kept outside the tree, so that a fresh clone does not compile RocksDB and DataFusion again.
#[derive(Debug)]
pub(crate) struct Layout {
    root: PathBuf,
    cache: PathBuf,
    target: PathBuf,
}

impl Layout {
    pub(crate) fn find() -> Result<Self> {
        let xtask = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&xtask).parent().context("xtask is not inside a workspace")?.to_owned();
        let cache = match (absolute("XDG_CACHE_HOME"), absolute("HOME")) {
            (Some(cache), _) => cache.join("holdfast"),
            (None, Some(home)) => home.join(".cache/holdfast"),
            (None, None) => root.join("target/cache"),
        };
        let target = match env::var_os("CARGO_TARGET_DIR").filter(|folder| !folder.is_empty()) {
            Some(folder) => root.join(folder),
            None => cache.join("target"),
        };
        Ok(Self { root, cache, target })
    }

    /// The top of the tree.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What cargo builds to run.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// RocksDB's library, a folder for each release.
    pub(crate) fn rocksdb(&self) -> PathBuf {
        self.cache.join("rocksdb")
    }

    /// Programs that were built for tests.
    pub(crate) fn bin(&self) -> PathBuf {
        self.cache.join("bin")
    }

    /// The Python environment of tests' clients.
    pub(crate) fn python(&self) -> PathBuf {
        self.cache.join("python")
    }

    /// The crate `etcd-client` with its tests, a folder for each release.
    pub(crate) fn etcd_client(&self) -> PathBuf {
        self.cache.join("etcd-client")
    }

    /// The binaries of this tree, once built.
    pub(crate) fn binaries(&self) -> PathBuf {
        self.target.join("debug")
    }
}

fn absolute(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}
