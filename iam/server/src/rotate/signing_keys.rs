use chainfire_core::system::Expect;
use iam_core::{
    record::key,
    rotation::{State, Step, StepError, Waive},
    signing::Algorithm,
};

use super::family::{Family, Plan};
use crate::{
    Error,
    iam::Inner,
    records::Change,
    signing::{NewKey, key_change, step_action},
};

/// The keys that sign tokens.
pub(crate) struct SigningKeys;

impl Family for SigningKeys {
    fn name(&self) -> &'static str {
        "signing-key"
    }

    fn active(&self, inner: &Inner) -> Result<String, Error> {
        let ring = inner.key_ring()?;
        let active = ring.value.active().map(|key| key.id.clone());
        active.ok_or_else(|| Error::Corrupt("no signing key is active".to_owned()))
    }

    fn state(&self, inner: &Inner, id: &str) -> Result<Option<State>, Error> {
        Ok(inner.key_ring()?.value.key(id).map(|key| key.state))
    }

    fn add(&self, inner: &Inner) -> Result<(String, Change), Error> {
        let added = inner.new_signing_key(NewKey::Generate(Algorithm::EdDsa))?;
        Ok((added.kid, added.change))
    }

    fn step(&self, inner: &Inner, id: &str, step: Step) -> Result<Change, Error> {
        let ring = inner.key_ring()?;
        let judge = inner.judge_keys(ring.revision)?;
        let next = match ring.value.step(id, step, &judge.terms(Waive::Nothing)) {
            Err(StepError::NotFound { .. }) if step == Step::Purge => ring.value.clone(),
            next => next?,
        };
        if next == ring.value {
            let done = Change::new(step_action(step), format!("signing-key/{id}"));
            return Ok(done.expect(key::RING.to_vec(), Expect::Revision(ring.revision)));
        }
        key_change(&ring, &next, id, step)
    }

    fn plan(&self, inner: &Inner, from: &str, to: Option<&str>) -> Result<Plan, Error> {
        let ring = inner.key_ring()?;
        let judge = inner.judge_keys(ring.revision)?;
        Ok(Plan {
            from: from.to_owned(),
            to: to.map(str::to_owned),
            stages: ring.value.keys.plan(from, to, &judge.terms(Waive::Nothing)),
            longest: judge.evidence.longest(from),
            behind: judge.evidence.behind(),
        })
    }
}
