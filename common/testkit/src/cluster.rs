//! Several servers with one membership, on loopback.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::{Binaries, Endpoints, Launch, Namespace, Server, free_ports, secrets::Secrets};

/// Servers `s1`, `s2`, … with certificates from a peer CA of their own and the same secrets.
#[derive(Debug)]
pub struct Cluster {
    servers: Vec<Server>,
}

/// How the servers of a cluster run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode<'a> {
    /// With `--dev`.
    Plain,
    /// The same with TLS on the doors for clients, and the certificate that the server shows its peers.
    Secured,
    /// Without `--dev`, as operators run it. The text is more of the `iam:` section, one line of YAML for each setting.
    Production(&'a str),
}

/// Where the servers of a cluster run.
#[derive(Clone, Copy, Debug)]
struct Site<'a> {
    /// An IPv4 address of the machine.
    host: &'a str,
    namespace: Option<&'a Namespace>,
}

impl Site<'static> {
    const HERE: Self = Self { host: "127.0.0.1", namespace: None };
}

/// The ports of one member. They are fixed, so that a member that was killed comes back where clients know it.
#[derive(Debug)]
struct Member {
    name: String,
    host: String,
    api: u16,
    http: u16,
    sql: u16,
    peer: u16,
}

impl Member {
    fn endpoints(&self) -> Endpoints {
        let [api, http, sql, peer] =
            [self.api, self.http, self.sql, self.peer].map(|port| format!("{}:{port}", self.host));
        Endpoints { api, http, sql, peer }
    }
}

impl Cluster {
    /// The trust domain of servers as operators run them; a fleet of theirs has this name.
    pub const TRUST_DOMAIN: &str = "testkit";

    /// `count` servers in a folder of their own, all ready.
    ///
    /// # Errors
    /// When one of them does not become ready; the error has the end of its log.
    pub fn start(count: usize) -> Result<Self> {
        let folder = Arc::new(tempfile::Builder::new().prefix("holdfast-").tempdir()?);
        let mut cluster = Self::start_in(&Binaries::find()?, folder.path(), count)?;
        cluster.keep(&folder);
        cluster.wait_ready()?;
        Ok(cluster)
    }

    /// Starts `count` servers that keep everything in `folder`, and returns at once.
    ///
    /// # Errors
    /// When certificates cannot be made or a process cannot be started.
    pub fn start_in(binaries: &Binaries, folder: &Path, count: usize) -> Result<Self> {
        Self::start_with(binaries, folder, Site::HERE, count, Mode::Plain)
    }

    /// The same with TLS on every door; the certificates are of [`Cluster::authority`], for 127.0.0.1.
    ///
    /// # Errors
    /// As [`Cluster::start_in`].
    pub fn start_secured(binaries: &Binaries, folder: &Path, count: usize) -> Result<Self> {
        Self::start_with(binaries, folder, Site::HERE, count, Mode::Secured)
    }

    /// Servers as operators run them, in a folder of their own and all ready; see [`Cluster::start_production_in`].
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_production(count: usize, iam: &[&str]) -> Result<Self> {
        let folder = Arc::new(tempfile::Builder::new().prefix("holdfast-").tempdir()?);
        let mut cluster = Self::start_production_in(&Binaries::find()?, folder.path(), count, iam)?;
        cluster.keep(&folder);
        cluster.wait_ready()?;
        Ok(cluster)
    }

    /// Starts servers as operators run them: without `--dev`, with TLS on every door and with whatever certificates and
    /// secrets that takes. `iam` is more of the `iam:` section, one setting a line.
    ///
    /// # Errors
    /// As [`Cluster::start_in`].
    pub fn start_production_in(binaries: &Binaries, folder: &Path, count: usize, iam: &[&str]) -> Result<Self> {
        Self::start_site(binaries, folder, Site::HERE, count, iam)
    }

    /// The same in a network namespace, on an IPv4 address of it.
    ///
    /// # Errors
    /// As [`Cluster::start_in`].
    pub fn start_production_at(
        binaries: &Binaries,
        folder: &Path,
        namespace: &Namespace,
        host: &str,
        count: usize,
    ) -> Result<Self> {
        Self::start_site(binaries, folder, Site { host, namespace: Some(namespace) }, count, &[])
    }

    fn start_site(binaries: &Binaries, folder: &Path, site: Site<'_>, count: usize, iam: &[&str]) -> Result<Self> {
        let iam: String = iam.iter().map(|setting| format!("  {setting}\n")).collect();
        Self::start_with(binaries, folder, site, count, Mode::Production(&iam))
    }

    /// The certificate (PEM) that the certificates of the servers in `folder` chain to.
    pub fn authority(folder: &Path) -> PathBuf {
        folder.join("peer-ca/peer-ca.pem")
    }

