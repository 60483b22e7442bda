//! Where an operator sits.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::{Binaries, Cluster, Endpoints, Namespace, Program};

/// `florctl` for servers whose doors have TLS, as the owner of a token.
#[derive(Clone, Debug)]
pub struct Desk {
    florctl: PathBuf,
    /// Where commands are run.
    folder: PathBuf,
    /// What the servers' certificates chain to.
    authority: PathBuf,
    token: String,
    namespace: Option<String>,
}

impl Desk {
    /// The bootstrap admin's desk beside the servers of [`Cluster::start_production_in`]; commands are run in `folder`.
    ///
    /// # Errors
    /// When `florctl` is not built, or the admin's token is not there.
    pub fn of(cluster: &Cluster, binaries: &Binaries, folder: &Path) -> Result<Self> {
        let first = cluster.servers().first().context("the cluster has no servers")?;
        let servers = first.launch().logs.parent().context("logs are in the cluster's folder")?;
        let florctl = binaries.path("florctl");
        florctl.is_file().then_some(()).with_context(|| format!("{} is not built", florctl.display()))?;
        let (authority, token) = (Cluster::authority(servers), first.admin_token()?);
        Ok(Self { florctl, folder: folder.to_owned(), authority, token, namespace: None })
    }

    /// The same desk with somebody else at it.
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self { token: token.into(), ..self.clone() }
    }

    /// The same desk on another machine.
    #[must_use]
    pub fn within(mut self, namespace: &Namespace) -> Self {
        self.namespace = Some(namespace.name().to_owned());
        self
    }

    /// The file (PEM) that the servers' certificates chain to.
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// `florctl`, pointed at a server.
    pub fn florctl(&self, at: &Endpoints) -> Program {
        Program::new(&self.florctl, &self.folder)
            .environment("HOLDFAST_API", format!("https://{}", at.api))
            .environment("HOLDFAST_HTTP", format!("https://{}", at.http))
            .environment("HOLDFAST_CA", &self.authority)
            .environment("HOLDFAST_TOKEN", &self.token)
            .within(self.namespace.as_deref())
    }
}
