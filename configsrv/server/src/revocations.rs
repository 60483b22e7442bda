//! The fast lane: who is revoked now, in one record beside the versions.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use configsrv_fleet::{
    Digest, NodeName, Revocations, SealedRevocations, Sequence, SpiffeId, Version,
    revocation::{Named, RevocationError, Succession},
};
use iam_client::Identity;
use tokio::time::{Instant, timeout_at};

use crate::{
    ConfigService, Error, keys,
    nodes::ATTEMPTS,
    readers::{Errand, calling_node},
    record::{Current, Head, Lane, Reached, Signers, Status},
    service::{blocking, now_ms},
    store::{Loaded, Txn},
};

/// The answer to revocations that were taken.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Revoked {
    pub sequence: Sequence,
    pub revoked: usize,
    pub settled: usize,
    /// The same envelope was taken before; nothing changed.
    pub unchanged: bool,
}

/// What a reader of the lane asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct WantedLane {
    /// What the reader has; [`Sequence::NONE`] says nothing yet.
    pub have: Option<Sequence>,
    /// The digest that the reader has, if it did not say `have`.
    pub digest: Option<Digest>,
    /// How long an unchanged answer is held back.
    pub wait: Duration,
}

/// The lane as it is; the envelope is absent when the reader has it.
#[derive(Clone, Debug)]
pub(crate) struct FoundLane {
    pub sequence: Sequence,
    pub digest: Option<Digest>,
    pub published_ms: Option<u64>,
    pub envelope: Option<String>,
}

/// What the server had when it judged an envelope; the transaction demands that it is still so.
struct Before {
    lane: Option<Loaded<Lane>>,
    current: Loaded<Current>,
    signers: Loaded<Signers>,
}

impl ConfigService {
    /// Takes an envelope as the next one, or changes nothing. The caller's right to revoke is established. What nodes in
    /// `ignored` report does not matter, because it is known to be wrong.
    pub(crate) async fn revoke(
        &self,
        identity: &Identity,
        body: Bytes,
        ignored: BTreeSet<NodeName>,
    ) -> Result<Revoked, Error> {
        let sealed = SealedRevocations::parse(&body)?;
        self.records().barrier().await?;
        let before = self.before()?;
        let next = sealed.revocations();
        let (revoked, settled) = (next.revoked.len(), next.settled.len());
        let answer = Revoked { sequence: next.sequence, revoked, settled, unchanged: true };
        let (judged, service) = (sealed.clone(), self.clone());
        // Reading every payload of a large fleet takes a while.
        let judged = blocking(move || Ok((service.judge(&before, &judged, &ignored)?, before))).await?;
        let (false, before) = judged else { return Ok(answer) };
        let lane = Lane {
            sequence: answer.sequence,
            digest: sealed.digest(),
            envelope: text(&sealed)?,
            published_ms: now_ms(),
            published_by: identity.principal.to_string(),
        };
        let mut txn = Txn::default();
        txn.unchanged(keys::REVOCATIONS, before.lane.as_ref());
        txn.unchanged(keys::CURRENT, Some(&before.current));
        txn.unchanged(keys::SIGNERS, Some(&before.signers));
        txn.put(keys::REVOCATIONS, &lane)?;
        let resource = format!("revocations/{}", lane.sequence);
        if !self.records().commit(identity.origin(), "config.Revoke", resource, txn).await? {
            return Err(Error::RevocationConflict(
                "something was published or revoked at the same time; look at both, and sign again".into(),
            ));
        }
        tracing::info!(sequence = %lane.sequence, revoked, settled, by = %lane.published_by, "revoked");
        Ok(Revoked { unchanged: false, ..answer })
    }

    fn before(&self) -> Result<Before, Error> {
        // Signers come with the first tree: before it nobody's signature counts, and nobody has access.
        let (current, signers) = (self.records().load(keys::CURRENT)?, self.records().load(keys::SIGNERS)?);
        let (Some(current), Some(signers)) = (current, signers) else { return Err(Error::NotPublished) };
        Ok(Before { lane: self.records().load(keys::REVOCATIONS)?, current, signers })
    }

