use std::{future::ready, sync::Arc, time::Instant};

use bytes::Bytes;
use chainfire_core::system::Expect;
use configsrv_fleet::{Digest, Sealed, Version};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use iam_client::Identity;

use crate::{
    ConfigService, Error, keys,
    record::{self, Current, Head, Payload, Signers, Staging, Status, Tree},
    service::{blocking, now_ms},
    store::{Loaded, Txn},
    submission::Submission,
};

/// What the history calls a publish, and where its resource begins.
pub(crate) const PUBLISH: &str = "config.Publish";
pub(crate) const VERSIONS: &str = "versions/";

/// A payload that is larger goes in parts, so that every command stays small.
pub(crate) const CHUNK: usize = 384 * 1024;
/// Staged records are collected into commands of about this many bytes and operations.
const BATCH_BYTES: usize = 256 * 1024;
const BATCH_OPERATIONS: usize = 256;
/// Such commands under way at a time.
const AT_ONCE: usize = 4;

/// The answer to a publish.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Published {
    pub version: Version,
    pub tree_digest: Digest,
    pub nodes: usize,
    /// The same tree was published before; nothing changed.
    pub unchanged: bool,
}

/// What is written before a version is admitted, in this order.
struct Staged {
    parts: Vec<Txn>,
    payloads: Vec<Txn>,
}

/// Records in commands of a moderate size.
#[derive(Default)]
struct Batches(Vec<Txn>);

impl Batches {
    /// The one that still has room.
    fn last(&mut self) -> &mut Txn {
        let has_room = |batch: &Txn| batch.bytes() < BATCH_BYTES && batch.operations() < BATCH_OPERATIONS;
        if !self.0.last().is_some_and(has_room) {
            self.0.push(Txn::default());
        }
        let last = self.0.len() - 1;
        &mut self.0[last]
    }
}

/// What the server had when it judged a submission; the last transaction demands that it is still so.
struct Before {
    current: Option<Loaded<Current>>,
    signers: Option<Loaded<Signers>>,
}

impl ConfigService {
    /// Admits a tree as the next version of the whole cluster, or changes nothing. The caller's right to publish is
    /// established.
    pub(crate) async fn publish(&self, identity: &Identity, body: Bytes) -> Result<Published, Error> {
        let begun = Instant::now();
        let answer = self.take_tree(identity, body).await;
        self.metrics().published(&answer);
        if answer.as_ref().is_ok_and(|published| !published.unchanged) {
            self.metrics().publish_took(begun.elapsed());
        }
        answer
    }

    async fn take_tree(&self, identity: &Identity, body: Bytes) -> Result<Published, Error> {
        let limits = self.settings().limits;
        // Parsing and verifying ten thousand artifacts takes a second of CPU.
        let submission = blocking(move || Submission::parse(&body, &limits)).await?;
        self.records().barrier().await?;
        let before =
            Before { current: self.records().load(keys::CURRENT)?, signers: self.records().load(keys::SIGNERS)? };
        let published = Published {
            version: submission.version,
            tree_digest: submission.tree_digest,
            nodes: submission.artifacts.len(),
            unchanged: true,
        };
        if !before.admits(&submission)? {
            return Ok(published);
        }
        let trusted = match &before.signers {
            Some(signers) => signers.value.keys.clone(),
            // The first tree says whose signatures count, and must bear one of them.
            None => submission.announced.clone(),
        };
        let (service, current) = (self.clone(), before.version());
        let submission = blocking(move || {
            service.outruns_reports(&submission, current)?;
            submission.verify(&trusted)?;
            Ok(Arc::new(submission))
        })
        .await?;
        let staging = self.begin(identity, &submission).await?;
        self.stage(identity, &submission).await?;
        self.admit(identity, &submission, &before, staging).await?;
        tracing::info!(version = %published.version, nodes = published.nodes, by = %identity.principal, "published");
        Ok(Published { unchanged: false, ..published })
    }

    /// A tree must be newer than what any node has seen: after a restore the nodes may know more than the server.
    fn outruns_reports(&self, submission: &Submission, current: Version) -> Result<(), Error> {
        self.records().each(keys::STATUSES, |node, status: Status| {
            let Some(newest) = status.newest() else { return Ok(()) };
            let ignored = submission.ignore_reports_of.iter().any(|name| name.as_str() == node);
            // A person may have brought it what is published now.
            let has_it = || submission.digest(node).is_some_and(|digest| status.runs(submission.version, digest));
            let beyond = newest > submission.version || (newest == submission.version && !has_it());
            if newest > current && beyond && !ignored {
                return Err(Error::VersionConflict(format!(
                    "node {node} reports version {newest}, which this server does not know; publish a higher version, \
                     or, if the report is wrong, name the node in ignore_reports_of"
                )));
            }
            Ok(())
        })
    }

