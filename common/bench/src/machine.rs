use std::{
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// Where and when something was measured.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// Seconds since 1970.
    begun: u64,
    /// Built without optimisation, the figures mean nothing.
    release: bool,
    processors: usize,
    kernel: String,
}

impl Machine {
    /// This one, now.
    ///
    /// # Errors
    /// When the machine does not say how many processors there are.
    pub fn here() -> Result<Self> {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Ok(Self {
            begun: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
            release: !cfg!(debug_assertions),
            processors: std::thread::available_parallelism()?.get(),
            kernel: kernel.trim().to_owned(),
        })
    }

    /// What stands above figures that say nothing about the product.
    pub fn warning(&self) -> Option<&'static str> {
        (!self.release).then_some("A build without optimisation: these figures say nothing about the product.")
    }

    /// Writes `name-<time>.json` and, if there is one, the picture `name-<time>.svg`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(
        &self,
        folder: &Path,
        name: &str,
        document: &impl Serialize,
        picture: Option<String>,
    ) -> Result<Vec<PathBuf>> {
        let write = |end: &str, text: String| {
            let path = folder.join(format!("{name}-{}.{end}", self.begun));
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            Ok::<_, anyhow::Error>(path)
        };
        let mut written = vec![write("json", serde_json::to_string_pretty(document)?)?];
        if let Some(picture) = picture {
            written.push(write("svg", picture)?);
        }
        Ok(written)
    }
}
