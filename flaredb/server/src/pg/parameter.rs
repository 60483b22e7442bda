//! Bound parameters as values.

use bytes::Bytes;
use datafusion::{arrow::datatypes::DataType, scalar::ScalarValue};
use flaredb_core::SqlState;
use flaredb_sql::{Error, parameter_from_text};
use pgwire::api::{
    Type,
    portal::{Format, Portal},
    results::FieldFormat,
};

use super::{
    encode::{EPOCH_MICROS, format_of, wire_type},
    session::Prepared,
};

/// The wire type of a parameter that the query needs as `kind`.
pub(super) fn wanted_type(kind: Option<&DataType>) -> Type {
    let Some(kind) = kind else { return Type::TEXT };
    match kind {
        DataType::Int8 | DataType::Int16 => Type::INT2,
        DataType::Float16 | DataType::Float32 => Type::FLOAT4,
        other => wire_type(flaredb_sql::sql_type(other)),
    }
}

/// What a client has bound.
pub(super) struct Bound {
    values: Vec<Option<Bytes>>,
    format: Format,
    /// The types that the client named when it prepared the statement.
    named: Vec<Option<Type>>,
}

impl Bound {
    pub(super) fn of(portal: &Portal<Prepared>) -> Self {
        Self {
            values: portal.parameters.clone(),
            format: portal.parameter_format.clone(),
            named: portal.statement.parameter_types.clone(),
        }
    }

    /// The values, for parameters that the query needs as `wanted`.
    pub(super) fn values(self, wanted: &[Option<DataType>]) -> Result<Vec<ScalarValue>, Error> {
        let value = |(at, bytes): (usize, &Option<Bytes>)| {
            let Some(bytes) = bytes else { return Ok(ScalarValue::Null) };
            let kind = wanted.get(at).and_then(Option::as_ref);
            match format_of(&self.format, at) {
                FieldFormat::Text => {
                    let text = std::str::from_utf8(bytes).map_err(|_| bad(at, "TEXT"))?;
                    parameter_from_text(Some(text.to_owned()), kind)
                }
                FieldFormat::Binary => {
                    let named = self.named.get(at).cloned().flatten().filter(|kind| *kind != Type::UNKNOWN);
                    binary(at, bytes, &named.unwrap_or_else(|| wanted_type(kind)))
                }
            }
        };
        self.values.iter().enumerate().map(value).collect()
    }
}

fn binary(at: usize, bytes: &[u8], kind: &Type) -> Result<ScalarValue, Error> {
    let wrong = || bad(at, kind.name());
    let text = || std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| bad(at, kind.name()));
    Ok(match *kind {
        Type::BOOL => match bytes {
            [0] => ScalarValue::Boolean(Some(false)),
            [1] => ScalarValue::Boolean(Some(true)),
            _ => return Err(wrong()),
        },
        Type::INT2 => ScalarValue::Int16(Some(i16::from_be_bytes(bytes.try_into().map_err(|_| wrong())?))),
        Type::INT4 => ScalarValue::Int32(Some(i32::from_be_bytes(bytes.try_into().map_err(|_| wrong())?))),
        Type::INT8 => ScalarValue::Int64(Some(i64::from_be_bytes(bytes.try_into().map_err(|_| wrong())?))),
        Type::FLOAT4 => ScalarValue::Float32(Some(f32::from_be_bytes(bytes.try_into().map_err(|_| wrong())?))),
        Type::FLOAT8 => ScalarValue::Float64(Some(f64::from_be_bytes(bytes.try_into().map_err(|_| wrong())?))),
        Type::BYTEA => ScalarValue::Binary(Some(bytes.to_vec())),
        Type::UUID => {
            let uuid = uuid::Uuid::from_slice(bytes).map_err(|_| wrong())?;
            ScalarValue::Utf8(Some(uuid.to_string()))
        }
        Type::TIMESTAMPTZ | Type::TIMESTAMP => {
            let micros = i64::from_be_bytes(bytes.try_into().map_err(|_| wrong())?);
            let micros = micros.checked_add(EPOCH_MICROS).ok_or_else(wrong)?;
            ScalarValue::TimestampMicrosecond(Some(micros), Some("+00:00".into()))
        }
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => ScalarValue::Utf8(Some(text()?)),
        _ => {
            let message = format!("binary parameters of type {} are not supported", kind.name());
            return Err(Error::new(SqlState::FeatureNotSupported, message).hint("Send the parameter as text."));
        }
    })
}

fn bad(at: usize, kind: &str) -> Error {
    let message = format!("parameter ${} is not a value of type {kind}", at + 1);
    Error::new(SqlState::InvalidTextRepresentation, message)
}
