//! Keys sort as their values do, come back as they went in, and ranges of keys hold exactly the rows that they should.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use flaredb_core::{
    ColumnType, Table, TableName, Value,
    catalog::{Column, SchemaVersion, TableId},
    key::{self, Bound, Bounds},
};
use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

const KINDS: [ColumnType; 8] = [
    ColumnType::Boolean,
    ColumnType::Int,
    ColumnType::Bigint,
    ColumnType::Double,
    ColumnType::Text,
    ColumnType::Bytea,
    ColumnType::Timestamptz,
    ColumnType::Uuid,
];

fn table(kinds: &[ColumnType]) -> Table {
    let column = |(at, kind): (usize, &ColumnType)| Column {
        name: format!("c{at}"),
        kind: *kind,
        nullable: false,
        default: None,
        since: SchemaVersion(1),
    };
    Table {
        id: TableId(7),
        name: TableName::new("public", "t"),
        version: SchemaVersion(1),
        columns: kinds.iter().enumerate().map(column).collect(),
        primary_key: (0..kinds.len() as u16).collect(),
    }
}

/// Values that make escapes and signs meet.
fn value(kind: ColumnType) -> BoxedStrategy<Value> {
    match kind {
        ColumnType::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
        ColumnType::Int => any::<i32>().prop_map(Value::Int).boxed(),
        ColumnType::Bigint => any::<i64>().prop_map(Value::Bigint).boxed(),
        ColumnType::Timestamptz => any::<i64>().prop_map(Value::Timestamptz).boxed(),
        ColumnType::Double => {
            any::<f64>().prop_filter("NaN has its own test", |v| !v.is_nan()).prop_map(Value::Double).boxed()
        }
        ColumnType::Text => "[\u{1}ab\u{ff}é]{0,4}".prop_map(Value::Text).boxed(),
        ColumnType::Bytea => {
            vec(prop_oneof![Just(0u8), Just(1), Just(0xff), any::<u8>()], 0..5).prop_map(Value::Bytea).boxed()
        }
        ColumnType::Uuid | ColumnType::Jsonb => any::<u128>().prop_map(|v| Value::Uuid(Uuid::from_u128(v))).boxed(),
    }
}

fn compare(a: &[Value], b: &[Value]) -> std::cmp::Ordering {
    use std::cmp::Ordering::Equal;
    let one = |(a, b): (&Value, &Value)| match (a, b) {
        (Value::Boolean(a), Value::Boolean(b)) => a.cmp(b),
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Bigint(a), Value::Bigint(b)) | (Value::Timestamptz(a), Value::Timestamptz(b)) => a.cmp(b),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b).unwrap(),
        (Value::Text(a), Value::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Value::Bytea(a), Value::Bytea(b)) => a.cmp(b),
        (Value::Uuid(a), Value::Uuid(b)) => a.as_bytes().cmp(b.as_bytes()),
        other => panic!("{other:?}"),
    };
    a.iter().zip(b).map(one).find(|order| *order != Equal).unwrap_or(Equal)
}

/// Two rows of the same one to three key columns.
fn rows() -> impl Strategy<Value = (Vec<ColumnType>, Vec<Value>, Vec<Value>)> {
    vec(prop::sample::select(KINDS.to_vec()), 1..4).prop_flat_map(|kinds| {
        let row: Vec<_> = kinds.iter().map(|kind| value(*kind)).collect();
        (Just(kinds), row.clone(), row)
    })
}

proptest! {
    #[test]
    fn bytes_sort_as_values((kinds, a, b) in rows()) {
        let table = table(&kinds);
        let (ka, kb) = (key::encode(&table, &a).unwrap(), key::encode(&table, &b).unwrap());
        prop_assert_eq!(ka.cmp(&kb), compare(&a, &b));
        prop_assert_eq!(compare(&key::decode(&table, &ka).unwrap(), &a), std::cmp::Ordering::Equal);
    }

    #[test]
    fn ranges_hold_what_they_should((kinds, row, edge) in rows(), inclusive: bool, fixed in 0usize..3) {
        let table = table(&kinds);
        let fixed = fixed.min(kinds.len() - 1);
        let stored = key::encode(&table, &row).unwrap();
        let same_start = compare(&row[..fixed], &edge[..fixed]).is_eq();
        let order = compare(&row[fixed..=fixed], &edge[fixed..=fixed]);
        let bound = Some(Bound { value: edge[fixed].clone(), inclusive });
        let equal = edge[..fixed].to_vec();
        let lower = key::range(&table, &Bounds { equal: equal.clone(), lower: bound.clone(), upper: None }).unwrap();
        let upper = key::range(&table, &Bounds { equal, lower: None, upper: bound }).unwrap();
        prop_assert_eq!(lower.contains(&stored), same_start && (order.is_gt() || inclusive && order.is_eq()));
        prop_assert_eq!(upper.contains(&stored), same_start && (order.is_lt() || inclusive && order.is_eq()));
    }

    #[test]
    fn garbage_never_panics(kinds in vec(prop::sample::select(KINDS.to_vec()), 1..4), bytes: Vec<u8>) {
        let table = table(&kinds);
        let _ = key::decode(&table, &bytes);
        let _ = key::decode(&table, &[key::prefix(table.id), bytes].concat());
    }
}

#[test]
fn doubles_at_the_edges() {
    let table = table(&[ColumnType::Double]);
    let encoded: Vec<_> =
        [f64::NEG_INFINITY, -1.0, -f64::MIN_POSITIVE, 0.0, f64::MIN_POSITIVE, 1.0, f64::INFINITY, f64::NAN]
            .into_iter()
            .map(|value| key::encode(&table, &[Value::Double(value)]).unwrap())
            .collect();
    assert!(encoded.is_sorted());
    assert_eq!(key::encode(&table, &[Value::Double(-0.0)]), key::encode(&table, &[Value::Double(0.0)]));
    assert_eq!(key::encode(&table, &[Value::Double(-f64::NAN)]).as_ref(), encoded.last());
}

#[test]
fn a_missing_or_foreign_value_has_no_key() {
    let table = table(&[ColumnType::Int, ColumnType::Text]);
    assert_eq!(key::encode(&table, &[Value::Int(1)]), None);
    assert_eq!(key::encode(&table, &[Value::Int(1), Value::Null]), None);
    assert_eq!(key::encode(&table, &[Value::Bigint(1), Value::Text("a".into())]), None);
}
