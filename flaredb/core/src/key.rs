//! Order-preserving keys: table id, then the primary key's values, so that the order of bytes is the order of rows.
//!
//! | type | bytes |
//! |---|---|
//! | BOOLEAN | 0 or 1 |
//! | INT, BIGINT, TIMESTAMPTZ | big-endian with the sign bit flipped |
//! | DOUBLE | IEEE bits; sign flipped for positive, all flipped for negative numbers; -0 is 0, NaN sorts last |
//! | TEXT, BYTEA | bytes with 00 written as 00 FF, ended by 00 01 |
//! | UUID | 16 bytes |
//!
//! Every encoding is prefix-free, so a range over the first columns of a key is a range of bytes.

use std::cmp::Ordering;

use holdfast_keyspace::KeyRange;
use uuid::Uuid;

use crate::{ColumnType, Damage, Table, Value, catalog::TableId};

const WHAT: &str = "a row's key";
const ESCAPE: u8 = 0x00;
const ESCAPED_ZERO: u8 = 0xff;
const END: u8 = 0x01;

/// A part of a table: the first columns of the key are fixed, the next one may be bounded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bounds {
    /// Values of the first columns of the primary key.
    pub equal: Vec<Value>,
    /// Bounds of the column after them.
    pub lower: Option<Bound>,
    pub upper: Option<Bound>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    pub value: Value,
    pub inclusive: bool,
}

/// The prefix of all keys of a table.
pub fn prefix(table: TableId) -> Vec<u8> {
    table.0.to_be_bytes().to_vec()
}

/// The key of a row with `values` in column order; `None` if a key column has no value of its type.
pub fn encode(table: &Table, values: &[Value]) -> Option<Vec<u8>> {
    let mut key = prefix(table.id);
    for (place, column) in table.key_columns() {
        put(&mut key, column.kind, values.get(place)?)?;
    }
    Some(key)
}

/// The values of the primary key, in key order.
pub fn decode(table: &Table, key: &[u8]) -> Result<Vec<Value>, Damage> {
    let Some(mut rest) = key.strip_prefix(table.id.0.to_be_bytes().as_slice()) else {
        return Err(Damage::content(WHAT, "it belongs to another table"));
    };
    let mut values = Vec::with_capacity(table.primary_key.len());
    for (_, column) in table.key_columns() {
        let value = take(&mut rest, column.kind).ok_or_else(|| {
            Damage::content(WHAT, format!("column {} of {} does not decode", column.name, table.name))
        })?;
        values.push(value);
    }
    if rest.is_empty() { Ok(values) } else { Err(Damage::content(WHAT, "bytes follow the last column")) }
}

/// All keys inside `bounds`; `None` if a bound is not a value of its column, and then nothing is known.
pub fn range(table: &Table, bounds: &Bounds) -> Option<KeyRange> {
    let mut columns = table.key_columns();
    let mut fixed = prefix(table.id);
    for value in &bounds.equal {
        put(&mut fixed, columns.next()?.1.kind, value)?;
    }
    let whole = KeyRange::prefix(fixed.clone());
    if bounds.lower.is_none() && bounds.upper.is_none() {
        return Some(whole);
    }
    let kind = columns.next()?.1.kind;
    let edge = |bound: &Bound| {
        let mut key = fixed.clone();
        put(&mut key, kind, &bound.value).map(|()| key)
    };
    let start = match &bounds.lower {
        Some(bound) if bound.inclusive => edge(bound)?,
        // No key is greater than every key with this prefix: nothing is inside.
        Some(bound) => match KeyRange::after_prefix(&edge(bound)?) {
            Some(start) => start,
            None => return Some(KeyRange::between(fixed.clone(), fixed)),
        },
        None => whole.start,
    };
    let end = match &bounds.upper {
        Some(bound) if bound.inclusive => KeyRange::after_prefix(&edge(bound)?),
        Some(bound) => Some(edge(bound)?),
        None => whole.end,
    };
    Some(KeyRange { start, end })
}

