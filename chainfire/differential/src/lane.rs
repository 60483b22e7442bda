use std::{fmt, str::FromStr};

use anyhow::{Error, bail};

/// A release of etcd that chainfire is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// The reference: `chainfire/reference` builds it.
    V3_6,
    /// Debian's 3.4.23.
    V3_4,
}

impl Lane {
    pub(crate) const ALL: &'static [Self] = &[Self::V3_6, Self::V3_4];

    /// The name under which `cargo xtask` installs it.
    pub fn program(self) -> &'static str {
        match self {
            Self::V3_6 => "etcd-3.6",
            Self::V3_4 => "etcd-3.4",
        }
    }

    /// What makes chainfire show itself as this release.
    pub(crate) fn flags(self) -> &'static [&'static str] {
        match self {
            Self::V3_6 => &[],
            Self::V3_4 => &["--emulate-version=3.4.23"],
        }
    }

    /// Whether HashKV does not depend on how far a compaction is; see [`crate::allowed::LEFT_OUT`].
    pub(crate) fn hashes_while_it_compacts(self) -> bool {
        match self {
            Self::V3_6 => true,
            Self::V3_4 => false,
        }
    }

    /// Whether it refuses what it cannot make sense of; see [`crate::allowed::LEFT_OUT`].
    pub(crate) fn refuses_nonsense(self) -> bool {
        match self {
            Self::V3_6 => true,
            Self::V3_4 => false,
        }
    }
}

impl FromStr for Lane {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "3.6" => Ok(Self::V3_6),
            "3.4" => Ok(Self::V3_4),
            other => bail!("{other}: the references are 3.6 and 3.4"),
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.program())
    }
}
