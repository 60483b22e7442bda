use std::time::Duration;

use bytes::Bytes;
use configsrv_fleet::{Digest, NodeName, Version};
use iam_client::Identity;
use tokio::time::{Instant, timeout_at};

use crate::{
    ConfigService, Error, keys,
    publish::CHUNK,
    readers::{Errand, calling_node},
    record::{self, Head, Tree},
    service::blocking,
};

/// More chunks than the largest artifact can have.
const MOST_CHUNKS: usize = 64;

/// What a reader asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Exactly this version; otherwise the current one.
    pub version: Option<Version>,
    /// The version that the reader has.
    pub have: Option<Version>,
    /// The payload digest that the reader has, if it did not say `have`.
    pub digest: Option<Digest>,
    /// How long an unchanged answer is held back.
    pub wait: Duration,
    pub intent: Intent,
}

/// What the reader will do with the artifact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Intent {
    #[default]
    Sync,
    DryRun,
}

/// The answer to a reader; `bytes` are exactly those that were published, and absent when the reader has them.
#[derive(Clone, Debug)]
pub(crate) struct Artifact {
    pub version: Version,
    pub digest: Digest,
    pub bytes: Option<Bytes>,
}

/// Where the artifacts of a version are.
struct Resolved {
    version: Version,
    set: Digest,
}

impl ConfigService {
    /// `node`'s artifact for a caller who may read it.
    pub(crate) async fn artifact(&self, identity: &Identity, node: &str, wanted: Wanted) -> Result<Artifact, Error> {
        let answer = self.look_up(identity, node, wanted).await;
        self.metrics().artifact(&answer);
        answer
    }

    async fn look_up(&self, identity: &Identity, node: &str, wanted: Wanted) -> Result<Artifact, Error> {
        self.authorize(identity, "config.ReadArtifact", &format!("node/{node}"))?;
        let name: NodeName = node.parse().map_err(|_| Error::UnknownNode(node.to_owned()))?;
        let caller = calling_node(identity);
        self.readers().comes(caller, Errand::Artifact)?;
        let own = identity.is_node(node);
        if own {
            self.readers().sees(&name);
        }
        let _place = self.waiting().begin(caller, wanted.wait)?;
        let found = self.wait_for(&name, &wanted).await?;
        if own {
            self.note_fetch(identity, &name, found.version, wanted.intent);
        }
        Ok(found)
    }

    /// Answers at once unless the reader has what there is and is willing to wait for more.
    async fn wait_for(&self, node: &NodeName, wanted: &Wanted) -> Result<Artifact, Error> {
        let until = Instant::now() + wanted.wait.min(self.settings().longest_wait);
        let mut versions = self.versions();
        loop {
            versions.borrow_and_update();
            let answer = self.find(node, wanted).await;
            let nothing_new = matches!(&answer, Ok(Artifact { bytes: None, .. }) | Err(Error::NotPublished));
            if !nothing_new || Instant::now() >= until {
                return answer;
            }
            // A closed channel means that this server is stopping: answer what is known.
            if !matches!(timeout_at(until, versions.changed()).await, Ok(Ok(()))) {
                return self.find(node, wanted).await;
            }
        }
    }

    async fn find(&self, node: &NodeName, wanted: &Wanted) -> Result<Artifact, Error> {
        let tree = match self.resolve(wanted.version) {
            // Another server may know more; nothing is called unknown before this one has caught up.
            Err(Error::NotPublished | Error::UnknownVersion(_)) if self.records().catch_up().await => {
                self.resolve(wanted.version)?
            }
            resolved => resolved?,
        };
        let head: Head =
            self.records().value(&keys::head(&tree.set, node))?.ok_or_else(|| Error::UnknownNode(node.to_string()))?;
        let digest = head.payload_digest;
        let has_it = match (wanted.have, wanted.digest) {
            (Some(have), _) => have == tree.version,
            (None, held) => held == Some(digest),
        };
        let bytes = if has_it { None } else { Some(self.assemble(head).await?) };
        Ok(Artifact { version: tree.version, digest, bytes })
    }

    fn resolve(&self, version: Option<Version>) -> Result<Resolved, Error> {
        let current = self.current()?.ok_or(Error::NotPublished)?;
        let Some(version) = version.filter(|version| *version != current.version) else {
            return Ok(Resolved { version: current.version, set: current.set });
        };
        let tree: Tree = self.records().value(&keys::tree(version))?.ok_or(Error::UnknownVersion(version))?;
        if tree.pruned { Err(Error::Pruned(version)) } else { Ok(Resolved { version, set: tree.set }) }
    }

    /// The published bytes. What fits in one part is read here, more is read where waiting for a disk holds nobody up.
    async fn assemble(&self, head: Head) -> Result<Bytes, Error> {
        if usize::try_from(head.payload_size).is_ok_and(|size| size <= CHUNK) {
            return self.joined(&head);
        }
        let service = self.clone();
        blocking(move || service.joined(&head)).await
    }

    fn joined(&self, head: &Head) -> Result<Bytes, Error> {
        Ok([head.before.as_bytes(), &self.payload(head)?, head.after.as_bytes()].concat().into())
    }

    /// The payload of an artifact.
    pub(crate) fn payload(&self, head: &Head) -> Result<Vec<u8>, Error> {
        let prefix = keys::chunks(&head.payload_digest);
        let page = self.records().list(&prefix, None, MOST_CHUNKS)?;
        let size = usize::try_from(head.payload_size).unwrap_or(usize::MAX);
        let mut payload = Vec::with_capacity(size.min(64 << 20));
        for chunk in &page.records {
            payload.extend_from_slice(record::decode_chunk(&chunk.key, &chunk.value)?);
        }
        if page.more || payload.len() != size {
            return Err(Error::Corrupt(format!("payload {} has lost a part", head.payload_digest)));
        }
        Ok(payload)
    }

    /// The digest that was published for `node` in `version`, while it is kept.
    pub(crate) fn published_digest(&self, node: &NodeName, version: Version) -> Result<Option<Digest>, Error> {
        let tree = match self.resolve(Some(version)) {
            Ok(tree) => tree,
            Err(Error::NotPublished | Error::UnknownVersion(_) | Error::Pruned(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(self.records().value::<Head>(&keys::head(&tree.set, node))?.map(|head| head.payload_digest))
    }
}
