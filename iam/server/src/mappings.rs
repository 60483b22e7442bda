//! The rules by which certificates name principals without a SPIFFE id of the trust domain: one record, each step one
//! compare-and-set, judged as the steps of authorities are.

use std::sync::Arc;

use chainfire_core::system::Expect;
use iam_client::Identity;
use iam_core::{
    mapping::{MAX_MAPPINGS, Mapped, Mappings, Name, Rule},
    record::key,
    rotation::{Rotates as _, Set, Step, StepError},
};

use crate::{
    Error, Iam,
    iam::Inner,
    records::{Change, Versioned},
    signing::StepOptions,
    trust::Enforced,
};

/// The rules after a change.
pub(crate) struct Changed {
    pub(crate) mappings: Versioned<Mappings>,
    pub(crate) breaks: String,
    pub(crate) enforced: Vec<Enforced>,
}

impl Inner {
    /// The rules in force; at revision 0 as long as there never were any.
    pub(crate) fn mappings(&self) -> Result<Arc<Versioned<Mappings>>, Error> {
        Ok(self.mappings.get(&self.records)?.unwrap_or_default())
    }

    /// The version of everything by which certificates are judged, but for denials.
    pub(crate) fn trust_version(&self) -> Result<u64, Error> {
        Ok(self.trust()?.revision.max(self.mappings()?.revision))
    }
}

impl Iam {
    pub(crate) fn mappings(&self) -> Result<Arc<Versioned<Mappings>>, Error> {
        self.0.mappings()
    }

    /// Lets `name` stand for `mapped`, too. The first name is active at once.
    pub(crate) async fn add_mapping(
        &self,
        by: &Identity,
        mapped: Mapped,
        name: Name,
        authority: Option<String>,
        dry_run: bool,
    ) -> Result<Changed, Error> {
        let trust_domain = &self.0.settings.trust_domain;
        if name.uri().is_some_and(|uri| trust_domain.owns(uri)) {
            return Err(Error::Invalid(format!(
                "{name} is of the own trust domain, where each id names its principal by itself"
            )));
        }
        if let Some(id) = &authority
            && self.0.trust()?.value.roots.get(id).is_none()
        {
            return Err(Error::NotFound(format!("authority {id}; florctl iam trust list names them")));
        }
        let (id, now_ms) = (name.to_string(), self.0.now_ms());
        let rule = Rule::new(&mapped, name, authority)?;
        let before = self.0.mappings()?;
        let mut next = before.value.clone();
        let rules = match next.0.remove(&mapped) {
            Some(rules) => rules.add(id.clone(), rule, now_ms)?,
            None if next.0.len() < MAX_MAPPINGS => Set::genesis(id.clone(), rule, now_ms),
            None => {
                return Err(Error::Precondition(format!("rules name {MAX_MAPPINGS} principals already; drop some")));
            }
        };
        next.0.insert(mapped.clone(), rules);
        self.change_mappings(by, &before, next, ("iam.MappingAdd", &mapped, &id), String::new(), dry_run).await
    }

    /// Takes `step` with the rule of `mapped` that is called `id`. A step that is done already changes nothing.
    pub(crate) async fn step_mapping(
        &self,
        by: &Identity,
        mapped: &Mapped,
        id: &str,
        step: Step,
        options: StepOptions,
    ) -> Result<Changed, Error> {
        let stepped = || {
            let before = self.0.mappings()?;
            before.expect(options.expected_revision)?;
            let (mut next, mut breaks) = (before.value.clone(), String::new());
            let rule = before.value.0.get(mapped).and_then(|rules| Some((rules, rules.get(id)?)));
            match rule {
                Some((rules, rule)) => {
                    let judge = self.0.judge_trust(rule.state, before.revision)?;
                    let (rules, broken) = judge.step(rules, rule, step, options.waive)?;
                    next.0.insert(mapped.clone(), rules);
                    breaks = broken;
                }
                // Purging what is gone is done already.
                None if step == Step::Purge => {}
                None => return Err(StepError::NotFound { noun: Rule::NOUN, id: format!("{mapped} by {id}") }.into()),
            }
            Ok((before, next, breaks))
        };
        let (before, next, breaks) = self.0.given_a_moment(stepped).await?;
        self.change_mappings(by, &before, next, (action(step), mapped, id), breaks, options.dry_run).await
    }

    /// Forgets every name of `mapped`, the active one, too.
    pub(crate) async fn drop_mapping(&self, by: &Identity, mapped: &Mapped, dry_run: bool) -> Result<Changed, Error> {
        let before = self.0.mappings()?;
        let mut next = before.value.clone();
        if next.0.remove(mapped).is_none() {
            return Err(Error::NotFound(format!("mapping of {mapped}")));
        }
        self.change_mappings(by, &before, next, ("iam.MappingDrop", mapped, "*"), String::new(), dry_run).await
    }

    async fn change_mappings(
        &self,
        by: &Identity,
        before: &Versioned<Mappings>,
        next: Mappings,
        (action, mapped, id): (&'static str, &Mapped, &str),
        breaks: String,
        dry_run: bool,
    ) -> Result<Changed, Error> {
        if dry_run || next == before.value {
            let mappings = Versioned { value: next, revision: before.revision };
            return Ok(Changed { mappings, breaks, enforced: Vec::new() });
        }
        let expected = if before.revision == 0 { Expect::Absent } else { Expect::Revision(before.revision) };
        let change = Change::new(action, format!("mapping/{mapped}/{id}"));
        let change = change.expect(key::MAPPINGS.to_vec(), expected).put(key::MAPPINGS.to_vec(), &next)?;
        let closed = self.0.closed_so_far()?;
        let revision = self.0.records.commit(by.origin(), change).await?;
        let enforced = self.0.enforced(&closed, |versions| versions.trust >= revision).await?;
        Ok(Changed { mappings: Versioned { value: next, revision }, breaks, enforced })
    }
}

/// As the history names a step.
fn action(step: Step) -> &'static str {
    match step {
        Step::Activate => "iam.MappingActivate",
        Step::Retire => "iam.MappingRemove",
        Step::Compromise => "iam.MappingDistrust",
        Step::Purge => "iam.MappingPurge",
    }
}
