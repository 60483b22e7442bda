use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    artifact::{ArtifactError, Sealed, to_canonical},
    digest::Digest,
    names::NodeName,
    plan::listed,
    spiffe::SpiffeId,
    version::Version,
};

use super::{CompileError, Stamp};

/// The compiled tree's place in a repository. It is committed: its history says what each node got.
pub const COMPILED: &str = ".flor/compiled";

const MANIFEST: &str = "manifest.json";

/// Artifacts of one version, for all nodes of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    version: Version,
    artifacts: BTreeMap<NodeName, Sealed>,
}

/// A tree in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub version: Version,
    /// Payload digest of each node.
    pub nodes: BTreeMap<NodeName, Digest>,
    /// SHA-256 of the RFC 8785 form of `nodes`: equal for trees with the same content.
    pub tree_digest: Digest,
}

#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path}: {source}")]
    Artifact { path: PathBuf, source: ArtifactError },
    #[error("{path}: {reason}")]
    Broken { path: PathBuf, reason: String },
    /// What the files say each for itself does not fit together.
    #[error("{path}: {reason}")]
    Mismatch { path: PathBuf, reason: String },
    #[error("a tree has at least one artifact")]
    Empty,
    #[error("{node} is in the tree twice")]
    Twice { node: NodeName },
    #[error("{node} has version {found}, others have {expected}")]
    Mixed { node: NodeName, found: Version, expected: Version },
}

impl Tree {
    /// One artifact for each node, all of one version.
    pub fn new(artifacts: impl IntoIterator<Item = Sealed>) -> Result<Self, TreeError> {
        let mut version = None;
        let mut by_node = BTreeMap::new();
        for artifact in artifacts {
            let expected = *version.get_or_insert(artifact.version());
            if artifact.version() != expected {
                return Err(TreeError::Mixed { node: artifact.node().clone(), found: artifact.version(), expected });
            }
            if let Some(twice) = by_node.insert(artifact.node().clone(), artifact) {
                return Err(TreeError::Twice { node: twice.node().clone() });
            }
        }
        Ok(Self { version: version.ok_or(TreeError::Empty)?, artifacts: by_node })
    }

    pub fn version(&self) -> Version {
        self.version
    }

    pub fn artifacts(&self) -> &BTreeMap<NodeName, Sealed> {
        &self.artifacts
    }

    pub fn is_signed(&self) -> bool {
        self.artifacts.values().all(|artifact| artifact.key_id().is_some())
    }

    /// Who signed it, if one key signed all of it.
    pub fn signer(&self) -> Option<&SpiffeId> {
        let mut keys = self.artifacts.values().map(Sealed::key_id);
        let first = keys.next()??;
        keys.all(|key| key == Some(first)).then_some(first)
    }

    /// Every payload, read strictly.
    pub fn payloads(&self) -> Result<Vec<crate::Payload>, ArtifactError> {
        self.artifacts.values().map(|artifact| Ok(artifact.open()?.payload)).collect()
    }

    pub fn manifest(&self) -> Result<Manifest, ArtifactError> {
        let nodes: BTreeMap<_, _> =
            self.artifacts.iter().map(|(node, artifact)| (node.clone(), artifact.payload_digest())).collect();
        let tree_digest = Digest::of(&to_canonical(&nodes)?);
        Ok(Manifest { version: self.version, nodes, tree_digest })
    }

    /// The same tree, signed.
    pub(super) fn signed(&self, stamp: &Stamp<'_>) -> Result<Self, CompileError> {
        let mut artifacts = Vec::with_capacity(self.artifacts.len());
        for artifact in self.artifacts.values() {
            artifacts.push(artifact.open()?.seal(stamp.key)?);
        }
        Ok(Self::new(artifacts)?)
    }