    fn start_with(binaries: &Binaries, folder: &Path, site: Site<'_>, count: usize, mode: Mode<'_>) -> Result<Self> {
        let holdfast = binaries.path("holdfast");
        let members = (1..=count)
            .map(|number| {
                let [api, http, sql, peer] = free_ports()?;
                Ok(Member { name: format!("s{number}"), host: site.host.to_owned(), api, http, sql, peer })
            })
            .collect::<Result<Vec<_>>>()?;
        let secrets = Secrets::create(&folder.join("secrets"))?;
        let authority = folder.join("peer-ca");
        peer_ca(&holdfast, &["init", "--out"], &[&authority])?;

        let mut servers = Vec::new();
        for member in &members {
            let own = folder.join(&member.name);
            fs::create_dir_all(&own).with_context(|| format!("cannot make {}", own.display()))?;
            let certificates = own.join("peer");
            let issue = ["issue", "--name", &member.name, "--host", site.host, "--ca"];
            let issued = peer_ca(&holdfast, &issue, &[&authority, Path::new("--out"), &certificates])?;
            let certificates = Certificates::parse(&issued)?;
            let config = own.join("holdfast.yaml");
            fs::write(&config, configuration(member, &members, &certificates, &secrets, mode))
                .with_context(|| format!("cannot write {}", config.display()))?;
            servers.push(Server::start(Launch {
                name: member.name.clone(),
                binary: holdfast.clone(),
                data: own.join("data"),
                logs: folder.join("logs"),
                config: Some(config),
                admin_token: secrets.admin_token.clone(),
                dev: !matches!(mode, Mode::Production(_)),
                endpoints: Some(member.endpoints()),
                arguments: Vec::new(),
                environment: Vec::new(),
                namespace: site.namespace.map(|namespace| namespace.name().to_owned()),
            })?);
        }
        Ok(Self { servers })
    }

    fn keep(&mut self, folder: &Arc<TempDir>) {
        for server in &mut self.servers {
            server.keep(Arc::clone(folder));
        }
    }

    /// Waits until every server is ready.
    ///
    /// # Errors
    /// When one is not in time.
    pub fn wait_ready(&mut self) -> Result<()> {
        self.servers.iter_mut().try_for_each(|server| server.wait_ready().map(drop))
    }

    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    pub fn servers_mut(&mut self) -> &mut [Server] {
        &mut self.servers
    }

    /// The servers, for a caller that looks after each of them itself.
    pub fn into_servers(self) -> Vec<Server> {
        self.servers
    }

    /// The bootstrap admin's token, the same on all servers.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn admin_token(&self) -> Result<String> {
        self.servers.first().context("the cluster has no servers")?.admin_token()
    }
}

/// What `peer-ca` prints: a path a line.
fn peer_ca(holdfast: &Path, arguments: &[&str], paths: &[&Path]) -> Result<String> {
    let output = Command::new(holdfast).arg("peer-ca").args(arguments).args(paths).output();
    let output = output.with_context(|| format!("cannot start {}", holdfast.display()))?;
    if !output.status.success() {
        bail!("peer-ca ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Files that `peer-ca issue` made.
struct Certificates {
    cert: PathBuf,
    key: PathBuf,
    ca: PathBuf,
}

impl Certificates {
    fn parse(printed: &str) -> Result<Self> {
        let mut lines = printed.lines().map(PathBuf::from);
        match (lines.next(), lines.next(), lines.next()) {
            (Some(cert), Some(key), Some(ca)) => Ok(Self { cert, key, ca }),
            _ => bail!("peer-ca issue printed {printed:?} instead of three paths"),
        }
    }
}

fn configuration(
    own: &Member,
    members: &[Member],
    certificates: &Certificates,
    secrets: &Secrets,
    mode: Mode<'_>,
) -> String {
    let mut text = format!("name: {}\nmembers:\n", own.name);
    for member in members {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "  - {{name: {}, peer: \"{}:{}\"}}", member.name, member.host, member.peer);
    }
    let Endpoints { api, http, sql, peer } = own.endpoints();
    let quoted = |path: &Path| format!("{:?}", path.display().to_string());
    let _ = write!(
        text,
        "listen:\n  api: {api:?}\n  http: {http:?}\n  sql: {sql:?}\n  peer: {peer:?}\n\
         peer_tls:\n  cert: {}\n  key: {}\n  ca: {}\n\
         secrets:\n  admin_token_file: {}\n  signing_key_file: {}\n  master_key_file: {}\n",
        quoted(&certificates.cert),
        quoted(&certificates.key),
        quoted(&certificates.ca),
        quoted(&secrets.admin_token),
        quoted(&secrets.signing_key),
        quoted(&secrets.master_key),
    );
    if mode != Mode::Plain {
        let _ = writeln!(text, "tls:\n  cert: {}\n  key: {}", quoted(&certificates.cert), quoted(&certificates.key));
    }
    if let Mode::Production(iam) = mode {
        let issuer = members.first().unwrap_or(own).endpoints().http;
        let domain = Cluster::TRUST_DOMAIN;
        let _ = write!(
            text,
            "fleetlock: {{client_auth: basic}}\n\
             iam:\n  trust_domain: {domain}\n  issuer: \"https://{issuer}\"\n{iam}",
        );
    }
    text
}
