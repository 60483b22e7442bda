use std::{fmt, num::ParseIntError, str::FromStr};

use serde::{Deserialize, Serialize};

/// The number of a compiled tree: one for the whole cluster, only ever growing. 0 means that nothing is published.
/// At most 2^53, so that every JSON reader keeps it exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Version(u64);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    #[error("{0} is larger than the largest version, 2^53")]
    TooLarge(u64),
    #[error("\"{text}\" is not a version: {source}")]
    NotANumber { text: String, source: ParseIntError },
}

impl Version {
    /// Before the first tree.
    pub const NONE: Self = Self(0);
    const MAX: u64 = 1 << 53;

    pub fn new(number: u64) -> Result<Self, VersionError> {
        if number > Self::MAX { Err(VersionError::TooLarge(number)) } else { Ok(Self(number)) }
    }

    pub fn get(self) -> u64 {
        self.0
    }

    /// The next number, `None` after the last one.
    pub fn next(self) -> Option<Self> {
        Self::new(self.0 + 1).ok()
    }
}

impl TryFrom<u64> for Version {
    type Error = VersionError;

    fn try_from(number: u64) -> Result<Self, VersionError> {
        Self::new(number)
    }
}

impl From<Version> for u64 {
    fn from(version: Version) -> Self {
        version.0
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let number = text.parse().map_err(|source| VersionError::NotANumber { text: text.to_owned(), source })?;
        Self::new(number)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}
