use std::collections::BTreeMap;

use configsrv_fleet::{Digest, NodeName, Phase, Version};
use iam_client::Identity;
use serde::{Deserialize, Serialize};

use crate::{
    ConfigService, Error, keys,
    offers::Offers,
    readers::{Errand, calling_node},
    record::{Failed, Fetch, Fetched, Head, Reached, Status, SyncResult},
    reports,
    service::{blocking, now_ms},
    standing::{Known, Standing},
    store::{Loaded, Txn},
};

const LONGEST_REASON: usize = 2000;
const LONGEST_NONCE: usize = 128;
/// Reports of one node that may overtake one another.
pub(crate) const ATTEMPTS: usize = 8;

/// How far one node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct NodeView {
    pub name: String,
    /// Whether the current tree has an artifact for it.
    pub published: bool,
    /// It has not fetched the version asked about, or does not report it active, or has what the servers do not know.
    pub stale: bool,
    #[serde(flatten)]
    pub standing: Standing,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetched: Option<Fetch>,
    /// The last look without activation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looked_at: Option<Fetch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported: Option<Status>,
    /// When it spoke to this server last, since this server started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocations: Option<Reached>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct NodePage {
    /// What staleness is relative to.
    pub version: Version,
    pub nodes: Vec<NodeView>,
    pub more: bool,
}

/// A report, and a number that the answer must repeat.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    pub status: Status,
    pub nonce: Option<String>,
    /// What is left of the window of what is pending. The clocks of nodes may be wrong, and those of servers agree.
    pub left_ms: Option<u64>,
}

/// What the server says to a report: enough for the node to know that it spoke to the real, present thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Receipt {
    pub node: NodeName,
    pub nonce: Option<String>,
    /// The version that the report was about, and the digest published for this node under it.
    pub version: Option<Version>,
    pub digest: Option<Digest>,
    pub current: Version,
}

impl ConfigService {
    /// Takes `node`'s report about itself.
    pub(crate) async fn report(&self, identity: &Identity, node: &str, report: Report) -> Result<Receipt, Error> {
        let answer = self.take_report(identity, node, report).await;
        self.metrics().reported(&answer);
        answer
    }

    async fn take_report(&self, identity: &Identity, node: &str, report: Report) -> Result<Receipt, Error> {
        self.authorize(identity, "config.ReportStatus", &format!("node/{node}"))?;
        let node: NodeName = node.parse().map_err(|_| Error::UnknownNode(node.to_owned()))?;
        self.readers().comes(calling_node(identity), Errand::Status)?;
        if identity.is_node(node.as_str()) {
            self.readers().sees(&node);
        }
        let Report { status, nonce, left_ms } = report;
        if status.reason.as_ref().is_some_and(|reason| reason.len() > LONGEST_REASON)
            || nonce.as_ref().is_some_and(|nonce| nonce.len() > LONGEST_NONCE)
        {
            return Err(Error::BadBody(format!(
                "reason is limited to {LONGEST_REASON} bytes, nonce to {LONGEST_NONCE}"
            )));
        }
        status.check()?;
        if let Some(newest) = status.newest() {
            self.believe(identity, &node, "version", newest.get(), |service| {
                Ok(service.current()?.map_or(0, |current| current.version.get()))
            })
            .await?;
        }
        let version = status.pending.or(status.active);
        let known = match version {
            Some(version) => self.published_digest(&node, version)?,
            None => None,
        };
        let now_ms = now_ms();
        let deadline_ms = left_ms.map(|left_ms| now_ms.saturating_add(left_ms)).or(status.deadline_ms);
        let status = Status { deadline_ms, failed: Vec::new(), reported_ms: now_ms, since_ms: now_ms, ..status };
        self.store_report(identity, &node, &status).await?;
        // Three numbers and one truth: a node cannot confirm what was not published for it. That it has something else is
        // known all the same, or nobody would learn that the servers were restored.
        if status.result == Some(SyncResult::Confirmed)
            && let (Some(version), Some(published), Some(reported)) = (version, known, status.digest)
            && published != reported
        {
            return Err(Error::VersionConflict(format!(
                "version {version} for node {node} was published with digest {published}, not {reported}"
            )));
        }
        let current = self.current()?.map_or(Version::NONE, |current| current.version);
        Ok(Receipt { node, nonce, version, digest: known, current })
    }

    /// Stores a report that says something new, under the word for what it tells of.
    async fn store_report(&self, identity: &Identity, node: &NodeName, said: &Status) -> Result<(), Error> {
        let key = keys::status(node);
        let failed = match said.rolled_back {
            Some(version) => self.published_digest(node, version)?.map(|digest| Failed { version, digest }),
            None => None,
        };
        for _ in 0..ATTEMPTS {
            let loaded: Option<Loaded<Status>> = self.records().load(&key)?;
            let known = loaded.as_ref().map(|loaded| &loaded.value);
            let mut status = reports::remember(known, said.clone());
            status.remember_failures(known, failed);
            if known.is_some_and(|known| reports::is_known(known, &status)) {
                return Ok(());
            }
            let mut txn = Txn::default();
            txn.unchanged(key.clone(), loaded.as_ref());
            txn.put(key.clone(), &status)?;
            let action = reports::action(known, &status);
            if self.records().commit(identity.origin(), action, format!("node/{node}"), txn).await? {
                self.metrics().stored(action);
                return Ok(());
            }
        }
        Err(Error::VersionConflict(format!("reports of node {node} overtake one another; report again")))
    }

