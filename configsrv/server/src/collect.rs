use std::collections::HashSet;

use chainfire_core::{Origin, system::Expect};
use configsrv_fleet::{Digest, Version};

use crate::{
    ConfigService, Error, keys,
    record::{Current, Head, Staging, Tree},
    service::{blocking, now_ms},
    store::{Loaded, Txn},
};

/// Deletions of one command.
const BATCH: usize = 256;
/// Payloads of one run; the rest waits for the next one.
const MOST: usize = 50_000;

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
        let (service, newest) = (self.clone(), current.value.version);
        let plan = blocking(move || service.plan(newest)).await?;
        for tree in &plan.expired {
            if !self.retire(tree, &current).await? {
                return Ok(done);
            }
            done.versions += 1;
        }
        // Heads go last: while one lies there, a run that was cut off is taken up again.
        for digest in &plan.payloads {
            let mut parts = self.keys_below(keys::chunks(digest)).await?;
            parts.push(keys::payload(digest));
            if self.delete_all(&parts, &current).await?.is_none() {
                return Ok(done);
            }
            done.payloads += 1;
        }
        if plan.unfinished {
            return Ok(done);
        }
        for set in &plan.sets {
            let heads = self.keys_below(keys::heads(set)).await?;
            match self.delete_all(&heads, &current).await? {
                Some(count) => done.heads += count,
                None => return Ok(done),
            }
        }
        Ok(done)
    }

    /// What has had its time, as of now. Payloads are looked for only where heads say that some became free: it takes
    /// a look at every head that stays.
    fn plan(&self, current: Version) -> Result<Plan, Error> {
        let keep = self.kept(current)?;
        let mut sets = self.digests_below(keys::SETS)?;
        sets.retain(|set| !keep.sets.contains(set));
        let mut payloads = Vec::new();
        if !sets.is_empty() {
            let live = self.live_payloads(&keep.sets)?;
            payloads = self.digests_below(keys::CHUNKS)?;
            payloads.retain(|digest| !live.contains(digest));
        }
        let unfinished = payloads.len() > MOST;
        payloads.truncate(MOST);
        Ok(Plan { expired: keep.expired, payloads, sets, unfinished })
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
            self.records().each(&keys::heads(set), |_, head: Head| {
                live.insert(head.payload_digest);
                Ok(())
            })?;
        }
        Ok(live)
    }

    /// The keys of one set or one payload.
    async fn keys_below(&self, prefix: Vec<u8>) -> Result<Vec<Vec<u8>>, Error> {
        let service = self.clone();
        blocking(move || {
            let mut found = Vec::new();
            service.records().each_as_stored(&prefix, |key, _| {
                found.push(key.to_vec());
                Ok(())
            })?;
            Ok(found)
        })
        .await
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

/// What a run removes, in this order.
struct Plan {
    expired: Vec<Tree>,
    payloads: Vec<Digest>,
    sets: Vec<Digest>,
    /// There are more payloads than one run removes.
    unfinished: bool,
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
