use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Refusal, SqlState};

/// PostgreSQL's limit; longer names are refused rather than cut.
pub const MAX_NAME_BYTES: usize = 63;

/// A table's full name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableName {
    pub schema: String,
    pub name: String,
}

impl TableName {
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }

    pub(crate) fn check(&self) -> Result<(), Refusal> {
        check_name(&self.schema)?;
        check_name(&self.name)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.schema, self.name)
    }
}

/// Names of schemas, tables and columns: what PostgreSQL's quoted identifiers allow, without control characters.
pub(crate) fn check_name(name: &str) -> Result<(), Refusal> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        let shown: String = name.chars().take(MAX_NAME_BYTES).collect();
        let message = format!("a name must have 1 to {MAX_NAME_BYTES} bytes: \"{shown}\"");
        return Err(Refusal::new(SqlState::InvalidName, message));
    }
    if name.chars().any(char::is_control) {
        return Err(Refusal::new(SqlState::InvalidName, "a name must not contain control characters"));
    }
    Ok(())
}
