use iam_core::{
    master::{Master, Masters},
    record::key,
    rotation::{FOREVER, Item, Part, Set, State, Step, StepError, Waive, Windows},
    seal::MasterKey,
};
use secrecy::ExposeSecret as _;

use super::family::{Family, Plan, Progress};
use crate::{
    Error, genesis::ADMIN_TOKEN, iam::Inner, masters::Known, records::Change, settings::millis, signing::Judge,
};

/// The keys that seal secrets. Servers are given the new one beside the one before; it is never made here.
pub(crate) struct MasterKeys;

impl Family for MasterKeys {
    fn name(&self) -> &'static str {
        "master-key"
    }

    fn active(&self, inner: &Inner) -> Result<String, Error> {
        Ok(inner.masters()?.active()?.id.clone())
    }

    fn state(&self, inner: &Inner, id: &str) -> Result<Option<State>, Error> {
        Ok(inner.masters()?.masters.value.keys.get(id).map(|key| key.state))
    }

    fn add(&self, inner: &Inner) -> Result<(String, Change), Error> {
        let known = inner.masters()?;
        let new = candidate(inner, &known)?;
        let id = new.id();
        let keys = without_old(inner, &known)?;
        if let Some(left) = keys.get(&id) {
            // Of a rotation that was aborted; the refusal says from when on it is forgotten.
            let judge = inner.judge_masters(&known, Some(left), &id)?;
            keys.step(&id, Step::Purge, &judge.terms(Waive::Nothing))?;
        }
        let keys = keys.add(id.clone(), inner.described(new, &known)?, inner.now_ms())?;
        Ok((id.clone(), replace(&known, "iam.MasterKeyAdd", &id, &Masters { keys })?))
    }

    fn step(&self, inner: &Inner, id: &str, step: Step) -> Result<Change, Error> {
        let known = inner.masters()?;
        let keys = &known.masters.value.keys;
        let action = action(step);
        let done = || Ok(known.guard(Change::new(action, format!("master-key/{id}"))));
        let Some(item) = keys.get(id) else {
            // Purging what is gone is done already.
            let gone = StepError::NotFound { noun: "master key", id: id.to_owned() };
            return if step == Step::Purge { done() } else { Err(gone.into()) };
        };
        let next = keys.step(id, step, &inner.judge_masters(&known, Some(item), id)?.terms(Waive::Nothing))?;
        if next == *keys {
            return done();
        }
        if step == Step::Retire && item.state == State::Overlap {
            check_unused(inner, item)?;
        }
        replace(&known, action, id, &Masters { keys: next })
    }

    fn plan(&self, inner: &Inner, from: &str, to: Option<&str>) -> Result<Plan, Error> {
        let known = inner.masters()?;
        let keys = &known.masters.value.keys;
        let new = match to {
            Some(to) => to.to_owned(),
            None => candidate(inner, &known)?.id(),
        };
        // Until the new one is active its guard decides, then that of the old one.
        let decisive = keys.get(&new).filter(|key| key.state == State::Pending);
        let decisive = decisive.or_else(|| keys.get(from).filter(|key| key.state != State::Active));
        let judge = inner.judge_masters(&known, decisive, &new)?;
        Ok(Plan {
            from: from.to_owned(),
            to: to.map(str::to_owned),
            stages: keys.plan(from, to, &judge.terms(Waive::Nothing)),
            longest: None,
            behind: judge.evidence.behind(),
        })
    }

    fn work(&self, inner: &Inner, id: &str, step: Step) -> Result<Option<Change>, Error> {
        match step == Step::Retire && self.state(inner, id)? == Some(State::Overlap) {
            true => inner.reseal(id),
            false => Ok(None),
        }
    }

    fn progress(&self, inner: &Inner) -> Result<Option<Progress>, Error> {
        Ok(inner.resealing()?.map(|pass| Progress { done: pass.resealed, total: pass.total }))
    }
}

impl Inner {
    /// What is kept of a new master key.
    fn described(&self, new: &MasterKey, known: &Known) -> Result<Master, Error> {
        let token = self.admin_token.expose_secret().as_bytes();
        let is_clusters = self.has_admin_token(known.active()?);
        Ok(Master { check: new.check(), admin_token_tag: is_clusters.then(|| new.tag(ADMIN_TOKEN, token)) })
    }

    /// What the next step with `item` is judged by, or with the master key `id` that is not added yet. A pending key waits
    /// for the word of every server that it holds it, however long that takes: one that does not could not go on. A key in
    /// overlap waits until they all say that they know, or have stopped to answer.
    fn judge_masters(&self, known: &Known, item: Option<&Item<Master>>, id: &str) -> Result<Judge, Error> {
        let pending = item.is_none_or(|item| item.state == State::Pending);
        let lifetimes = &self.settings.lifetimes;
        let stale_ms = if pending { FOREVER } else { millis(lifetimes.stale_limit) };
        let windows = Windows { stale_ms, retirement_ms: millis(lifetimes.retirement), ..Windows::default() };
        let mut evidence = match pending {
            true => self.evidence(1, |word| u64::from(word.master_keys.iter().any(|held| held == id)))?,
            false => self.evidence(known.masters.revision, |word| word.versions.masters)?,
        };
        evidence.verifiers.retain(|verifier| verifier.part == Part::Server);
        Ok(Judge { windows, evidence, now_ms: self.now_ms() })
    }
}

/// The key that this server was given to take the place of the active one.
fn candidate<'a>(inner: &'a Inner, known: &Known) -> Result<&'a MasterKey, Error> {
    let new = inner.master_keys.current();
    match known.active()?.id == new.id() {
        true => Err(Error::Precondition(
            "IAM_CRED_MASTER_KEY of this server is the active master key; start the servers with a new one, and with this \
             one as IAM_CRED_MASTER_KEY_PREVIOUS"
                .to_owned(),
        )),
        false => Ok(new),
    }
}

/// Refuses while secrets may be sealed with the key in overlap.
fn check_unused(inner: &Inner, item: &Item<Master>) -> Result<(), Error> {
    let left = match inner.resealing()? {
        Some(pass) if pass.complete => return Ok(()),
        Some(pass) => format!("seal {} of {} secrets anew", pass.total - pass.resealed, pass.total),
        None => "seal the secrets anew".to_owned(),
    };
    Err(StepError::InUse { id: item.id.clone(), state: item.word(), step: Step::Retire, left }.into())
}

/// The master keys without those that may be purged: nobody purges the new ones of rotations that were aborted.
fn without_old(inner: &Inner, known: &Known) -> Result<Set<Master>, Error> {
    let mut keys = known.masters.value.keys.clone();
    let over = |item: &&Item<Master>| !item.state.verifies();
    for old in known.masters.value.keys.items.iter().filter(over) {
        let judge = inner.judge_masters(known, Some(old), &old.id)?;
        keys = keys.step(&old.id, Step::Purge, &judge.terms(Waive::Nothing)).unwrap_or(keys);
    }
    Ok(keys)
}

fn replace(known: &Known, action: &'static str, id: &str, next: &Masters) -> Result<Change, Error> {
    known.guard(Change::new(action, format!("master-key/{id}"))).put(key::MASTERS.to_vec(), next)
}

fn action(step: Step) -> &'static str {
    match step {
        Step::Activate => "iam.MasterKeyActivate",
        Step::Retire => "iam.MasterKeyRetire",
        Step::Purge => "iam.MasterKeyPurge",
        Step::Compromise => "iam.MasterKeyCompromise",
    }
}
