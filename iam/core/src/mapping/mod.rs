//! Whom certificates name by other names than SPIFFE ids of the own trust domain: rules that rotate as authorities do.

mod name;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use iam_ca::Certified;
use serde::{Deserialize, Serialize};

pub use self::name::{Mapped, MappingError, Name};
use self::{name::NameKind, stored::Stored};
use crate::{
    PrincipalId,
    record::Record,
    rotation::{Item, Rotates, Set},
};

/// Principals and patterns of principals that have rules, so that all of them stay one small record.
pub const MAX_MAPPINGS: usize = 256;

/// All rules, by whom they name, in one record. The rules of each rotate on their own: the active one has the name that
/// counts from now on, those that are pending or in overlap count beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Mappings(pub BTreeMap<Mapped, Set<Rule>>);

/// A name in a certificate that stands for a principal; its id is the text of the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub name: Name,
    /// The authority that has to vouch for it; any that is trusted, if there is none.
    pub authority: Option<String>,
}

/// Rules say that one certificate belongs to several principals, which means that it belongs to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("mapping rules name different principals")]
pub struct Ambiguous;

impl Rotates for Rule {
    const NOUN: &'static str = "mapping rule";
    const OVERLAP: &'static str = "overlap";
    const CAPACITY: usize = 8;
}

impl Rule {
    /// A rule that names `mapped`.
    pub fn new(mapped: &Mapped, name: Name, authority: Option<String>) -> Result<Self, MappingError> {
        if mapped.is_any() == name.has_wildcard() {
            Ok(Self { name, authority })
        } else {
            Err(MappingError::OneSided { mapped: mapped.clone(), name })
        }
    }
}

impl Mappings {
    /// Whom `leaf` names if `authority` vouches for it. Names of a kind are looked at only if those before it say nothing.
    pub fn principal(&self, leaf: &Certified, authority: &str) -> Result<Option<PrincipalId>, Ambiguous> {
        for kind in [NameKind::Uri, NameKind::Dns, NameKind::CommonName] {
            let mut found = None;
            for name in kind.of(leaf) {
                for principal in self.named(kind, name, authority) {
                    match &found {
                        Some(other) if *other != principal => return Err(Ambiguous),
                        _ => found = Some(principal),
                    }
                }
            }
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn named<'a>(
        &'a self,
        kind: NameKind,
        name: &'a str,
        authority: &'a str,
    ) -> impl Iterator<Item = PrincipalId> + use<'a> {
        let rules = self.0.iter().flat_map(|(mapped, set)| set.items.iter().map(move |rule| (mapped, rule)));
        rules.filter_map(move |(mapped, Item { value: rule, state, .. })| {
            let vouched = rule.authority.as_ref().is_none_or(|wanted| wanted == authority);
            let counts = state.verifies() && vouched && rule.name.kind == kind;
            counts.then(|| rule.name.stands_for(name)).flatten().and_then(|part| mapped.principal(&part))
        })
    }
}

impl Record for Mappings {}
