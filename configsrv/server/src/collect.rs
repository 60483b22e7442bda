use std::collections::HashSet;

use chainfire_core::{Origin, system::Expect};
use configsrv_fleet::{Digest, Version};

use crate::{
    ConfigService, Error, keys,
    record::{self, Current, Head, Staging, Tree},
    service::now_ms,
    store::{Loaded, Txn},
};

/// Deletions of one command.
const BATCH: usize = 256;
/// Deletions of one run; the rest waits for the next one.
const MOST: usize = 50_000;
const PAGE: usize = 1000;

/// What one run has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Collected {
    pub versions: usize,
    pub heads: usize,
    pub payloads: usize,
}

impl Collected {
    pub(crate) fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

impl ConfigService {
    /// Removes artifacts of old versions, and staged records that no version refers to. Every deletion is conditional
    /// on that no publish has begun or ended meanwhile, so it may run on every server at any time.
    pub(crate) async fn collect(&self) -> Result<Collected, Error> {
        let mut done = Collected::default();
        let Some(current) = self.records().load::<Current>(keys::CURRENT)? else { return Ok(done) };
        if !self.clear_staging().await? {
            return Ok(done);
        }
        let keep = self.kept(current.value.version)?;
        for tree in &keep.expired {
            if !self.retire(tree, &current).await? {
                return Ok(done);
            }
            done.versions += 1;
        }
        let mut orphans = self.digests_below(keys::SETS)?;
        orphans.retain(|set| !keep.sets.contains(set));
        if orphans.is_empty() {
            return Ok(done);
        }
        for set in orphans {
            let heads = self.keys_below(&keys::heads(&set), MOST)?;
            match self.delete_all(&heads, &current).await? {
                Some(count) => done.heads += count,
                None => return Ok(done),
            }
        }
        // Payloads become free only when heads did.
        let live = self.live_payloads(&keep.sets)?;
        let mut dead = self.digests_below(keys::CHUNKS)?;
        dead.retain(|digest| !live.contains(digest));
        for digest in dead.into_iter().take(MOST) {
            let mut parts = self.keys_below(&keys::chunks(&digest), MOST)?;
            parts.push(keys::payload(&digest));
            if self.delete_all(&parts, &current).await?.is_none() {
                return Ok(done);
            }
            done.payloads += 1;
        }
        Ok(done)
    }

    /// True when no publish is under way. One that has been under way for too long is dead.
    async fn clear_staging(&self) -> Result<bool, Error> {
        let Some(staging) = self.records().load::<Staging>(keys::STAGING)? else { return Ok(true) };
        let age = now_ms().saturating_sub(staging.value.started_ms);
        if u128::from(age) < self.settings().orphan_age.as_millis() {
            return Ok(false);
        }
        let mut txn = Txn::default();
        txn.unchanged(keys::STAGING, Some(&staging));
        txn.delete(keys::STAGING);
        self.records().commit(origin(), "config.Collect", "staging".to_owned(), txn).await
    }

    /// Splits history into what stays and what has had its time.
    fn kept(&self, current: Version) -> Result<Kept, Error> {
        let used = self.versions_in_use()?;
        let mut kept = Kept::default();
        let mut next = current;
        while next > Version::NONE {
            let tree = self.version(next)?;
            next = tree.base_version;
            if tree.pruned {
                continue;
            }
            if kept.sets.len() < self.settings().keep_versions || used.contains(&tree.version) {
                kept.sets.insert(tree.set);
            } else {
                kept.expired.push(tree);
            }
        }
        Ok(kept)
    }

    /// Keeps the line of history and lets go of the artifacts.
    async fn retire(&self, tree: &Tree, current: &Loaded<Current>) -> Result<bool, Error> {
        let mut txn = guarded(current);
        txn.put(keys::tree(tree.version), &Tree { pruned: true, ..tree.clone() })?;
        self.records().commit(origin(), "config.Prune", format!("versions/{}", tree.version), txn).await
    }

    /// The digests that come next in the keys below `prefix`, found by leaps from one to the next.
    fn digests_below(&self, prefix: &[u8]) -> Result<Vec<Digest>, Error> {
        let mut digests = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        while let Some(found) = self.records().list(prefix, after.as_deref(), 1)?.records.into_iter().next() {
            let digits = keys::suffix(&found.key, prefix).and_then(|rest| rest.split('/').next());
            let Some(digest) = digits.and_then(|digits| format!("sha256:{digits}").parse::<Digest>().ok()) else {
                return Err(Error::Corrupt(format!("key {}", String::from_utf8_lossy(&found.key))));
            };
            // Behind everything of this digest.
            after = Some([prefix, digest.hex().as_bytes(), b"/\xff"].concat());
            digests.push(digest);
        }
        Ok(digests)
    }

    fn live_payloads(&self, sets: &HashSet<Digest>) -> Result<HashSet<Digest>, Error> {
        let mut live = HashSet::new();
        for set in sets {
            self.each(&keys::heads(set), |key, value| {
                live.insert(record::decode::<Head>(key, value)?.payload_digest);
                Ok(())
            })?;
        }
        Ok(live)
    }

    fn keys_below(&self, prefix: &[u8], most: usize) -> Result<Vec<Vec<u8>>, Error> {
        let mut found = Vec::new();
        self.each(prefix, |key, _| {
            if found.len() < most {
                found.push(key.to_vec());
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn each(&self, prefix: &[u8], mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.records().list(prefix, after.as_deref(), PAGE)?;
            for found in &page.records {
                visit(&found.key, &found.value)?;
            }
            match page.records.last() {
                Some(last) if page.more => after = Some(last.key.clone()),
                _ => return Ok(()),
            }
        }
    }

    /// `None` when a publish came between.
    async fn delete_all(&self, keys: &[Vec<u8>], current: &Loaded<Current>) -> Result<Option<usize>, Error> {
        for batch in keys.chunks(BATCH) {
            let mut txn = guarded(current);
            for key in batch {
                txn.delete(key.clone());
            }
            if !self.records().commit(origin(), "config.Collect", "orphans".to_owned(), txn).await? {
                return Ok(None);
            }
        }
        Ok(Some(keys.len()))
    }
}

#[derive(Default)]
struct Kept {
    sets: HashSet<Digest>,
    expired: Vec<Tree>,
}

fn guarded(current: &Loaded<Current>) -> Txn {
    let mut txn = Txn::default();
    txn.unchanged(keys::CURRENT, Some(current));
    txn.expect(keys::STAGING, Expect::Absent);
    txn
}

fn origin() -> Origin {
    Origin::system("config", "collector")
}
