use std::{fmt, num::ParseIntError, str::FromStr};

use serde::{Deserialize, Serialize};

/// The number of a revocation envelope: its own counter beside the versions', only ever growing. 0 means that nothing was
/// ever revoked. At most 2^53, so that every JSON reader keeps it exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Sequence(u64);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    #[error("{0} is larger than the largest sequence, 2^53")]
    TooLarge(u64),
    #[error("\"{text}\" is not a sequence: {source}")]
    NotANumber { text: String, source: ParseIntError },
}

impl Sequence {
    /// Before the first envelope.
    pub const NONE: Self = Self(0);
    const MAX: u64 = 1 << 53;

    pub fn new(number: u64) -> Result<Self, SequenceError> {
        if number > Self::MAX { Err(SequenceError::TooLarge(number)) } else { Ok(Self(number)) }
    }

    pub fn get(self) -> u64 {
        self.0
    }

    /// The next number, `None` after the last one.
    pub fn next(self) -> Option<Self> {
        Self::new(self.0 + 1).ok()
    }
}

impl TryFrom<u64> for Sequence {
    type Error = SequenceError;

    fn try_from(number: u64) -> Result<Self, SequenceError> {
        Self::new(number)
    }
}

impl From<Sequence> for u64 {
    fn from(sequence: Sequence) -> Self {
        sequence.0
    }
}

impl FromStr for Sequence {
    type Err = SequenceError;

    fn from_str(text: &str) -> Result<Self, SequenceError> {
        let number = text.parse().map_err(|source| SequenceError::NotANumber { text: text.to_owned(), source })?;
        Self::new(number)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}
