use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, de};

/// Long enough for host names and mail addresses.
const MAX_NAME: usize = 128;

/// The kinds of stored principals; the SPIFFE path segment is the lower-case name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    User,
    Service,
    Node,
}

/// `kind/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PrincipalId {
    kind: Kind,
    name: String,
}

/// What a binding or a membership is about: a principal or a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    Principal(PrincipalId),
    Group(String),
}

/// The first segment of every SPIFFE id of this plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustDomain(String);

/// Why a name cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("{0:?} is not user/NAME, service/NAME, node/NAME or group/NAME")]
    Kind(String),
    #[error(
        "{0:?} is not a name: 1 to {MAX_NAME} letters, digits and . _ @ + -, beginning with a letter, a digit or _"
    )]
    Name(String),
    #[error("{0:?} is not a trust domain: lower-case letters, digits and . - _")]
    TrustDomain(String),
}

/// Names are parts of keys, paths and URIs, so they hold nothing that would have to be escaped there.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let rest = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte));
    if first && rest && name.len() <= MAX_NAME { Ok(()) } else { Err(NameError::Name(name.to_owned())) }
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
            Self::Node => "node",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::User, Self::Service, Self::Node].into_iter().find(|kind| kind.as_str() == text)
    }
}

impl PrincipalId {
    pub fn new(kind: Kind, name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        check_name(&name)?;
        Ok(Self { kind, name })
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl TrustDomain {
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        if name.is_empty() || name.len() > 255 || !name.bytes().all(allowed) {
            return Err(NameError::TrustDomain(name));
        }
        Ok(Self(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `spiffe://<trust-domain>/<kind>/<name>`.
    pub fn spiffe_id(&self, principal: &PrincipalId) -> String {
        format!("spiffe://{}/{principal}", self.0)
    }

    /// The principal that a SPIFFE id of this trust domain names; nobody if it is another's or malformed.
    pub fn principal(&self, spiffe_id: &str) -> Option<PrincipalId> {
        self.path(spiffe_id)?.strip_prefix('/')?.parse().ok()
    }

    /// Whether `uri` is of this trust domain, whatever it names there.
    pub fn owns(&self, uri: &str) -> bool {
        self.path(uri).is_some_and(|path| path.is_empty() || path.starts_with('/'))
    }

    fn path<'a>(&self, uri: &'a str) -> Option<&'a str> {
        uri.strip_prefix("spiffe://")?.strip_prefix(&self.0)
    }
}

impl fmt::Display for PrincipalId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.kind.as_str(), self.name)
    }
}

impl FromStr for PrincipalId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (kind, name) = text.split_once('/').ok_or_else(|| NameError::Kind(text.to_owned()))?;
        let kind = Kind::parse(kind).ok_or_else(|| NameError::Kind(text.to_owned()))?;
        Self::new(kind, name)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal(principal) => principal.fmt(out),
            Self::Group(name) => write!(out, "group/{name}"),
        }
    }
}

impl FromStr for Subject {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix("group/") {
            Some(name) => check_name(name).map(|()| Self::Group(name.to_owned())),
            None => text.parse().map(Self::Principal),
        }
    }
}

impl From<PrincipalId> for Subject {
    fn from(principal: PrincipalId) -> Self {
        Self::Principal(principal)
    }
}

impl Serialize for PrincipalId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PrincipalId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Subject {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text() {
        for text in ["user/mira", "service/ci", "node/pier-2.dock", "user/mira@dock.example"] {
            assert_eq!(text.parse::<PrincipalId>().unwrap().to_string(), text);
        }
        assert_eq!("group/crew".parse::<Subject>().unwrap().to_string(), "group/crew");
    }

    #[test]
    fn what_would_need_escaping_is_refused() {
        let long = format!("node/{}", "a".repeat(MAX_NAME + 1));
        for text in
            ["", "mira", "user/", "user/a/b", "root/a", "node/../a", "node/.a", "node/a b", "node/ä", long.as_str()]
        {
            assert!(text.parse::<PrincipalId>().is_err(), "{text}");
        }
    }

    #[test]
    fn spiffe_ids_belong_to_one_trust_domain() {
        let domain = TrustDomain::new("harbour.example").unwrap();
        let node = "node/pier2".parse().unwrap();
        assert_eq!(domain.spiffe_id(&node), "spiffe://harbour.example/node/pier2");
        assert_eq!(domain.principal("spiffe://harbour.example/node/pier2"), Some(node));
        for other in [
            "spiffe://harbour.example.evil/node/pier2",
            "spiffe://harbour.exampl/node/pier2",
            "spiffe://harbour.example/node/pier2/x",
            "https://harbour.example/node/pier2",
            "spiffe://harbour.examplenode/pier2",
        ] {
            assert_eq!(domain.principal(other), None, "{other}");
        }
    }
}
