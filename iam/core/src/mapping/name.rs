use std::{fmt, str::FromStr};

use iam_ca::Certified;

use crate::{Kind, NameError, PrincipalId};

const MAX_PATTERN: usize = 255;

/// `kind:text`, where one `*` in the text may stand for a part: a segment of a URI's path, a label of a DNS name, anything
/// that can be a principal's name in a common name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub(super) kind: NameKind,
    text: String,
}

/// In the order in which they are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameKind {
    Uri,
    Dns,
    CommonName,
}

/// `kind/name`, or `kind/*`: whoever is called as the `*` of a name says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mapped {
    kind: Kind,
    name: Option<String>,
}

/// Why a rule cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    #[error("{0:?} is not uri:TEXT, dns:TEXT or cn:TEXT, of at most {MAX_PATTERN} printable characters")]
    Name(String),
    #[error("{0:?} has more than one *, or one that does not stand for a whole part")]
    Wildcard(String),
    #[error("{mapped} and {name}: either both have a *, or none")]
    OneSided { mapped: Mapped, name: Name },
    #[error(transparent)]
    Mapped(#[from] NameError),
}

impl NameKind {
    fn word(self) -> &'static str {
        match self {
            Self::Uri => "uri",
            Self::Dns => "dns",
            Self::CommonName => "cn",
        }
    }

    pub(super) fn of(self, leaf: &Certified) -> &[String] {
        match self {
            Self::Uri => &leaf.uris,
            Self::Dns => &leaf.dns_names,
            Self::CommonName => leaf.common_name.as_slice(),
        }
    }

    /// What ends a part that a `*` stands for.
    fn ends_part(self, byte: char) -> bool {
        match self {
            Self::Uri => byte == '/',
            Self::Dns => byte == '.',
            Self::CommonName => false,
        }
    }
}

impl Name {
    pub(super) fn has_wildcard(&self) -> bool {
        self.text.contains('*')
    }

    /// A URI that it may stand for, as far as is certain: up to the `*`.
    pub fn uri(&self) -> Option<&str> {
        (self.kind == NameKind::Uri).then(|| self.text.split('*').next().unwrap_or_default())
    }

    /// What the `*` stands for if `name` is one of these; nothing, if there is no `*`. DNS names are the same in upper
    /// case (RFC 4343), and so is a part of one; other names are not.
    pub(super) fn stands_for(&self, name: &str) -> Option<String> {
        let same = |one: &str, other: &str| match self.kind {
            NameKind::Dns => one.eq_ignore_ascii_case(other),
            NameKind::Uri | NameKind::CommonName => one == other,
        };
        let Some((before, after)) = self.text.split_once('*') else {
            return same(&self.text, name).then(String::new);
        };
        let part = name.get(before.len()..name.len().checked_sub(after.len())?)?;
        let around = same(name.get(..before.len())?, before) && same(name.get(name.len() - after.len()..)?, after);
        let whole = around && !part.is_empty() && !part.contains(|byte| self.kind.ends_part(byte));
        whole.then(|| match self.kind {
            NameKind::Dns => part.to_ascii_lowercase(),
            NameKind::Uri | NameKind::CommonName => part.to_owned(),
        })
    }
}

impl Mapped {
    /// Whether it takes its name from the certificate.
    pub(super) fn is_any(&self) -> bool {
        self.name.is_none()
    }

    /// Who is meant where `part` of a name stands for its own.
    pub(super) fn principal(&self, part: &str) -> Option<PrincipalId> {
        PrincipalId::new(self.kind, self.name.as_deref().unwrap_or(part)).ok()
    }
}

impl FromStr for Name {
    type Err = MappingError;

    fn from_str(name: &str) -> Result<Self, MappingError> {
        let wrong = || MappingError::Name(name.to_owned());
        let (word, text) = name.split_once(':').ok_or_else(wrong)?;
        let kinds = [NameKind::Uri, NameKind::Dns, NameKind::CommonName];
        let kind = kinds.into_iter().find(|kind| kind.word() == word).ok_or_else(wrong)?;
        if text.is_empty() || text.len() > MAX_PATTERN || text.chars().any(char::is_control) {
            return Err(wrong());
        }
        if let Some((before, after)) = text.split_once('*') {
            let ends = |next: Option<char>| next.is_none_or(|next| kind.ends_part(next));
            let whole = kind == NameKind::CommonName || ends(before.chars().next_back()) && ends(after.chars().next());
            if after.contains('*') || !whole {
                return Err(MappingError::Wildcard(name.to_owned()));
            }
        }
        Ok(Self { kind, text: text.to_owned() })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.kind.word(), self.text)
    }
}

impl FromStr for Mapped {
    type Err = MappingError;

    fn from_str(text: &str) -> Result<Self, MappingError> {
        if let Some(kind) = text.strip_suffix("/*").and_then(Kind::parse) {
            return Ok(Self { kind, name: None });
        }
        let id: PrincipalId = text.parse()?;
        Ok(Self { kind: id.kind(), name: Some(id.name().to_owned()) })
    }
}

impl fmt::Display for Mapped {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.kind.as_str(), self.name.as_deref().unwrap_or("*"))
    }
}