    /// Announces the publish, which stops the collector. A later publish takes the place of one that is under way:
    /// the earlier one then fails at its last step.
    async fn begin(&self, identity: &Identity, submission: &Submission) -> Result<Loaded<Staging>, Error> {
        let staging = Staging {
            set: submission.set,
            version: submission.version,
            by: identity.principal.to_string(),
            started_ms: now_ms(),
        };
        let mut txn = Txn::default();
        txn.put(keys::STAGING, &staging)?;
        self.records().commit(identity.origin(), "config.Stage", resource(submission.version), txn).await?;
        match self.records().load::<Staging>(keys::STAGING)? {
            Some(loaded) if loaded.value == staging => Ok(loaded),
            _ => Err(overtaken()),
        }
    }

    /// Stores heads and payloads that are not there yet. Until [`ConfigService::admit`] nothing refers to them.
    async fn stage(&self, identity: &Identity, submission: &Arc<Submission>) -> Result<(), Error> {
        let (service, staged) = (self.clone(), Arc::clone(submission));
        let Staged { parts, payloads } = blocking(move || service.staged(&staged)).await?;
        // A payload that is there has all of its parts.
        for batches in [parts, payloads] {
            let commits = batches.into_iter().map(|batch| {
                self.records().commit(identity.origin(), "config.Stage", resource(submission.version), batch)
            });
            stream::iter(commits).buffer_unordered(AT_ONCE).try_for_each(|_| ready(Ok(()))).await?;
        }
        Ok(())
    }

    fn staged(&self, submission: &Submission) -> Result<Staged, Error> {
        let (mut parts, mut payloads) = (Batches::default(), Batches::default());
        for artifact in &submission.artifacts {
            parts.last().put(keys::head(&submission.set, artifact.node()), &head(artifact)?)?;
            let digest = artifact.payload_digest();
            if self.records().exists(&keys::payload(&digest))? {
                continue;
            }
            let mut chunks = 0;
            for (index, part) in (0_u32..).zip(artifact.payload().chunks(CHUNK)) {
                parts.last().put_bytes(keys::chunk(&digest, index), record::encode_chunk(part));
                chunks = index + 1;
            }
            let payload = Payload { size: size(artifact.payload()), chunks, stored_ms: now_ms() };
            payloads.last().put(keys::payload(&digest), &payload)?;
        }
        Ok(Staged { parts: parts.0, payloads: payloads.0 })
    }

    /// Moves history, `current` and the trusted signers in one step.
    async fn admit(
        &self,
        identity: &Identity,
        submission: &Submission,
        before: &Before,
        staging: Loaded<Staging>,
    ) -> Result<(), Error> {
        let tree = Tree {
            version: submission.version,
            set: submission.set,
            tree_digest: submission.tree_digest,
            base_version: before.version(),
            nodes: u32::try_from(submission.artifacts.len()).unwrap_or(u32::MAX),
            published_ms: now_ms(),
            published_by: staging.value.by.clone(),
            note: submission.note.clone(),
            git_commit: submission.git_commit.clone(),
            pruned: false,
        };
        let current = Current { version: submission.version, set: submission.set, tree_digest: submission.tree_digest };
        let mut txn = Txn::default();
        txn.unchanged(keys::STAGING, Some(&staging));
        txn.unchanged(keys::CURRENT, before.current.as_ref());
        txn.unchanged(keys::SIGNERS, before.signers.as_ref());
        txn.expect(keys::tree(submission.version), Expect::Absent);
        txn.put(keys::tree(submission.version), &tree)?;
        txn.put(keys::CURRENT, &current)?;
        if before.signers.as_ref().is_none_or(|signers| signers.value.keys != submission.announced) {
            txn.put(keys::SIGNERS, &Signers { keys: submission.announced.clone(), since: submission.version })?;
        }
        txn.delete(keys::STAGING);
        let resource = resource(submission.version);
        if self.records().commit(identity.origin(), PUBLISH, resource, txn).await? { Ok(()) } else { Err(overtaken()) }
    }
}

impl Before {
    fn version(&self) -> Version {
        self.current.as_ref().map_or(Version::NONE, |current| current.value.version)
    }

    /// Whether the tree is the next one; false if it is the current one again.
    fn admits(&self, submission: &Submission) -> Result<bool, Error> {
        let current = self.version();
        if submission.version == current {
            return match &self.current {
                Some(same) if same.value.set == submission.set => Ok(false),
                _ => Err(Error::VersionConflict(format!("version {current} is published with other content"))),
            };
        }
        if submission.version < current {
            return Err(Error::VersionConflict(format!(
                "version {} is older than the current version {current}; to go back, publish the old content under a \
                 higher version",
                submission.version
            )));
        }
        if submission.base_version != current {
            return Err(Error::VersionConflict(format!(
                "the tree was made from version {}, but the current version is {current}; compile it again",
                submission.base_version
            )));
        }
        Ok(true)
    }
}

fn head(artifact: &Sealed) -> Result<Head, Error> {
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).map_err(|_| Error::MalformedTree("an artifact is not UTF-8".into()))
    };
    Ok(Head {
        before: text(artifact.before())?,
        after: text(artifact.after())?,
        payload_digest: artifact.payload_digest(),
        payload_size: size(artifact.payload()),
    })
}

fn size(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn resource(version: Version) -> String {
    format!("{VERSIONS}{version}")
}

fn overtaken() -> Error {
    Error::VersionConflict("another publish took place at the same time; look at the current version first".into())
}
