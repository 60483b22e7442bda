use std::collections::{BTreeMap, BTreeSet};

use configsrv_fleet::{Digest, NodeName, Sealed, Signer, Version, to_canonical};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Error, parallel, settings::Limits};

/// A tree that somebody wants to publish, structurally sound: what it says and by whom is not judged here.
#[derive(Debug)]
pub(crate) struct Submission {
    pub base_version: Version,
    pub version: Version,
    /// In node order, one a node.
    pub artifacts: Vec<Sealed>,
    /// Whose signatures count from this tree on, as all its artifacts say.
    pub announced: Vec<Signer>,
    /// SHA-256 over all published bytes.
    pub set: Digest,
    /// SHA-256 over what the tree says, whatever its version and signatures.
    pub tree_digest: Digest,
    pub note: Option<String>,
    pub git_commit: Option<String>,
    /// Nodes whose reports of newer versions do not matter, because they are known to be wrong.
    pub ignore_reports_of: BTreeSet<NodeName>,
}

/// The body of a publish. Members that are not named here are ignored: signers come from the signed payloads.
#[derive(Deserialize)]
struct Body<'a> {
    base_version: Option<Version>,
    #[serde(borrow)]
    artifacts: Vec<&'a RawValue>,
    note: Option<String>,
    git_commit: Option<String>,
    #[serde(default)]
    ignore_reports_of: BTreeSet<NodeName>,
}

const LONGEST_NOTE: usize = 4096;

impl Submission {
    /// What the tree has for a node.
    pub(crate) fn digest(&self, node: &str) -> Option<Digest> {
        let artifact = self.artifacts.iter().find(|artifact| artifact.node().as_str() == node)?;
        Some(artifact.payload_digest())
    }

    /// Reads a publish and applies the structural gate. Nothing is stored of a body that fails here.
    pub(crate) fn parse(body: &[u8], limits: &Limits) -> Result<Self, Error> {
        let body: Body<'_> = serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
        let base_version =
            body.base_version.ok_or_else(|| malformed("base_version is missing; it is 0 for the first tree"))?;
        if body.artifacts.len() > limits.nodes {
            return Err(malformed(format!("{} artifacts, {} are allowed", body.artifacts.len(), limits.nodes)));
        }
        for text in [&body.note, &body.git_commit].into_iter().flatten() {
            if text.len() > LONGEST_NOTE {
                return Err(malformed(format!("note and git_commit are limited to {LONGEST_NOTE} bytes")));
            }
        }
        let mut artifacts = parallel::each(&body.artifacts, |at, raw| {
            artifact(raw.get().as_bytes(), limits).map_err(|reason| match reason {
                Error::MalformedTree(reason) => malformed(format!("artifacts[{at}]: {reason}")),
                other => other,
            })
        })?;
        artifacts.sort_by(|a, b| a.node().cmp(b.node()));
        let version = uniform_version(&artifacts)?;
        let announced = uniform_signers(&artifacts)?;
        Ok(Self {
            base_version,
            version,
            announced,
            set: set_digest(&artifacts),
            tree_digest: tree_digest(&artifacts)?,
            artifacts,
            note: body.note,
            git_commit: body.git_commit,
            ignore_reports_of: body.ignore_reports_of,
        })
    }

    /// That every artifact is signed by one of `trusted`.
    pub(crate) fn verify(&self, trusted: &[Signer]) -> Result<(), Error> {
        parallel::each(&self.artifacts, |_, artifact| {
            let verified = artifact.verify(trusted).map(|_| ());
            verified.map_err(|error| Error::UntrustedSignature(format!("{}: {error}", artifact.node())))
        })
        .map(|_| ())
    }
}

fn artifact(bytes: &[u8], limits: &Limits) -> Result<Sealed, Error> {
    if bytes.len() > limits.artifact_bytes {
        return Err(Error::TooLarge { what: "an artifact", limit: limits.artifact_bytes });
    }
    Sealed::parse(bytes).map_err(|error| malformed(error.to_string()))
}

fn uniform_version(artifacts: &[Sealed]) -> Result<Version, Error> {
    let Some(first) = artifacts.first() else { return Err(malformed("it has no artifacts")) };
    for pair in artifacts.windows(2) {
        if let [one, other] = pair
            && one.node() == other.node()
        {
            return Err(malformed(format!("node {} has two artifacts", one.node())));
        }
    }
    match artifacts.iter().find(|artifact| artifact.version() != first.version()) {
        None => Ok(first.version()),
        Some(other) => Err(malformed(format!(
            "one version for the whole tree: {} has {}, {} has {}",
            first.node(),
            first.version(),
            other.node(),
            other.version()
        ))),
    }
}

/// Signers are a property of the cluster: a tree that tells one node of other signers than the rest is refused.
fn uniform_signers(artifacts: &[Sealed]) -> Result<Vec<Signer>, Error> {
    let mut agreed: Option<(&NodeName, Vec<Signer>)> = None;
    for artifact in artifacts {
        let mut signers =
            artifact.announced_signers().map_err(|error| malformed(format!("node {}: {error}", artifact.node())))?;
        signers.sort_by(|a, b| a.spiffe_id.cmp(&b.spiffe_id));
        match &agreed {
            None => agreed = Some((artifact.node(), signers)),
            Some((_, first)) if *first == signers => {}
            Some((first, _)) => {
                return Err(malformed(format!("nodes {first} and {} are told of different signers", artifact.node())));
            }
        }
    }
    let signers = agreed.map(|(_, signers)| signers).unwrap_or_default();
    if signers.is_empty() {
        Err(malformed("it names no signers, so no later tree could be published"))
    } else {
        Ok(signers)
    }
}

fn set_digest(artifacts: &[Sealed]) -> Digest {
    let mut all = Vec::with_capacity(artifacts.len() * 32);
    for artifact in artifacts {
        all.extend_from_slice(Digest::of(artifact.bytes()).as_bytes());
    }
    Digest::of(&all)
}

fn tree_digest(artifacts: &[Sealed]) -> Result<Digest, Error> {
    let nodes: BTreeMap<&NodeName, Digest> =
        artifacts.iter().map(|artifact| (artifact.node(), artifact.payload_digest())).collect();
    let spelled = to_canonical(&nodes).map_err(|error| Error::Internal(error.to_string()))?;
    Ok(Digest::of(&spelled))
}

fn malformed(reason: impl Into<String>) -> Error {
    Error::MalformedTree(reason.into())
}
