use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Mapped, MappingError, Mappings, Rule};
use crate::rotation::{Item, Set, State};

/// The record, as it is frozen.
#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    rules: Vec<StoredRule>,
}

#[derive(Serialize, Deserialize)]
struct StoredRule {
    principal: String,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    authority: Option<String>,
    state: StoredState,
    added_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    activated_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    superseded_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    removed_ms: Option<u64>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredState {
    Trusted,
    Active,
    Overlap,
    Removed,
    Distrusted,
}

impl From<Mappings> for Stored {
    fn from(mappings: Mappings) -> Self {
        let rules = mappings.0.into_iter().flat_map(|(mapped, set)| {
            set.items.into_iter().map(move |item| StoredRule {
                principal: mapped.to_string(),
                name: item.value.name.to_string(),
                authority: item.value.authority,
                state: match item.state {
                    State::Pending => StoredState::Trusted,
                    State::Active => StoredState::Active,
                    State::Overlap => StoredState::Overlap,
                    State::Retired => StoredState::Removed,
                    State::Compromised => StoredState::Distrusted,
                },
                added_ms: item.added_ms,
                activated_ms: item.activated_ms,
                superseded_ms: item.superseded_ms,
                removed_ms: item.retired_ms,
            })
        });
        Self { rules: rules.collect() }
    }
}

impl TryFrom<Stored> for Mappings {
    type Error = MappingError;

    fn try_from(stored: Stored) -> Result<Self, MappingError> {
        let mut mappings = BTreeMap::<Mapped, Set<Rule>>::new();
        for rule in stored.rules {
            let mapped: Mapped = rule.principal.parse()?;
            let item = Item {
                value: Rule::new(&mapped, rule.name.parse()?, rule.authority)?,
                id: rule.name,
                state: match rule.state {
                    StoredState::Trusted => State::Pending,
                    StoredState::Active => State::Active,
                    StoredState::Overlap => State::Overlap,
                    StoredState::Removed => State::Retired,
                    StoredState::Distrusted => State::Compromised,
                },
                added_ms: rule.added_ms,
                activated_ms: rule.activated_ms,
                superseded_ms: rule.superseded_ms,
                retired_ms: rule.removed_ms,
            };
            mappings.entry(mapped).or_insert_with(|| Set { items: Vec::new() }).items.push(item);
        }
        Ok(Self(mappings))
    }
}
