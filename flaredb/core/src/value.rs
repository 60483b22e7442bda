use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ColumnType;

/// One SQL value. Order is part of the stored format: new kinds are appended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    Null,
    Boolean(bool),
    Int(i32),
    Bigint(i64),
    Double(f64),
    /// TEXT and JSONB.
    Text(String),
    Bytea(Vec<u8>),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamptz(i64),
    Uuid(Uuid),
}

/// A [`Value`] that borrows from the stored row; both have the same encoding.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub enum ValueRef<'a> {
    Null,
    Boolean(bool),
    Int(i32),
    Bigint(i64),
    Double(f64),
    Text(&'a str),
    Bytea(&'a [u8]),
    Timestamptz(i64),
    Uuid(Uuid),
}

/// Why a value does not fit its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    Type,
    /// TEXT cannot hold the character NUL.
    Nul,
    /// JSONB that is not JSON.
    Json,
}

impl Value {
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The same value, borrowed.
    pub fn borrow(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Boolean(value) => ValueRef::Boolean(*value),
            Self::Int(value) => ValueRef::Int(*value),
            Self::Bigint(value) => ValueRef::Bigint(*value),
            Self::Double(value) => ValueRef::Double(*value),
            Self::Text(value) => ValueRef::Text(value),
            Self::Bytea(value) => ValueRef::Bytea(value),
            Self::Timestamptz(value) => ValueRef::Timestamptz(*value),
            Self::Uuid(value) => ValueRef::Uuid(*value),
        }
    }

    /// Whether the value, if it is not NULL, may stand in a column of `kind`.
    pub(crate) fn fits(&self, kind: ColumnType) -> Result<(), Misfit> {
        match (kind, self) {
            (_, Self::Null)
            | (ColumnType::Boolean, Self::Boolean(_))
            | (ColumnType::Int, Self::Int(_))
            | (ColumnType::Bigint, Self::Bigint(_) | Self::Int(_))
            | (ColumnType::Double, Self::Double(_))
            | (ColumnType::Bytea, Self::Bytea(_))
            | (ColumnType::Timestamptz, Self::Timestamptz(_))
            | (ColumnType::Uuid, Self::Uuid(_)) => Ok(()),
            (ColumnType::Text, Self::Text(text)) if text.contains('\0') => Err(Misfit::Nul),
            (ColumnType::Text, Self::Text(_)) => Ok(()),
            (ColumnType::Jsonb, Self::Text(text)) => {
                serde_json::from_str::<serde::de::IgnoredAny>(text).map(|_| ()).map_err(|_| Misfit::Json)
            }
            _ => Err(Misfit::Type),
        }
    }
}