/// How two values of a key column sort; `None` if one of them is not a value of its type.
pub fn compare(kind: ColumnType, a: &Value, b: &Value) -> Option<Ordering> {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    put(&mut left, kind, a)?;
    put(&mut right, kind, b)?;
    Some(left.cmp(&right))
}

fn put(out: &mut Vec<u8>, kind: ColumnType, value: &Value) -> Option<()> {
    match (kind, value) {
        (ColumnType::Boolean, Value::Boolean(value)) => out.push(u8::from(*value)),
        (ColumnType::Int, Value::Int(value)) => out.extend((value.cast_unsigned() ^ (1 << 31)).to_be_bytes()),
        (ColumnType::Bigint, Value::Int(value)) => put_i64(out, i64::from(*value)),
        (ColumnType::Bigint, Value::Bigint(value)) | (ColumnType::Timestamptz, Value::Timestamptz(value)) => {
            put_i64(out, *value);
        }
        (ColumnType::Double, Value::Double(value)) => out.extend(ordered_bits(*value).to_be_bytes()),
        (ColumnType::Text, Value::Text(value)) => put_bytes(out, value.as_bytes()),
        (ColumnType::Bytea, Value::Bytea(value)) => put_bytes(out, value),
        (ColumnType::Uuid, Value::Uuid(value)) => out.extend(value.as_bytes()),
        _ => return None,
    }
    Some(())
}

fn take(rest: &mut &[u8], kind: ColumnType) -> Option<Value> {
    Some(match kind {
        ColumnType::Boolean => match take_array::<1>(rest)? {
            [0] => Value::Boolean(false),
            [1] => Value::Boolean(true),
            _ => return None,
        },
        ColumnType::Int => Value::Int((u32::from_be_bytes(take_array(rest)?) ^ (1 << 31)).cast_signed()),
        ColumnType::Bigint => Value::Bigint(take_i64(rest)?),
        ColumnType::Timestamptz => Value::Timestamptz(take_i64(rest)?),
        ColumnType::Double => Value::Double(from_ordered_bits(u64::from_be_bytes(take_array(rest)?))),
        ColumnType::Text => Value::Text(String::from_utf8(take_bytes(rest)?).ok()?),
        ColumnType::Bytea => Value::Bytea(take_bytes(rest)?),
        ColumnType::Uuid => Value::Uuid(Uuid::from_bytes(take_array(rest)?)),
        ColumnType::Jsonb => return None,
    })
}

fn put_i64(out: &mut Vec<u8>, value: i64) {
    out.extend((value.cast_unsigned() ^ (1 << 63)).to_be_bytes());
}

fn take_i64(rest: &mut &[u8]) -> Option<i64> {
    Some((u64::from_be_bytes(take_array(rest)?) ^ (1 << 63)).cast_signed())
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn ordered_bits(value: f64) -> u64 {
    let canonical = if value.is_nan() {
        f64::NAN.abs()
    } else if value == 0.0 {
        0.0
    } else {
        value
    };
    let bits = canonical.to_bits();
    if bits >> 63 == 0 { bits ^ (1 << 63) } else { !bits }
}

fn from_ordered_bits(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 1 { bits ^ (1 << 63) } else { !bits })
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        out.push(*byte);
        if *byte == ESCAPE {
            out.push(ESCAPED_ZERO);
        }
    }
    out.extend([ESCAPE, END]);
}

fn take_bytes(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let at = rest.iter().position(|byte| *byte == ESCAPE)?;
        let (plain, tail) = rest.split_at_checked(at)?;
        out.extend_from_slice(plain);
        let ([_, mark], tail) = tail.split_first_chunk::<2>()?;
        *rest = tail;
        match *mark {
            END => return Some(out),
            ESCAPED_ZERO => out.push(0),
            _ => return None,
        }
    }
}
