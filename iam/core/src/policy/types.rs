use std::{collections::HashMap, str::FromStr as _};

use cedar_policy::EntityTypeName;

use super::error::{PolicyError, describe};

/// The schema's entity types, by the words that callers and resources begin with.
pub(super) struct Types {
    pub(super) action: EntityTypeName,
    pub(super) group: EntityTypeName,
    pub(super) role: EntityTypeName,
    other: EntityTypeName,
    principals: HashMap<&'static str, EntityTypeName>,
    resources: HashMap<&'static str, EntityTypeName>,
}

const PRINCIPALS: &[(&str, &str)] = &[
    ("user", "User"),
    ("service", "Service"),
    ("node", "Node"),
    ("bootstrap", "Bootstrap"),
    ("anonymous", "Anonymous"),
];

const RESOURCES: &[(&str, &str)] = &[
    ("cluster", "Cluster"),
    ("history", "History"),
    ("iam", "Iam"),
    ("keys", "Keys"),
    ("lock", "Lock"),
    ("node", "Node"),
    ("nodes", "Nodes"),
    ("org", "Scope"),
    ("service", "Service"),
    ("user", "User"),
    ("versions", "Versions"),
];

impl Types {
    pub(super) fn new() -> Result<Self, PolicyError> {
        Ok(Self {
            action: parse("Action")?,
            group: parse("Group")?,
            role: parse("Role")?,
            other: parse("Other")?,
            principals: parse_all(PRINCIPALS)?,
            resources: parse_all(RESOURCES)?,
        })
    }

    pub(super) fn principal(&self, kind: &str) -> Result<&EntityTypeName, String> {
        self.principals.get(kind).ok_or_else(|| format!("no policy speaks of {kind:?}"))
    }

    pub(super) fn resource(&self, kind: &str) -> &EntityTypeName {
        self.resources.get(kind).unwrap_or(&self.other)
    }
}

fn parse_all(names: &[(&'static str, &'static str)]) -> Result<HashMap<&'static str, EntityTypeName>, PolicyError> {
    names.iter().map(|(word, name)| Ok((*word, parse(name)?))).collect()
}

fn parse(name: &str) -> Result<EntityTypeName, PolicyError> {
    EntityTypeName::from_str(name).map_err(|error| PolicyError::Schema(describe(&error)))
}
