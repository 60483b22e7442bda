//! Filters on the primary key as a range of keys. What is not understood only makes the range wider: the engine
//! checks every filter again.

use datafusion::{
    logical_expr::{Between, BinaryExpr, Expr, Operator},
    scalar::ScalarValue,
};
use flaredb_core::{
    ColumnType, Table, Value,
    key::{Bound, Bounds},
};

/// `column op value`.
struct Comparison<'a> {
    column: &'a str,
    op: Operator,
    value: &'a ScalarValue,
}

/// Whether `filter` can narrow a scan of `table`.
pub(crate) fn narrows(table: &Table, filter: &Expr) -> bool {
    let mut found = false;
    for_each(filter, &mut |comparison| {
        let column = table.key_columns().find(|(_, column)| column.name == comparison.column);
        found |= column.is_some_and(|(_, column)| value(comparison.value, column.kind).is_some());
    });
    found
}

/// The part of `table` outside which no row satisfies all `filters`.
pub(crate) fn of(table: &Table, filters: &[Expr]) -> Bounds {
    let mut bounds = Bounds::default();
    for (_, column) in table.key_columns() {
        let (mut equal, mut lower, mut upper) = (None, None, None);
        for filter in filters {
            for_each(filter, &mut |comparison| {
                let Some(value) = value(comparison.value, column.kind).filter(|_| comparison.column == column.name)
                else {
                    return;
                };
                match comparison.op {
                    Operator::Eq => equal = Some(value),
                    Operator::Gt => lower = Some(Bound { value, inclusive: false }),
                    Operator::GtEq => lower = Some(Bound { value, inclusive: true }),
                    Operator::Lt => upper = Some(Bound { value, inclusive: false }),
                    Operator::LtEq => upper = Some(Bound { value, inclusive: true }),
                    _ => {}
                }
            });
        }
        match equal {
            Some(value) => bounds.equal.push(value),
            None => {
                (bounds.lower, bounds.upper) = (lower, upper);
                break;
            }
        }
    }
    bounds
}

/// Every comparison of a column with a constant that `filter` demands.
fn for_each<'a>(filter: &'a Expr, found: &mut dyn FnMut(Comparison<'a>)) {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            for_each(left, found);
            for_each(right, found);
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (left.as_ref(), right.as_ref()) {
            (Expr::Column(column), Expr::Literal(value, _)) => {
                found(Comparison { column: &column.name, op: *op, value });
            }
            (Expr::Literal(value, _), Expr::Column(column)) => {
                if let Some(op) = op.swap() {
                    found(Comparison { column: &column.name, op, value });
                }
            }
            _ => {}
        },
        Expr::Between(Between { expr, negated: false, low, high }) => {
            if let (Expr::Column(column), Expr::Literal(low, _), Expr::Literal(high, _)) =
                (expr.as_ref(), low.as_ref(), high.as_ref())
            {
                found(Comparison { column: &column.name, op: Operator::GtEq, value: low });
                found(Comparison { column: &column.name, op: Operator::LtEq, value: high });
            }
        }
        _ => {}
    }
}

/// A constant as a value of a key column; none if it is NULL or of another type.
fn value(scalar: &ScalarValue, kind: ColumnType) -> Option<Value> {
    Some(match (kind, scalar) {
        (ColumnType::Boolean, ScalarValue::Boolean(Some(value))) => Value::Boolean(*value),
        (ColumnType::Int, ScalarValue::Int32(Some(value))) => Value::Int(*value),
        (ColumnType::Bigint, ScalarValue::Int64(Some(value))) => Value::Bigint(*value),
        (ColumnType::Double, ScalarValue::Float64(Some(value))) => Value::Double(*value),
        (ColumnType::Text, ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text))) => {
            Value::Text(text.clone())
        }
        (ColumnType::Bytea, ScalarValue::Binary(Some(bytes))) => Value::Bytea(bytes.clone()),
        (ColumnType::Timestamptz, ScalarValue::TimestampMicrosecond(Some(value), Some(_))) => {
            Value::Timestamptz(*value)
        }
        // Only the canonical spelling: another one is equal to no stored text, and the engine decides that.
        (ColumnType::Uuid, ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text))) => {
            let parsed = uuid::Uuid::try_parse(text).ok()?;
            Value::Uuid(Some(parsed).filter(|parsed| parsed.to_string() == *text)?)
        }
        _ => return None,
    })
}
