//! The folder with the YAML of a fleet.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use holdfast_testkit::Cluster;

/// What every fleet here has: who signs, and what nodes and operators are for.
const CLUSTER: &str = "  crypto:
    ca_cert: ca.crt
    signature_algorithm: ed25519
    cert_validity_days: 60
  signers:
    mgmt:
      keys:
        - { name: primary, cert: certs/management-planes/primary.crt }
  config_server:
    via: direct
    poll_interval: 30s
";

#[derive(Debug)]
pub(crate) struct Repository {
    folder: PathBuf,
}

impl Repository {
    /// With a `cluster.yaml` for servers as operators run them, in `fleet` below `folder`.
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        let repository = Self { folder: folder.join("fleet") };
        fs::create_dir_all(&repository.folder)?;
        repository.write("cluster.yaml", &format!("cluster:\n  name: {}\n{CLUSTER}", Cluster::TRUST_DOMAIN))?;
        Ok(repository)
    }

    pub(crate) fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.folder.join(file);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Changes what a file says, which has to be there.
    pub(crate) fn edit(&self, file: &str, before: &str, after: &str) -> Result<()> {
        let path = self.folder.join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(text.contains(before), "{file} has no {before:?}");
        Ok(fs::write(&path, text.replace(before, after))?)
    }
}
