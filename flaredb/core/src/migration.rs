//! Numbered migrations: `NNNN_name.sql`, whose first line says the phase, and whose checksum may never change once the
//! migration is applied.

use serde::{Deserialize, Serialize};

use crate::{Refusal, SqlState};

const MAX_FILE_BYTES: usize = 1 << 20;
const DIGITS: usize = 4;

/// When a migration may run. Order is part of the stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Adds; old readers and writers go on.
    Expand,
    /// Fills what was added.
    Backfill,
    /// Takes away what nobody uses any more.
    Contract,
}

/// Whose migrations: each set counts its numbers from 1. Order is part of the stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MigrationSet {
    /// Carried by the release; owns the schema `audit`.
    Builtin,
    /// The operator's; may not touch what the release owns.
    Operator,
}

/// A migration file as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationFile {
    pub number: u32,
    pub name: String,
    pub phase: Phase,
    /// SHA-256 of the whole text.
    pub checksum: [u8; 32],
    pub sql: String,
}

/// An applied migration as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationRecord {
    pub set: MigrationSet,
    pub number: u32,
    pub name: String,
    pub phase: Phase,
    /// Hexadecimal SHA-256 of the file.
    pub checksum: String,
    pub applied_at_ms: u64,
    pub applied_by: String,
    /// Raft log index of the command.
    pub index: u64,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expand => "expand",
            Self::Backfill => "backfill",
            Self::Contract => "contract",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Expand, Self::Backfill, Self::Contract].into_iter().find(|phase| phase.as_str() == word)
    }
}

impl MigrationSet {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::Operator => "operator",
        }
    }

    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::Builtin => b'b',
            Self::Operator => b'o',
        }
    }
}

impl MigrationFile {
    /// Takes a file apart; its statements are parsed elsewhere.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Refusal> {
        let refuse = |message: String| {
            Refusal::new(SqlState::SyntaxError, message).hint(
                "A migration is called NNNN_name.sql, counted from 0001, and begins with the line `-- phase: expand`.",
            )
        };
        if text.len() > MAX_FILE_BYTES {
            let message = format!("a migration has at most {MAX_FILE_BYTES} bytes");
            return Err(Refusal::new(SqlState::ProgramLimitExceeded, message));
        }
        let (number, name) = file_name
            .strip_suffix(".sql")
            .and_then(|stem| stem.split_once('_'))
            .and_then(|(digits, name)| Some((parse_number(digits)?, name)))
            .filter(|(_, name)| valid_name(name))
            .ok_or_else(|| refuse(format!("\"{}\" is not the name of a migration", file_name.escape_debug())))?;
        let phase = text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("--"))
            .and_then(|line| line.trim().strip_prefix("phase:"))
            .and_then(|word| Phase::parse(word.trim()))
            .ok_or_else(|| refuse(format!("{file_name} has no phase line")))?;
        Ok(Self { number, name: name.to_owned(), phase, checksum: sha256(text), sql: text.to_owned() })
    }

    pub fn checksum_hex(&self) -> String {
        hex::encode(self.checksum)
    }
}

fn parse_number(digits: &str) -> Option<u32> {
    if digits.len() != DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|number| *number > 0)
}

fn valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 100
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn sha256(text: &str) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_file_apart() {
        let file =
            MigrationFile::parse("0012_add_rack.sql", "-- phase: expand\nALTER TABLE t ADD COLUMN c INT;\n").unwrap();
        assert_eq!((file.number, file.name.as_str(), file.phase), (12, "add_rack", Phase::Expand));
        assert_eq!(file.checksum_hex(), hex::encode(sha256(&file.sql)));
    }

    #[test]
    fn refuses_what_it_cannot_number_or_place() {
        for name in ["1_x.sql", "0000_x.sql", "0001x.sql", "0001_.sql", "0001_X.sql", "+001_x.sql", "0001_x.txt", ""] {
            assert!(MigrationFile::parse(name, "-- phase: expand\n").is_err(), "{name}");
        }
        for text in ["", "CREATE TABLE t (i INT PRIMARY KEY);", "-- phase: destroy\n", "\n-- phase: expand\n"] {
            assert!(MigrationFile::parse("0001_x.sql", text).is_err(), "{text}");
        }
    }
}
