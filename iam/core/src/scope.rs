//! Where principals are, and where a role counts: the whole system, an organisation, or a project of one.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{NameError, check_name};

/// The text of an organisation begins with it; the whole system has no text.
const ORG: &str = "org/";

/// `org/acme` or `org/acme/project/web`. [`Scope::new`] and [`str::parse`] check the names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Names", into = "Names")]
pub enum Scope {
    #[default]
    System,
    Org(String),
    Project {
        org: String,
        project: String,
    },
}

/// As records and tokens have it: fields of theirs, which are absent for the whole system.
#[derive(Serialize, Deserialize)]
struct Names {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    org: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    project: Option<String>,
}

/// Why there is no such scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("a project is one of an organisation: name both")]
    NoOrg,
    #[error("{0:?} is not org/NAME or org/NAME/project/NAME")]
    Text(String),
}

impl Scope {
    pub fn new(org: Option<String>, project: Option<String>) -> Result<Self, ScopeError> {
        for name in [&org, &project].into_iter().flatten() {
            check_name(name)?;
        }
        match (org, project) {
            (None, None) => Ok(Self::System),
            (Some(org), None) => Ok(Self::Org(org)),
            (Some(org), Some(project)) => Ok(Self::Project { org, project }),
            (None, Some(_)) => Err(ScopeError::NoOrg),
        }
    }

    pub fn org(&self) -> Option<&str> {
        match self {
            Self::System => None,
            Self::Org(org) | Self::Project { org, .. } => Some(org),
        }
    }

    pub fn project(&self) -> Option<&str> {
        match self {
            Self::System | Self::Org(_) => None,
            Self::Project { project, .. } => Some(project),
        }
    }

    /// Whether `other` is it or a part of it.
    pub fn contains(&self, other: &Self) -> bool {
        match self {
            Self::System => true,
            Self::Org(org) => other.org() == Some(org),
            Self::Project { .. } => self == other,
        }
    }

    /// The narrowest scope that contains both.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        let wider = [self, other].into_iter().find(|one| one.contains(self) && one.contains(other));
        match (wider, self.org()) {
            (Some(wider), _) => wider.clone(),
            (None, Some(org)) if other.org() == Some(org) => Self::Org(org.to_owned()),
            (None, _) => Self::System,
        }
    }

    /// As something that is acted upon: `iam/*` for the whole system.
    pub fn resource(&self) -> String {
        match self {
            Self::System => "iam/*".to_owned(),
            Self::Org(_) | Self::Project { .. } => self.to_string(),
        }
    }
}

/// Nothing for the whole system.
impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => Ok(()),
            Self::Org(org) => write!(out, "{ORG}{org}"),
            Self::Project { org, project } => write!(out, "{ORG}{org}/project/{project}"),
        }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    /// Of an organisation or a project.
    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let names = text.strip_prefix(ORG).ok_or_else(|| ScopeError::Text(text.to_owned()))?;
        let (org, project) = match names.split_once("/project/") {
            Some((org, project)) => (org, Some(project.to_owned())),
            None => (names, None),
        };
        Self::new(Some(org.to_owned()), project)
    }
}

impl TryFrom<Names> for Scope {
    type Error = ScopeError;

    fn try_from(Names { org, project }: Names) -> Result<Self, ScopeError> {
        Self::new(org, project)
    }
}

impl From<Scope> for Names {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::System => Self { org: None, project: None },
            Scope::Org(org) => Self { org: Some(org), project: None },
            Scope::Project { org, project } => Self { org: Some(org), project: Some(project) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        if text.is_empty() { Scope::System } else { text.parse().unwrap() }
    }

    #[test]
    fn texts_survive() {
        for text in ["org/acme", "org/acme/project/web", "org/project/project/org"] {
            assert_eq!(scope(text).to_string(), text);
            assert_eq!(scope(text).resource(), text);
        }
        assert_eq!((Scope::System.to_string().as_str(), Scope::System.resource().as_str()), ("", "iam/*"));
    }

    #[test]
    fn what_is_no_scope_is_refused() {
        let texts = ["", "org", "org/", "acme", "org/a/b", "org/a/project", "org/a/project/", "org/../project/x"];
        for text in texts.into_iter().chain(["org//project/x", "org/a/project/b/project/c", "ORG/a", "user/a", "org/ä"])
        {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
        assert_eq!(Scope::new(None, Some("web".into())), Err(ScopeError::NoOrg));
        assert!(Scope::new(Some("a/project/b".into()), None).is_err());
    }

    #[test]
    fn wider_ones_contain_narrower_ones() {
        let all = ["", "org/a", "org/b", "org/a/project/x", "org/a/project/y", "org/b/project/x"];
        let contained = [
            (0, vec![0, 1, 2, 3, 4, 5]),
            (1, vec![1, 3, 4]),
            (2, vec![2, 5]),
            (3, vec![3]),
            (4, vec![4]),
            (5, vec![5]),
        ];
        for (outer, inner) in contained {
            for (number, text) in all.iter().enumerate() {
                let contains = scope(all[outer]).contains(&scope(text));
                assert_eq!(contains, inner.contains(&number), "{} {text}", all[outer]);
            }
        }
    }

    #[test]
    fn the_join_is_the_narrowest_that_contains_both() {
        let table = [
            ("org/a", "org/a", "org/a"),
            ("org/a", "org/a/project/x", "org/a"),
            ("org/a/project/x", "org/a/project/x", "org/a/project/x"),
            ("org/a/project/x", "org/a/project/y", "org/a"),
            ("org/a/project/x", "org/b/project/x", ""),
            ("org/a", "org/b", ""),
            ("", "org/a/project/x", ""),
        ];
        for (one, other, both) in table {
            assert_eq!(scope(one).join(&scope(other)), scope(both), "{one} {other}");
            assert_eq!(scope(other).join(&scope(one)), scope(both), "{other} {one}");
        }
    }

    #[test]
    fn records_have_it_as_fields_of_theirs() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Owner {
            id: u64,
            #[serde(flatten)]
            scope: Scope,
        }
        let table = [
            (Scope::System, r#"{"id":1}"#),
            (scope("org/acme"), r#"{"id":1,"org":"acme"}"#),
            (scope("org/acme/project/web"), r#"{"id":1,"org":"acme","project":"web"}"#),
        ];
        for (scope, text) in table {
            assert_eq!(serde_json::to_string(&Owner { id: 1, scope: scope.clone() }).unwrap(), text);
            assert_eq!(serde_json::from_str::<Owner>(text).unwrap(), Owner { id: 1, scope });
        }
        for bad in [r#"{"id":1,"project":"web"}"#, r#"{"id":1,"org":"a/b"}"#, r#"{"id":1,"org":""}"#] {
            assert!(serde_json::from_str::<Owner>(bad).is_err(), "{bad}");
        }
    }
}
