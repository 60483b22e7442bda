use chainfire_core::system::Expect;
use iam_core::{
    record::key,
    rotation::{State, Step, StepError, Waive},
    trust::Authorities as Record,
};

use super::family::{Family, Plan};
use crate::{
    Error,
    iam::Inner,
    records::Change,
    trust::{root_action, root_change},
};

/// What somebody does by hand whose root is not here.
const OFFLINE: &str = "the authority that issues stands below an offline root, so no job can make the next one: have the \
    request of `florctl iam trust request` certified; then `iam trust issue-with` replaces what issues below the same root, \
    and `iam trust add --cert --issuing` with `iam trust activate` the root itself";

/// The plane's own authorities, which issue certificates.
pub(crate) struct Authorities;

impl Family for Authorities {
    fn name(&self) -> &'static str {
        "authority"
    }

    fn active(&self, inner: &Inner) -> Result<String, Error> {
        inner.issuing_authority()
    }

    fn state(&self, inner: &Inner, id: &str) -> Result<Option<State>, Error> {
        Ok(inner.trust()?.value.roots.get(id).map(|root| root.state))
    }

    fn add(&self, inner: &Inner) -> Result<(String, Change), Error> {
        let trust = inner.trust()?;
        if trust.value.roots.active().is_some_and(|root| root.value.issuing.is_some()) {
            return Err(Error::Precondition(OFFLINE.to_owned()));
        }
        let added = inner.new_root(None, None, true)?;
        Ok((added.id, added.change))
    }

    fn step(&self, inner: &Inner, id: &str, step: Step) -> Result<Change, Error> {
        let trust = inner.trust()?;
        let roots = &trust.value.roots;
        let done = || Change::new(root_action(step), format!("authority/{id}"));
        let done = || done().expect(key::AUTHORITIES.to_vec(), Expect::Revision(trust.revision));
        let Some(root) = roots.get(id) else {
            // Purging what is gone is done already.
            let gone = StepError::NotFound { noun: "certificate authority", id: id.to_owned() };
            return if step == Step::Purge { Ok(done()) } else { Err(gone.into()) };
        };
        inner.check_may_issue(root, step)?;
        let judge = inner.judge_trust(root.state, trust.revision)?;
        let next = roots.step(id, step, &judge.terms(Waive::Nothing))?;
        if next == *roots {
            return Ok(done());
        }
        root_change(&trust, &Record { roots: next }, id, step)
    }

    fn plan(&self, inner: &Inner, from: &str, to: Option<&str>) -> Result<Plan, Error> {
        let trust = inner.trust()?;
        let roots = &trust.value.roots;
        // Until the new one is active its guard decides, then that of the old one.
        let pending = to.and_then(|to| roots.get(to)).filter(|root| root.state == State::Pending);
        let behind = inner.evidence(trust.revision, |word| word.versions.trust)?.behind();
        let stages = match pending.or_else(|| roots.get(from)) {
            Some(decisive) => {
                let judge = inner.judge_trust(decisive.state, trust.revision)?;
                roots.plan(from, to, &judge.terms(Waive::Nothing))
            }
            None => Vec::new(),
        };
        Ok(Plan { from: from.to_owned(), to: to.map(str::to_owned), stages, longest: None, behind })
    }
}
