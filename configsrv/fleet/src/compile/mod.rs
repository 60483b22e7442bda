//! From a fleet to a tree of artifacts. Deterministic: the same fleet, previous tree and stamp give the same bytes on
//! any machine. The previous tree is an input because it is the ledger of versions.

mod access;
mod ports;
mod rows;
mod tree;

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::{
    artifact::{ArtifactError, Envelope, MAX_NODES, Payload, SigningKey},
    duration::Span,
    fleet::Fleet,
    names::NodeName,
    version::Version,
};

pub use rows::payloads;
pub use tree::{COMPILED, Manifest, Tree, TreeError};

/// What goes into an envelope beside the payload.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    pub generated_at: OffsetDateTime,
    /// Without a key the tree is unsigned and cannot be published.
    pub key: Option<&'a SigningKey>,
    /// The new version is above this one too: what the servers have, if that is more than the previous tree.
    pub above: Version,
}

#[derive(Clone, Debug)]
pub struct Compiled {
    pub tree: Tree,
    /// Nodes whose payload is new or differs from the previous tree.
    pub changed: Vec<NodeName>,
    /// Nodes that the previous tree had and this one has not.
    pub removed: Vec<NodeName>,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing differs: the previous tree, byte for byte.
    Unchanged,
    /// Nothing differs, and the previous tree is now signed.
    Signed,
    /// Something differs, or half of the artifacts' time is over: the next version, on every node.
    Stamped,
}

#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error("node {node}: {source}")]
    Node { node: NodeName, source: ArtifactError },
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error("{node} has services and no address; the fleet was not validated")]
    NoAddress { node: NodeName },
    #[error("{0} nodes are more than {MAX_NODES}")]
    TooManyNodes(usize),
    #[error("there is no version after {0}")]
    VersionsExhausted(Version),
}

/// Compiles `fleet` on top of `previous`.
pub fn compile(fleet: &Fleet, previous: Option<&Tree>, stamp: &Stamp<'_>) -> Result<Compiled, CompileError> {
    if fleet.nodes.len() > MAX_NODES {
        return Err(CompileError::TooManyNodes(fleet.nodes.len()));
    }
    let payloads = payloads(fleet)?;
    let mut changed = Vec::new();
    for (node, payload) in &payloads {
        let before = previous.and_then(|tree| tree.artifacts().get(node)).map(crate::Sealed::payload_digest);
        if before != Some(payload.digest()?) {
            changed.push(node.clone());
        }
    }
    let removed: Vec<NodeName> = previous
        .map(|tree| tree.artifacts().keys().filter(|node| !payloads.contains_key(*node)).cloned().collect())
        .unwrap_or_default();
    let (tree, outcome) = match previous {
        Some(tree)
            if changed.is_empty()
                && removed.is_empty()
                && stamp.above < tree.version()
                && !lapses(tree, fleet, stamp.generated_at)? =>
        {
            match stamp.key {
                Some(_) if !tree.is_signed() => (tree.signed(stamp)?, Outcome::Signed),
                Some(_) | None => (tree.clone(), Outcome::Unchanged),
            }
        }
        _ => (stamped(payloads, previous, fleet.distribution.expires_after, stamp)?, Outcome::Stamped),
    };
    Ok(Compiled { tree, changed, removed, outcome })
}

/// Whether a tree is to be made anew though nothing in it differs: half of its time is over, or it is to be fresh for another
/// time.
fn lapses(tree: &Tree, fleet: &Fleet, now: OffsetDateTime) -> Result<bool, ArtifactError> {
    let Some(artifact) = tree.artifacts().values().next() else { return Ok(true) };
    let Envelope { generated_at, expires_at, .. } = artifact.open()?;
    Ok(match (fleet.distribution.expires_after, expires_at) {
        (None, None) => false,
        (Some(after), Some(until)) => {
            let after = after.as_duration();
            until != generated_at + after || until < now + after / 2
        }
        (Some(_), None) | (None, Some(_)) => true,
    })
}

fn stamped(
    payloads: BTreeMap<NodeName, Payload>,
    previous: Option<&Tree>,
    expires_after: Option<Span>,
    stamp: &Stamp<'_>,
) -> Result<Tree, CompileError> {
    let last = previous.map_or(Version::NONE, Tree::version).max(stamp.above);
    let version = last.next().ok_or(CompileError::VersionsExhausted(last))?;
    let mut artifacts = Vec::with_capacity(payloads.len());
    for (node, payload) in payloads {
        let sealed = Envelope::new(version, stamp.generated_at, payload)
            .and_then(|envelope| envelope.fresh_for(expires_after).seal(stamp.key))
            .map_err(|source| CompileError::Node { node, source })?;
        artifacts.push(sealed);
    }
    Ok(Tree::new(artifacts)?)
}