    /// Reads the tree in `folder`; `None` if there is none yet.
    pub fn read(folder: &Path) -> Result<Option<Self>, TreeError> {
        let mut artifacts = Vec::new();
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(TreeError::Io { path: folder.to_owned(), source }),
        };
        for entry in entries {
            let path = entry.map_err(|source| TreeError::Io { path: folder.to_owned(), source })?.path();
            let is_json = path.extension().is_some_and(|extension| extension == "json");
            if !is_json || path.ends_with(MANIFEST) {
                continue;
            }
            let bytes = fs::read(&path).map_err(|source| TreeError::Io { path: path.clone(), source })?;
            let sealed = Sealed::parse(bytes.strip_suffix(b"\n").unwrap_or(&bytes))
                .map_err(|source| TreeError::Artifact { path: path.clone(), source })?;
            if path.file_stem().is_none_or(|stem| stem != sealed.node().as_str()) {
                let reason = format!("the artifact is for node {}; the file's name says otherwise", sealed.node());
                return Err(TreeError::Mismatch { path, reason });
            }
            artifacts.push(sealed);
        }
        if artifacts.is_empty() {
            return Ok(None);
        }
        let tree = Self::new(artifacts)?;
        tree.check_manifest(&folder.join(MANIFEST))?;
        Ok(Some(tree))
    }

    /// A tree that was written halfway or edited by hand must not become the ledger of versions.
    fn check_manifest(&self, path: &Path) -> Result<(), TreeError> {
        let broken = |reason: String| TreeError::Broken { path: path.to_owned(), reason };
        let bytes = fs::read(path).map_err(|source| TreeError::Io { path: path.to_owned(), source })?;
        let found: Manifest = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
        let expected = self.manifest().map_err(|source| TreeError::Artifact { path: path.to_owned(), source })?;
        match mismatch(&found, &expected) {
            None => Ok(()),
            Some(reason) => Err(TreeError::Mismatch { path: path.to_owned(), reason }),
        }
    }

    /// Writes one file a node and the manifest, and removes the files of nodes that are gone. Files that are right
    /// already are not touched.
    pub fn write(&self, folder: &Path) -> Result<(), TreeError> {
        fs::create_dir_all(folder).map_err(|source| TreeError::Io { path: folder.to_owned(), source })?;
        for (node, artifact) in &self.artifacts {
            put(&folder.join(format!("{node}.json")), artifact.bytes())?;
        }
        let entries = fs::read_dir(folder).map_err(|source| TreeError::Io { path: folder.to_owned(), source })?;
        for entry in entries {
            let path = entry.map_err(|source| TreeError::Io { path: folder.to_owned(), source })?.path();
            let is_json = path.extension().is_some_and(|extension| extension == "json");
            let known = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .and_then(|stem| stem.parse().ok())
                .is_some_and(|node: NodeName| self.artifacts.contains_key(&node));
            if is_json && !known && !path.ends_with(MANIFEST) {
                fs::remove_file(&path).map_err(|source| TreeError::Io { path, source })?;
            }
        }
        let path = folder.join(MANIFEST);
        let broken = |source: ArtifactError| TreeError::Artifact { path: path.clone(), source };
        let manifest = self.manifest().and_then(|manifest| to_canonical(&manifest)).map_err(broken)?;
        put(&path, &manifest)
    }
}

/// How a manifest differs from that of the artifacts beside it, for whoever looks into the folder.
fn mismatch(found: &Manifest, expected: &Manifest) -> Option<String> {
    let (claimed, there) = (&found.nodes, &expected.nodes);
    let missing: Vec<_> = claimed.keys().filter(|node| !there.contains_key(*node)).collect();
    let extra: Vec<_> = there.keys().filter(|node| !claimed.contains_key(*node)).collect();
    let other: Vec<_> = there.iter().filter(|(node, digest)| claimed.get(*node) != Some(*digest)).collect();
    if !missing.is_empty() {
        Some(format!("it lists {}, and there is no such artifact beside it", listed(missing)))
    } else if !extra.is_empty() {
        Some(format!("it does not list {}, and there is such an artifact beside it", listed(extra)))
    } else if !other.is_empty() {
        let nodes = other.into_iter().map(|(node, _)| node);
        Some(format!("the artifact beside it has another payload than it lists: {}", listed(nodes)))
    } else if found.version != expected.version {
        Some(format!("it is of version {}, the artifacts beside it of version {}", found.version, expected.version))
    } else if found.tree_digest != expected.tree_digest {
        Some("its tree_digest is not that of its nodes".to_owned())
    } else {
        None
    }
}

/// Replaces a file at once: a reader sees the old or the new bytes.
fn put(path: &Path, bytes: &[u8]) -> Result<(), TreeError> {
    let mut line = bytes.to_vec();
    line.push(b'\n');
    let failed = |source| TreeError::Io { path: path.to_owned(), source };
    if fs::read(path).is_ok_and(|existing| existing == line) {
        return Ok(());
    }
    let temporary = path.with_extension("partial");
    fs::write(&temporary, &line).map_err(failed)?;
    fs::rename(&temporary, path).map_err(failed)
}
