//! Between the messages of `configsrv.v1` and what the service means by them.

use configsrv_fleet::{Sequence, Version};
use holdfast_proto::configsrv as proto;

use crate::{
    Error,
    artifacts::{Artifact, Intent, Wanted},
    nodes::{NodePage, NodeView},
    record::{Carried, Drift, Fetch, Reached, Status, Tree},
    revocations::{FoundLane, WantedLane},
    standing::Standing,
    versions::VersionPage,
};

pub(crate) fn wanted(asked: &proto::GetArtifactRequest) -> Result<Wanted, Error> {
    Ok(Wanted {
        version: version(asked.version)?,
        have: version(asked.have)?,
        intent: if asked.dry_run { Intent::DryRun } else { Intent::Sync },
        ..Wanted::default()
    })
}

pub(crate) fn version(number: Option<u64>) -> Result<Option<Version>, Error> {
    number.map(Version::new).transpose().map_err(|error| Error::BadQuery(error.to_string()))
}

pub(crate) fn wanted_lane(asked: &proto::GetRevocationsRequest) -> Result<WantedLane, Error> {
    let have = asked.have.map(Sequence::new).transpose();
    Ok(WantedLane { have: have.map_err(|error| Error::BadQuery(error.to_string()))?, ..WantedLane::default() })
}

/// How many rows; 0 asks for the default, which is the most.
pub(crate) fn limit(asked: u32, most: usize) -> usize {
    match usize::try_from(asked) {
        Ok(0) | Err(_) => most,
        Ok(asked) => asked.min(most),
    }
}

impl From<Artifact> for proto::GetArtifactResponse {
    fn from(found: Artifact) -> Self {
        Self { version: found.version.get(), payload_digest: found.digest.to_string(), artifact: found.bytes }
    }
}

impl From<FoundLane> for proto::GetRevocationsResponse {
    fn from(found: FoundLane) -> Self {
        Self {
            sequence: found.sequence.get(),
            published_ms: found.published_ms,
            envelope: found.envelope.map(String::into_bytes).map(Into::into),
        }
    }
}

impl From<NodePage> for proto::ListNodesResponse {
    fn from(page: NodePage) -> Self {
        Self {
            version: page.version.get(),
            nodes: page.nodes.into_iter().map(proto::Node::from).collect(),
            more: page.more,
        }
    }
}

impl From<VersionPage> for proto::ListVersionsResponse {
    fn from(page: VersionPage) -> Self {
        Self {
            current: page.current.get(),
            versions: page.versions.into_iter().map(proto::Version::from).collect(),
            more: page.more,
        }
    }
}

pub(crate) fn watched(version: Version) -> proto::WatchResponse {
    proto::WatchResponse { version: version.get() }
}

impl From<NodeView> for proto::Node {
    fn from(view: NodeView) -> Self {
        let Standing { phase, version, since_ms, deadline_ms, reason, was } = view.standing;
        Self {
            name: view.name,
            published: view.published,
            stale: view.stale,
            fetched: view.fetched.map(proto::Fetch::from),
            reported: view.reported.map(proto::NodeStatus::from),
            seen_ms: view.seen_ms,
            phase: phase.as_str().to_owned(),
            version: version.get(),
            since_ms,
            deadline_ms,
            reason,
            was: was.map(|was| was.as_str().to_owned()).unwrap_or_default(),
            revocations: view.revocations.map(proto::Reached::from),
        }
    }
}

impl From<Fetch> for proto::Fetch {
    fn from(Fetch { version, at_ms }: Fetch) -> Self {
        Self { version: version.get(), time_ms: at_ms }
    }
}

impl From<Reached> for proto::Reached {
    fn from(Reached { sequence, at_ms }: Reached) -> Self {
        Self { sequence: sequence.get(), time_ms: at_ms }
    }
}

impl From<Status> for proto::NodeStatus {
    fn from(status: Status) -> Self {
        Self {
            offered: status.offered.map(Version::get),
            active: status.active.map(Version::get),
            pending: status.pending.map(Version::get),
            confirmed: status.confirmed.map(Version::get),
            rolled_back: status.rolled_back.map(Version::get),
            rejected: status.rejected.map(Version::get),
            released: status.released.map(|released| released.version.get()),
            digest: status.digest.map(|digest| digest.to_string()).unwrap_or_default(),
            deadline_ms: status.deadline_ms,
            result: status.result.map(|result| result.as_str().to_owned()).unwrap_or_default(),
            reason: status.reason.unwrap_or_default(),
            time_ms: status.reported_ms,
            carried: status.carried.into_iter().map(proto::Carried::from).collect(),
            drift: status.drift.map(proto::Drift::from),
        }
    }
}

impl From<Carried> for proto::Carried {
    fn from(Carried { version, digest, at_ms, unproven }: Carried) -> Self {
        Self { version: version.get(), digest: digest.to_string(), time_ms: at_ms, unproven }
    }
}

impl From<Drift> for proto::Drift {
    fn from(Drift { policy, files, first }: Drift) -> Self {
        Self { policy, files, first }
    }
}

impl From<Tree> for proto::Version {
    fn from(tree: Tree) -> Self {
        Self {
            version: tree.version.get(),
            tree_digest: tree.tree_digest.to_string(),
            nodes: tree.nodes,
            published_ms: tree.published_ms,
            published_by: tree.published_by,
            note: tree.note.unwrap_or_default(),
            git_commit: tree.git_commit.unwrap_or_default(),
            pruned: tree.pruned,
        }
    }
}