    /// Everything that can be said against an envelope; true if it is the one that is stored.
    fn judge(&self, before: &Before, sealed: &SealedRevocations, ignored: &BTreeSet<NodeName>) -> Result<bool, Error> {
        let next = sealed.revocations();
        let Some(signer) = before.signers.value.keys.first() else { return Err(Error::NotPublished) };
        sealed.verify(signer.spiffe_id.cluster(), &before.signers.value.keys)?;
        let previous = match &before.lane {
            Some(lane) if lane.value.sequence == next.sequence => {
                return match lane.value.digest == sealed.digest() {
                    true => Ok(true),
                    false => Err(RevocationError::SameSequence(next.sequence).into()),
                };
            }
            Some(lane) => Some(stored(&lane.value)?),
            None => None,
        };
        let succession = next.follows(previous.as_ref().map(SealedRevocations::revocations))?;
        let current = before.current.value.version;
        if next.base_version != current {
            return Err(Error::RevocationConflict(format!(
                "the revocations were made over version {}, but the current version is {current}; look at it, and sign \
                 again",
                next.base_version
            )));
        }
        self.outruns(next, &before.current.value.set, ignored)?;
        let named = self.named(&before.current.value.set)?;
        named.keeps_an_operator(next)?;
        if let Some(id) = succession.settles.iter().find(|id| named.contains(id)) {
            return Err(Error::RevocationConflict(format!(
                "version {current} still names {id}: publish a version without it first"
            )));
        }
        self.has_passed(&before.current.value.set, &succession)?;
        Ok(false)
    }

    /// After a restore the nodes may know more than the server, and would refuse what is not newer. Whoever is cut off by
    /// `next` has no say in that, nor has a node that nothing is published for.
    fn outruns(&self, next: &Revocations, set: &Digest, ignored: &BTreeSet<NodeName>) -> Result<(), Error> {
        self.records().each(keys::REVOKED, |node, Reached { sequence: known, .. }| {
            if known < next.sequence {
                return Ok(());
            }
            let Ok(name) = node.parse::<NodeName>() else { return Ok(()) };
            let counts = !ignored.contains(&name)
                && !next.revoked.contains(&SpiffeId::node(&next.cluster, &name))
                && self.records().exists(&keys::head(set, &name))?;
            if !counts {
                return Ok(());
            }
            Err(Error::RevocationConflict(format!(
                "node {node} reports sequence {known}, which this server does not know; sign a higher one, or, if the \
                 report is wrong, name the node in ?ignore_reports_of={node}"
            )))
        })
    }

    /// What the artifacts of a version say about principals.
    fn named(&self, set: &Digest) -> Result<Named, Error> {
        let mut named = Named::default();
        let mut seen = std::collections::HashSet::new();
        self.records().each(&keys::heads(set), |node, head: Head| {
            if !seen.insert(head.payload_digest) {
                return Ok(());
            }
            let payload = self.payload(&head)?;
            named.note(&payload).map_err(|error| Error::Corrupt(format!("the payload of node {node}: {error}")))
        })?;
        Ok(named)
    }

    /// Whoever is forgotten must be without access on every node, also on one that goes back.
    fn has_passed(&self, set: &Digest, succession: &Succession) -> Result<(), Error> {
        let Some((id, until)) = succession.forgets.iter().max_by_key(|(_, until)| **until) else { return Ok(()) };
        let heads = keys::heads(set);
        self.records().each_as_stored(&heads, |key, _| {
            let node = keys::suffix(key, &heads).unwrap_or_default();
            let status: Option<Status> = match node.parse() {
                Ok(name) => self.records().value(&keys::status(&name))?,
                Err(_) => None,
            };
            let confirmed = status.and_then(|status| status.confirmed).unwrap_or(Version::NONE);
            if confirmed >= *until {
                return Ok(());
            }
            Err(Error::RevocationConflict(format!(
                "{id} cannot be left out yet: node {node} has not confirmed version {until}, the first without it"
            )))
        })
    }

