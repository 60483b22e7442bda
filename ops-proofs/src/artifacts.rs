//! The folder of one run.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::Serialize;
use time::{OffsetDateTime, macros::format_description};

use crate::{
    digest,
    result::{Evidence, ProofResult},
};

/// `work/<lane>/<UTC stamp>/`, to which `work/<lane>/latest` points.
#[derive(Debug)]
pub(crate) struct Artifacts {
    folder: PathBuf,
}

impl Artifacts {
    pub(crate) fn create(out: &Path, lane: &str, begun: OffsetDateTime) -> Result<Self> {
        let stamp = begun.format(format_description!("[year][month][day]T[hour][minute][second]Z"))?;
        let lane = out.join(lane);
        let folder = lane.join(&stamp);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let latest = lane.join("latest");
        // A link cannot be replaced in place; without the old one there is nothing to remove.
        let _ = fs::remove_file(&latest);
        symlink(&stamp, &latest).with_context(|| format!("cannot link {}", latest.display()))?;
        Ok(Self { folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps a value as a file of evidence.
    pub(crate) fn keep(&self, file: &str, value: &impl Serialize) -> Result<Evidence> {
        let text = serde_json::to_vec_pretty(value)?;
        let path = self.folder.join(file);
        fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Evidence { file: file.to_owned(), sha256: digest::of_bytes(&text) })
    }

    /// Keeps the servers' logs under `logs/<check>/`.
    pub(crate) fn keep_logs(&self, check: &str, logs: &Path) -> Result<Vec<Evidence>> {
        let folder = Path::new("logs").join(check);
        fs::create_dir_all(self.folder.join(&folder))?;
        let mut kept = Vec::new();
        for entry in fs::read_dir(logs).with_context(|| format!("cannot list {}", logs.display()))? {
            let entry = entry?;
            let file = folder.join(entry.file_name());
            let path = self.folder.join(&file);
            fs::copy(entry.path(), &path).with_context(|| format!("cannot write {}", path.display()))?;
            kept.push(Evidence { file: file.to_string_lossy().into_owned(), sha256: digest::of_file(&path)? });
        }
        kept.sort_by(|one, other| one.file.cmp(&other.file));
        Ok(kept)
    }

    pub(crate) fn finish(&self, result: &ProofResult) -> Result<()> {
        self.keep("result.json", result).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_latest_run_is_linked() {
        let out = tempfile::tempdir().unwrap();
        Artifacts::create(out.path(), "core", datetime!(2026-11-09 13:05:01 UTC)).unwrap();
        let second = Artifacts::create(out.path(), "core", datetime!(2026-11-09 13:06:02 UTC)).unwrap();
        assert!(second.folder().ends_with("core/20261109T130602Z"));
        let kept = second.keep("x.json", &1).unwrap();
        assert_eq!(fs::read_to_string(out.path().join("core/latest/x.json")).unwrap(), "1");
        assert_eq!(kept.sha256, digest::of_bytes(b"1"));
    }
}
