use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::ArtifactError;

/// `major.minor`. Envelope and payload count separately. A reader accepts its own major up to its own minor; a writer
/// stamps the lowest minor that has everything it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SchemaVersion {
    pub major: u16,
    pub minor: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a schema version; expected MAJOR.MINOR")]
pub struct SchemaVersionError(String);

impl SchemaVersion {
    pub const V1_0: Self = Self { major: 1, minor: 0 };
    /// Payloads: `probes`, `sync.hold`. Envelopes: `expires_at`.
    pub const V1_1: Self = Self { major: 1, minor: 1 };
    /// Payloads: `drift`.
    pub const V1_2: Self = Self { major: 1, minor: 2 };
    /// The newest envelope that this release reads.
    pub const ENVELOPE: Self = Self::V1_1;
    /// The newest payload that this release reads.
    pub const PAYLOAD: Self = Self::V1_2;

    /// Fails closed: what a newer release wrote may mean something that this one does not know.
    pub(crate) fn check(self, part: &'static str, supported: Self) -> Result<(), ArtifactError> {
        if self.major == supported.major && self.minor <= supported.minor {
            Ok(())
        } else {
            Err(ArtifactError::Schema { part, found: self, supported })
        }
    }
}

impl FromStr for SchemaVersion {
    type Err = SchemaVersionError;

    fn from_str(text: &str) -> Result<Self, SchemaVersionError> {
        let failed = || SchemaVersionError(text.chars().take(20).collect());
        let (major, minor) = text.split_once('.').ok_or_else(failed)?;
        let version = Self { major: major.parse().map_err(|_| failed())?, minor: minor.parse().map_err(|_| failed())? };
        // Refuses "01.0" and "+1.0": one spelling.
        if version.to_string() == text { Ok(version) } else { Err(failed()) }
    }
}

impl TryFrom<String> for SchemaVersion {
    type Error = SchemaVersionError;

    fn try_from(text: String) -> Result<Self, SchemaVersionError> {
        text.parse()
    }
}

impl From<SchemaVersion> for String {
    fn from(version: SchemaVersion) -> Self {
        version.to_string()
    }
}

impl fmt::Display for SchemaVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_is_refused() {
        let ours = SchemaVersion { major: 1, minor: 2 };
        for (text, accepted) in [("1.0", true), ("1.2", true), ("1.3", false), ("2.0", false), ("0.9", false)] {
            let found: SchemaVersion = text.parse().unwrap();
            assert_eq!(found.check("payload", ours).is_ok(), accepted, "{text}");
        }
        for text in ["1", "1.0.0", "01.0", "+1.0", "a.b", ""] {
            assert!(text.parse::<SchemaVersion>().is_err(), "{text}");
        }
    }
}
