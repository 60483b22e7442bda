use std::{
    fs,
    io::Write as _,
    path::{Component, Path, PathBuf},
};

use configsrv_fleet::{
    Compiled, Finding, Fleet, Payload, Repo, Sealed, SealedRevocations, Selection, Signer, SigningKey, SpiffeId, Stamp,
    Tree, compile, compile::COMPILED, load_from, lockout, names::ClusterName, repo::Folder, revocation, revoked,
    validate,
};
use time::OffsetDateTime;

use crate::{
    cli::Repository,
    failure::{Code, Failure},
    remote::{Http, Named},
    settings::Settings,
};

/// A fleet repository on this machine.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) repo: Repo,
}

impl Workspace {
    pub(crate) fn open(options: &Repository) -> Result<Self, Failure> {
        let selection = match options.files.as_slice() {
            [] => Selection::Discover,
            globs => Selection::Only(globs.to_vec()),
        };
        let repo = load_from(&Folder::new(&options.repo), &selection)?;
        Ok(Self { root: options.repo.clone(), repo })
    }

    /// Every finding, now.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        validate(&self.repo, OffsetDateTime::now_utc())
    }

    /// The fleet, if the repository has no errors; they go to the standard error.
    pub(crate) fn fleet(&self) -> Result<Fleet, Failure> {
        let findings = self.findings();
        refuse_errors(&findings)?;
        Fleet::new(&self.repo).map_err(Failure::unexpected)
    }

    pub(crate) fn cluster(&self) -> Result<ClusterName, Failure> {
        let name = self.repo.cluster.as_ref().and_then(|cluster| cluster.name.as_ref());
        let name = name.ok_or_else(|| {
            Failure::new(Code::Findings, "the repository names no cluster").hint("run florctl validate")
        })?;
        name.value.parse().map_err(|error: configsrv_fleet::names::NameError| Failure::usage(error.to_string()))
    }

    /// The servers that the repository is published to, by the way that the settings say: `target`, if there is one.
    pub(crate) fn servers(&self, settings: &Settings, target: Option<&str>) -> Result<Http, Failure> {
        let cluster = self.cluster()?;
        let written = self.repo.cluster.as_ref().and_then(|cluster| cluster.config_server.publish_url.as_ref());
        let written = written.map(|url| url.value.as_str());
        Http::of(settings, &Named { target, written, cluster: Some(&cluster) })
    }

    /// Ends with code 8 if the servers have another cluster: whatever else is said of them would mislead.
    pub(crate) async fn check_cluster(&self, http: &Http) -> Result<(), Failure> {
        let ours = self.cluster()?;
        match http.cluster().await? {
            Some(theirs) if theirs != ours => {
                let message = format!("these servers have cluster {theirs}, the repository is {ours}");
                Err(Failure::new(Code::State, message)
                    .hint("--http (or HOLDFAST_HTTP) says where the servers are, --repo where the repository is"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whom the repository names although they are revoked by the servers' word, which may be newer than the one here.
    pub(crate) async fn revoked(&self, http: &Http) -> Result<Vec<Finding>, Failure> {
        let lane = http.revocations().await?;
        Ok(lane.map(|lane| revoked(&self.repo, lane.sealed.revocations())).unwrap_or_default())
    }

    pub(crate) fn compiled_folder(&self) -> PathBuf {
        self.root.join(COMPILED)
    }

    /// The tree that was compiled last.
    pub(crate) fn compiled(&self) -> Result<Option<Tree>, Failure> {
        Ok(Tree::read(&self.compiled_folder())?)
    }

    /// The same for whoever can do without: a tree that cannot be read is as good as none.
    pub(crate) fn compiled_if_readable(&self) -> Option<Tree> {
        self.compiled().unwrap_or_else(|failure| {
            eprintln!("warning: {}; it is left out of account", failure.message());
            None
        })
    }

    /// The key in `path`, as the signer of cluster.yaml that it belongs to.
    pub(crate) fn signing_key(&self, path: &Path) -> Result<SigningKey, Failure> {
        let pem = fs::read_to_string(path).map(zeroize::Zeroizing::new);
        let pem = pem.map_err(|error| Failure::file(path, &error))?;
        let cluster = self.cluster()?;
        let signers = self.repo.cluster.iter().flat_map(|cluster| &cluster.signers);
        for signer in signers {
            let (Ok(name), Some(certificate)) = (signer.name.value.parse(), &signer.certificate) else { continue };
            let key = SigningKey::from_pem(SpiffeId::signer(&cluster, &name), &pem)
                .map_err(|error| Failure::new(Code::NotTrusted, format!("{}: {error}", path.display())))?;
            if certificate.public_key == Some(key.public_key()?) {
                return Ok(key);
            }
        }
        let message = format!("{} is not the key of a signer in cluster.yaml", path.display());
        Err(Failure::new(Code::NotTrusted, message).hint("`florctl ca issue` makes signers' keys and certificates"))
    }

    /// The signers of cluster.yaml, as far as their certificates can be read.
    pub(crate) fn signers(&self) -> Result<Vec<Signer>, Failure> {
        let cluster = self.cluster()?;
        let signers = self.repo.cluster.iter().flat_map(|cluster| &cluster.signers);
        let known = signers.filter_map(|signer| {
            let spiffe_id = SpiffeId::signer(&cluster, &signer.name.value.parse().ok()?);
            Some(Signer { spiffe_id, pubkey: signer.certificate.as_ref()?.public_key? })
        });
        Ok(known.collect())
    }

    /// Whose artifacts are believed: the signers of cluster.yaml, and those whom the tree that was compiled last announces,
    /// since one who is being retired may have signed what is published.
    pub(crate) fn trusted(&self) -> Result<Vec<Signer>, Failure> {
        let mut trusted = self.signers()?;
        let compiled = self.compiled().ok().flatten();
        let first = compiled.as_ref().and_then(|tree| tree.artifacts().values().next());
        for signer in first.map(Sealed::announced_signers).transpose()?.into_iter().flatten() {
            if !trusted.contains(&signer) {
                trusted.push(signer);
            }
        }
        Ok(trusted)
    }

    /// Keeps the revocations that were posted, for the next compile and the next operator.
    pub(crate) fn write_revocations(&self, sealed: &SealedRevocations) -> Result<(), Failure> {
        replace(&self.root.join(revocation::FILE), &[sealed.bytes(), b"\n"].concat())
    }

    /// Compiles on top of the last tree.
    pub(crate) fn compile(&self, previous: Option<&Tree>, stamp: &Stamp<'_>) -> Result<Compiled, Failure> {
        for finding in self.findings().iter().filter(|finding| !finding.is_error()) {
            eprintln!("{finding}");
        }
        Ok(compile(&self.fleet()?, previous, stamp)?)
    }

    /// A place in the repository. What cluster.yaml names must not lead out of it.
    pub(crate) fn inside(&self, path: &str) -> Result<PathBuf, Failure> {
        let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        if plain && !path.is_empty() {
            Ok(self.root.join(path))
        } else {
            Err(Failure::new(Code::Findings, format!("{path}: the path leaves the repository")))
        }
    }

    /// Appends to enrollment.log, and waits until it is on the disk: a certificate without its line is a mystery later.
    pub(crate) fn append_log(&self, lines: &str) -> Result<(), Failure> {
        if lines.is_empty() {
            return Ok(());
        }
        let path = self.root.join(configsrv_fleet::enrollment::FILE);
        let write = || {
            let mut file = fs::OpenOptions::new().create(true).append(true).open(&path)?;
            file.write_all(lines.as_bytes())?;
            file.sync_all()
        };
        write().map_err(|error| Failure::file(&path, &error))
    }
}

/// Ends with code 3 if there is an error among `findings`, and prints the errors.
fn refuse_errors(findings: &[Finding]) -> Result<(), Failure> {
    let errors = findings.iter().filter(|finding| finding.is_error());
    match errors.inspect(|finding| eprintln!("{finding}")).count() {
        0 => Ok(()),
        1 => Err(Failure::new(Code::Findings, "the repository has an error")),
        count => Err(Failure::new(Code::Findings, format!("the repository has {count} errors"))),
    }
}

/// Refuses a tree that would lock somebody out who is in by what was there before.
pub(crate) fn check_lockout(before: &[Payload], tree: &Tree, allowed: bool) -> Result<(), Failure> {
    let findings = lockout(before, &tree.payloads()?, tree.signer());
    for finding in &findings {
        eprintln!("{}[{}]: {}", if allowed { "warning" } else { "error" }, finding.rule, finding.message);
    }
    if findings.is_empty() || allowed {
        return Ok(());
    }
    Err(Failure::new(Code::Findings, "this would lock somebody out").hint("--allow-lockout does it nevertheless"))
}

/// Writes a file at once: whoever reads it sees the old or the new bytes.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let next = path.with_extension("new");
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = fs::File::create(&next)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&next, path)
    };
    write().map_err(|error: std::io::Error| Failure::file(path, &error))
}

/// The time to stamp: what was asked for, else SOURCE_DATE_EPOCH, else now.
pub(crate) fn generated_at(asked: Option<&str>) -> Result<OffsetDateTime, Failure> {
    if let Some(text) = asked {
        return OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339)
            .map_err(|error| Failure::usage(format!("--generated-at {text}: {error}; write 2026-01-05T08:00:00Z")));
    }
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text
            .parse()
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .ok_or_else(|| Failure::usage(format!("SOURCE_DATE_EPOCH={text} is not a number of seconds"))),
        Err(_) => Ok(OffsetDateTime::now_utc()),
    }
}

/// Writes a file that only its owner may read, and that did not exist.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let write = || {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error: std::io::Error| {
        let failure = Failure::file(path, &error);
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            failure.hint("it is not overwritten; move it away first if you are sure")
        } else {
            failure
        }
    })
}
