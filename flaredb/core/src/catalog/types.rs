use serde::{Deserialize, Serialize};

/// The type of a column. Order is part of the stored format of commands, the words of the stored catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ColumnType {
    Boolean,
    Int,
    Bigint,
    Double,
    Text,
    Bytea,
    Timestamptz,
    Uuid,
    /// JSON, kept as its text.
    Jsonb,
}

impl ColumnType {
    pub const ALL: [Self; 9] = [
        Self::Boolean,
        Self::Int,
        Self::Bigint,
        Self::Double,
        Self::Text,
        Self::Bytea,
        Self::Timestamptz,
        Self::Uuid,
        Self::Jsonb,
    ];

    /// The type's name as SQL writes it.
    pub fn sql(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::Int => "INT",
            Self::Bigint => "BIGINT",
            Self::Double => "DOUBLE",
            Self::Text => "TEXT",
            Self::Bytea => "BYTEA",
            Self::Timestamptz => "TIMESTAMPTZ",
            Self::Uuid => "UUID",
            Self::Jsonb => "JSONB",
        }
    }

    /// Whether a primary key may contain the type: it must have one order and one spelling for equal values.
    pub fn in_key(self) -> bool {
        !matches!(self, Self::Jsonb)
    }
}

impl std::fmt::Display for ColumnType {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.sql())
    }
}
