//! Policies that somebody wrote: how they are stored, and which are in force.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arc_swap::ArcSwap;
use chainfire_core::system::Expect;
use iam_client::Identity;
use iam_core::{
    check_name,
    policy::{Compiled, Compiler, Policies},
    record::{StoredPolicy, key},
    verifier::Mark,
};
use parking_lot::Mutex;

use crate::{
    Error, Iam,
    iam::Inner,
    records::{Change, Listing, Versioned},
};

/// All of them are parsed when a server starts, and each is looked at by whoever asks why.
const MAX_POLICIES: usize = 10_000;
const MAX_NOTE: usize = 256;
const PAGE: usize = 1000;

/// The policies in force, compiled once for each version of the stored ones.
pub(crate) struct InForce {
    compiler: Arc<Compiler>,
    current: ArcSwap<Versioned<Arc<Policies>>>,
    /// Those that are stored, each with the revision that was compiled.
    compiled: Mutex<HashMap<String, (u64, Arc<Compiled>)>>,
}

impl InForce {
    /// The built-in ones.
    pub(crate) fn new() -> Result<Self, Error> {
        let compiler = Arc::new(Compiler::new()?);
        let builtin = Arc::new(Policies::new(Arc::clone(&compiler), [], BTreeMap::new())?);
        let current = ArcSwap::from_pointee(Versioned { value: builtin, revision: 0 });
        Ok(Self { compiler, current, compiled: Mutex::default() })
    }

    /// A policy that is not stored, checked as if it were to be.
    pub(crate) fn compile_one(&self, id: &str, text: &str) -> Result<Compiled, Error> {
        check_name(id)?;
        Ok(self.compiler.compile(id, text)?)
    }
}

impl Inner {
    /// The policies in force, exactly as new as the state machine.
    pub(crate) fn policies(&self) -> Result<Arc<Policies>, Error> {
        let version = self.records.get::<Mark>(key::POLICIES_VERSION)?.map_or(0, |mark| mark.revision);
        let current = self.policies.current.load();
        if current.revision == version {
            return Ok(Arc::clone(&current.value));
        }
        // Whoever comes second finds everything compiled.
        let mut compiled = self.policies.compiled.lock();
        let value = Arc::new(self.compile(&mut compiled)?);
        self.policies.current.store(Arc::new(Versioned { value: Arc::clone(&value), revision: version }));
        Ok(value)
    }

    /// Compiles what is new among the stored policies, and forgets what is gone.
    fn compile(&self, known: &mut HashMap<String, (u64, Arc<Compiled>)>) -> Result<Policies, Error> {
        let (mut compiled, mut broken) = (HashMap::new(), BTreeMap::new());
        let mut after = None;
        loop {
            let page = self.records.page_of_any::<StoredPolicy>(key::POLICIES.as_bytes(), after.as_deref(), PAGE)?;
            for (at, revision, stored) in page.values {
                let id = id_of(&at);
                let kept = known.remove(&id).filter(|(compiled_at, _)| *compiled_at == revision);
                let fresh = || {
                    let text = stored.map_err(|error| format!("policy {id}: {error}"))?.text;
                    self.policies.compiler.compile(&id, &text).map(Arc::new).map_err(|error| error.to_string())
                };
                match kept.map_or_else(fresh, |(_, kept)| Ok(kept)) {
                    Ok(policy) => {
                        compiled.insert(id, (revision, policy));
                    }
                    Err(reason) => {
                        tracing::error!(reason, "a stored policy cannot be used: only admins may do anything");
                        broken.insert(id, reason);
                    }
                }
            }
            match page.next {
                None => break,
                next => after = next,
            }
        }
        *known = compiled;
        let all = known.values().map(|(_, policy)| Arc::clone(policy));
        Ok(Policies::new(Arc::clone(&self.policies.compiler), all, broken)?)
    }
}

impl Iam {
    /// Creates or replaces a policy, if it is at `expected` where that is not 0. Returns the revision; 0 for a dry run.
    pub(crate) async fn put_policy(
        &self,
        by: &Identity,
        id: &str,
        policy: StoredPolicy,
        expected: u64,
        dry_run: bool,
    ) -> Result<u64, Error> {
        self.0.policies.compile_one(id, &policy.text)?;
        if policy.note.chars().count() > MAX_NOTE || policy.note.chars().any(char::is_control) {
            return Err(Error::Invalid(format!("a note has at most {MAX_NOTE} printable characters")));
        }
        let at = key::policy(id);
        let found = self.0.records.get::<StoredPolicy>(&at)?;
        let revision = found.as_ref().map(|found| found.revision);
        if expected != 0 && revision != Some(expected) {
            return Err(Error::Conflict { found: revision });
        }
        if found.is_none() && self.0.stored_policies()? >= MAX_POLICIES {
            return Err(Error::Precondition(format!("there are {MAX_POLICIES} policies, which is the most")));
        }
        if dry_run {
            return Ok(0);
        }
        let created_ms = found.map_or(self.0.now_ms(), |found| found.value.created_ms);
        let now_ms = self.0.now_ms();
        let policy = StoredPolicy { created_ms, changed_ms: now_ms, changed_by: by.principal.to_string(), ..policy };
        let expect = revision.map_or(Expect::Absent, Expect::Revision);
        let change = Change::new("iam.PolicyPut", format!("policy/{id}")).expect(at.clone(), expect);
        self.0.records.commit(by.origin(), change.put(at, &policy)?).await
    }

    pub(crate) async fn delete_policy(&self, by: &Identity, id: &str, expected: u64) -> Result<u64, Error> {
        check_name(id)?;
        let at = key::policy(id);
        // Also one that does not read back: it can be got rid of.
        let found = self.0.records.revision(&at)?.ok_or_else(|| Error::NotFound(format!("policy {id}")))?;
        if expected != 0 && found != expected {
            return Err(Error::Conflict { found: Some(found) });
        }
        let change = Change::new("iam.PolicyDelete", format!("policy/{id}"));
        let change = change.expect(at.clone(), Expect::Revision(found)).delete(at);
        self.0.records.commit(by.origin(), change).await
    }

    pub(crate) fn policy(&self, id: &str) -> Result<Versioned<StoredPolicy>, Error> {
        check_name(id)?;
        self.0.records.get(&key::policy(id))?.ok_or_else(|| Error::NotFound(format!("policy {id}")))
    }

    /// Names and policies in order.
    pub(crate) fn list_policies(
        &self,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Listing<(String, Versioned<StoredPolicy>)>, Error> {
        let page = self.0.records.page_of_any::<StoredPolicy>(key::POLICIES.as_bytes(), after, limit)?;
        let values = page.values.into_iter().map(|(at, revision, stored)| {
            // One that does not read back is shown, so that it can be deleted.
            let value =
                stored.unwrap_or_else(|error| StoredPolicy { note: error.to_string(), ..StoredPolicy::default() });
            (id_of(&at), Versioned { value, revision })
        });
        Ok(Listing { values: values.collect(), next: page.next })
    }
}

impl Inner {
    fn stored_policies(&self) -> Result<usize, Error> {
        self.policies()?;
        Ok(self.policies.compiled.lock().len())
    }
}

fn id_of(at: &[u8]) -> String {
    String::from_utf8_lossy(at.get(key::POLICIES.len()..).unwrap_or_default()).into_owned()
}
