use std::{fmt, str::FromStr};

use anyhow::{Error, Result, bail};
use serde::Serialize;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A server that answers at once and keeps nothing: the ceiling of the client and the RPC layer.
    Nothing,
    /// The reference, etcd 3.6.
    Etcd,
    /// `holdfast chainfire`, with etcd's own flags and nothing else.
    DropIn,
    /// `holdfast serve`: TLS, IAM and audit.
    Suite,
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "drop-in" => Ok(Self::DropIn),
            "suite" => Ok(Self::Suite),
            other => bail!("{other}: chainfire runs as drop-in or as suite"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Nothing => "nothing",
            Self::Etcd => "etcd",
            Self::DropIn => "drop-in",
            Self::Suite => "suite",
        })
    }
}