    /// The lane, for any node and for whoever may see the fleet.
    pub(crate) async fn revocations(&self, identity: &Identity, wanted: &WantedLane) -> Result<FoundLane, Error> {
        let caller = calling_node(identity);
        if caller.is_none() {
            self.authorize(identity, "config.ReadFleet", "versions/*")?;
        }
        self.readers().comes(caller, Errand::Revocations)?;
        let _place = self.waiting().begin(caller, wanted.wait)?;
        let until = Instant::now() + wanted.wait.min(self.settings().longest_wait);
        let mut sequences = self.sequences();
        loop {
            sequences.borrow_and_update();
            let found = self.find_lane(wanted)?;
            if found.envelope.is_some() || Instant::now() >= until {
                return Ok(found);
            }
            // A closed channel means that this server is stopping: answer what is known.
            if !matches!(timeout_at(until, sequences.changed()).await, Ok(Ok(()))) {
                return self.find_lane(wanted);
            }
        }
    }

    fn find_lane(&self, wanted: &WantedLane) -> Result<FoundLane, Error> {
        let Some(lane) = self.lane()? else {
            return Ok(FoundLane { sequence: Sequence::NONE, digest: None, published_ms: None, envelope: None });
        };
        let has_it = match (wanted.have, wanted.digest) {
            // Another server may have told of more than this one knows yet.
            (Some(have), _) => have >= lane.sequence,
            (None, held) => held == Some(lane.digest),
        };
        Ok(FoundLane {
            sequence: lane.sequence,
            digest: Some(lane.digest),
            published_ms: Some(lane.published_ms),
            envelope: (!has_it).then_some(lane.envelope),
        })
    }

    /// Takes it from `node` that a sequence counts there now. What it said before of the same sequence stays: the moment
    /// is when that became known.
    pub(crate) async fn reached(&self, identity: &Identity, node: &str, sequence: Sequence) -> Result<Reached, Error> {
        self.authorize(identity, "config.ReportStatus", &format!("node/{node}"))?;
        let node: NodeName = node.parse().map_err(|_| Error::UnknownNode(node.to_owned()))?;
        self.readers().comes(calling_node(identity), Errand::Reached)?;
        self.believe(identity, &node, "sequence", sequence.get(), |service| {
            Ok(service.lane()?.map_or(0, |lane| lane.sequence.get()))
        })
        .await?;
        let key = keys::revoked(&node);
        // Two servers may hear the same at the same time.
        for _ in 0..ATTEMPTS {
            let known: Option<Loaded<Reached>> = self.records().load(&key)?;
            if let Some(same) = known.as_ref().filter(|known| known.value.sequence == sequence) {
                return Ok(same.value);
            }
            let reached = Reached { sequence, at_ms: now_ms() };
            let mut txn = Txn::default();
            txn.unchanged(key.clone(), known.as_ref());
            txn.put(key.clone(), &reached)?;
            if self.records().commit(identity.origin(), "config.ReportRevocations", format!("node/{node}"), txn).await?
            {
                return Ok(reached);
            }
        }
        Err(Error::RevocationConflict(format!("reports of node {node} overtake one another; report again")))
    }

    pub(crate) fn lane(&self) -> Result<Option<Lane>, Error> {
        self.records().value(keys::REVOCATIONS)
    }
}

fn stored(lane: &Lane) -> Result<SealedRevocations, Error> {
    SealedRevocations::parse(lane.envelope.as_bytes()).map_err(|error| Error::Corrupt(format!("revocations: {error}")))
}

fn text(sealed: &SealedRevocations) -> Result<String, Error> {
    String::from_utf8(sealed.bytes().to_vec()).map_err(|error| Error::Internal(error.to_string()))
}
