use configsrv_fleet::Version;
use serde::Serialize;

use crate::{ConfigService, Error, keys, record::Tree};

/// A part of history, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct VersionPage {
    pub current: Version,
    pub versions: Vec<Tree>,
    pub more: bool,
}

impl ConfigService {
    /// Published versions older than `before`, or from the newest on.
    pub(crate) fn history(&self, before: Option<Version>, limit: usize) -> Result<VersionPage, Error> {
        let current = self.current()?.map_or(Version::NONE, |current| current.version);
        let mut next = match before {
            Some(before) => self.version(before)?.base_version,
            None => current,
        };
        let mut versions = Vec::new();
        while next > Version::NONE && versions.len() < limit {
            let tree = self.version(next)?;
            // Every version names the one that it followed, so gaps in the numbers cost nothing.
            next = tree.base_version;
            versions.push(tree);
        }
        Ok(VersionPage { current, versions, more: next > Version::NONE })
    }

    pub(crate) fn version(&self, version: Version) -> Result<Tree, Error> {
        self.records().value(&keys::tree(version))?.ok_or(Error::UnknownVersion(version))
    }
}