    /// One node for a caller who may see it: itself, or an operator.
    pub(crate) fn node(&self, identity: &Identity, node: &str) -> Result<NodeView, Error> {
        if !identity.is_node(node) {
            self.authorize(identity, "config.ReadFleet", &format!("node/{node}"))?;
        }
        let name: NodeName = node.parse().map_err(|_| Error::UnknownNode(node.to_owned()))?;
        let current = self.current()?;
        let published = match &current {
            Some(current) => self.records().exists(&keys::head(&current.set, &name))?,
            None => false,
        };
        let version = current.as_ref().map_or(Version::NONE, |current| current.version);
        let view = self.view(&name, published, version, &mut Offers::new(self, current.as_ref()))?;
        if published || view.reported.is_some() || view.fetched.is_some() {
            Ok(view)
        } else {
            Err(Error::UnknownNode(name.to_string()))
        }
    }

    /// The fleet after `after`: nodes of the current tree and nodes that have reported, in name order.
    pub(crate) async fn nodes(
        &self,
        relative_to: Option<Version>,
        after: &str,
        limit: usize,
    ) -> Result<NodePage, Error> {
        let (service, after) = (self.clone(), after.to_owned());
        blocking(move || service.page(relative_to, &after, limit)).await
    }

    pub(crate) fn page(&self, relative_to: Option<Version>, after: &str, limit: usize) -> Result<NodePage, Error> {
        let current = self.current()?;
        let newest = current.as_ref().map_or(Version::NONE, |current| current.version);
        if let Some(version) = relative_to.filter(|version| *version > newest) {
            return Err(Error::UnknownVersion(version));
        }
        let mut names: BTreeMap<NodeName, bool> = BTreeMap::new();
        let mut more = false;
        let mut collect = |prefix: &[u8], published: bool| -> Result<(), Error> {
            let start = [prefix, after.as_bytes()].concat();
            let page = self.records().list(prefix, (!after.is_empty()).then_some(start.as_slice()), limit)?;
            more |= page.more;
            let found = page.records.iter().filter_map(|record| keys::suffix(&record.key, prefix)?.parse().ok());
            for name in found {
                *names.entry(name).or_insert(false) |= published;
            }
            Ok(())
        };
        if let Some(current) = &current {
            collect(&keys::heads(&current.set), true)?;
        }
        collect(keys::STATUSES, false)?;
        let version = relative_to.unwrap_or(newest);
        more |= names.len() > limit;
        let mut offers = Offers::new(self, current.as_ref());
        let nodes = names
            .iter()
            .take(limit)
            .map(|(name, published)| self.view(name, *published, version, &mut offers))
            .collect::<Result<_, _>>()?;
        Ok(NodePage { version, nodes, more })
    }

    fn view(
        &self,
        name: &NodeName,
        published: bool,
        version: Version,
        offers: &mut Offers<'_>,
    ) -> Result<NodeView, Error> {
        let served: Fetched = self.records().value(&keys::fetched(name))?.unwrap_or_default();
        let reported: Option<Status> = self.records().value(&keys::status(name))?;
        let standing = self.standing(name, published, &served, reported.as_ref(), offers)?;
        let revocations = self.records().value(&keys::revoked(name))?;
        let Fetched { sync: fetched, dry_run: looked_at } = served;
        let behind = |seen: Option<Version>| seen.is_none_or(|seen| seen < version);
        let stale = standing.phase == Phase::Paused
            || behind(fetched.map(|fetch| fetch.version))
            || reported.as_ref().is_some_and(|reported| behind(reported.active));
        let seen_ms = self.readers().seen_ms(name);
        Ok(NodeView {
            name: name.to_string(),
            published,
            stale,
            standing,
            fetched,
            looked_at,
            reported,
            seen_ms,
            revocations,
        })
    }

    fn standing(
        &self,
        name: &NodeName,
        published: bool,
        fetched: &Fetched,
        reported: Option<&Status>,
        offers: &mut Offers<'_>,
    ) -> Result<Standing, Error> {
        let current = offers.current();
        let head: Option<Head> = match current.filter(|_| published) {
            Some(current) => self.records().value(&keys::head(&current.set, name))?,
            None => None,
        };
        let failed = reported.and_then(|status| status.rolled_back);
        let failed = failed.map(|version| self.published_digest(name, version)).transpose()?.flatten();
        let known = Known {
            now_ms: now_ms(),
            current: current.map_or(Version::NONE, |current| current.version),
            published: head.map(|head| head.payload_digest),
            offered_ms: offers.since(name, reported.and_then(|status| status.active))?,
            fetched,
            reported,
            failed,
        };
        Ok(Standing::of(&known, &self.settings().waits))
    }

    /// The versions that some node says it runs or might go back to.
    pub(crate) fn versions_in_use(&self) -> Result<std::collections::BTreeSet<Version>, Error> {
        let mut used = std::collections::BTreeSet::new();
        self.records().each(keys::STATUSES, |_, status: Status| {
            used.extend([status.active, status.pending, status.confirmed].into_iter().flatten());
            Ok(())
        })?;
        Ok(used)
    }
}
