use std::collections::BTreeMap;

use configsrv_fleet::{Digest, NodeName, Version};
use iam_client::Identity;
use serde::{Deserialize, Serialize};

use crate::{
    ConfigService, Error, keys,
    record::{self, Fetch, Fetched, Status, SyncResult},
    service::{blocking, now_ms},
    store::Txn,
};

const LONGEST_REASON: usize = 2000;
const LONGEST_NONCE: usize = 128;

/// How far one node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct NodeView {
    pub name: String,
    /// Whether the current tree has an artifact for it.
    pub published: bool,
    /// It has not fetched the version asked about, or does not report it active.
    pub stale: bool,
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
        if identity.is_node(node.as_str()) {
            self.readers().sees(&node);
        }
        let Report { status, nonce } = report;
        if status.reason.as_ref().is_some_and(|reason| reason.len() > LONGEST_REASON)
            || nonce.as_ref().is_some_and(|nonce| nonce.len() > LONGEST_NONCE)
        {
            return Err(Error::BadBody(format!(
                "reason is limited to {LONGEST_REASON} bytes, nonce to {LONGEST_NONCE}"
            )));
        }
        status.check()?;
        let version = status.pending.or(status.active);
        let known = match version {
            Some(version) => self.published_digest(&node, version)?,
            None => None,
        };
        // Three numbers and one truth: a node cannot confirm what was not published for it.
        if status.result == Some(SyncResult::Confirmed)
            && let (Some(version), Some(published), Some(reported)) = (version, known, status.digest)
            && published != reported
        {
            return Err(Error::VersionConflict(format!(
                "version {version} for node {node} was published with digest {published}, not {reported}"
            )));
        }
        let status = Status { reported_ms: now_ms(), ..status };
        self.store_report(identity, &node, &status).await?;
        let current = self.current()?.map_or(Version::NONE, |current| current.version);
        Ok(Receipt { node, nonce, version, digest: known, current })
    }

    /// Stores a report that says something new.
    async fn store_report(&self, identity: &Identity, node: &NodeName, status: &Status) -> Result<(), Error> {
        let key = keys::status(node);
        let known: Option<Status> = self.records().value(&key)?;
        let status = status.clone().on_top_of(known.as_ref());
        let carried = known.as_ref().map_or(&[][..], |known| known.carried.as_slice()) != status.carried;
        if known.is_some_and(|known| Status { reported_ms: status.reported_ms, ..known } == status) {
            return Ok(());
        }
        // What went past the servers has a name of its own in the history.
        let action = if carried { "config.ReportCarried" } else { "config.ReportStatus" };
        let mut txn = Txn::default();
        txn.put(key, &status)?;
        self.records().commit(identity.origin(), action, format!("node/{node}"), txn).await?;
        self.metrics().transition(status.result);
        Ok(())
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
        let view = self.view(&name, published, current.map_or(Version::NONE, |current| current.version))?;
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
        let nodes = names
            .iter()
            .take(limit)
            .map(|(name, published)| self.view(name, *published, version))
            .collect::<Result<_, _>>()?;
        Ok(NodePage { version, nodes, more })
    }

    fn view(&self, name: &NodeName, published: bool, version: Version) -> Result<NodeView, Error> {
        let Fetched { sync: fetched, dry_run: looked_at } =
            self.records().value(&keys::fetched(name))?.unwrap_or_default();
        let reported: Option<Status> = self.records().value(&keys::status(name))?;
        let behind = |seen: Option<Version>| seen.is_none_or(|seen| seen < version);
        let stale = behind(fetched.map(|fetch| fetch.version))
            || reported.as_ref().is_some_and(|reported| behind(reported.active));
        let seen_ms = self.readers().seen_ms(name);
        Ok(NodeView { name: name.to_string(), published, stale, fetched, looked_at, reported, seen_ms })
    }

    /// The versions that some node says it runs or might go back to.
    pub(crate) fn versions_in_use(&self) -> Result<std::collections::BTreeSet<Version>, Error> {
        let mut used = std::collections::BTreeSet::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.records().list(keys::STATUSES, after.as_deref(), 1000)?;
            for found in &page.records {
                let status: Status = record::decode(&found.key, &found.value)?;
                used.extend([status.active, status.pending, status.confirmed].into_iter().flatten());
            }
            match page.records.last() {
                Some(last) if page.more => after = Some(last.key.clone()),
                _ => return Ok(used),
            }
        }
    }
}
