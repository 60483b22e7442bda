//! Filters on the primary key as a range of keys.
//!
//! A filter is understood if it only compares key columns with constants. A key column is reached if all key columns
//! before it are fixed to one value. What is understood and reached is exactly in the range; what is understood only
//! is passed on too, because another filter may fix the columns before it later; everything else is the engine's.

use std::cmp::Ordering;

use datafusion::{
    logical_expr::{Between, BinaryExpr, Expr, Operator, TableProviderFilterPushDown},
    scalar::ScalarValue,
};
use flaredb_core::{
    Column, ColumnType, Table, Value,
    key::{self, Bound, Bounds},
};

/// `column op value`, where the value is one of the column's type.
struct Comparison {
    /// Place of the key column in the key.
    key: usize,
    op: Operator,
    value: Value,
}

/// How much of each filter the range takes over, if all of them are given.
pub(crate) fn support(table: &Table, filters: &[&Expr]) -> Vec<TableProviderFilterPushDown> {
    let understood: Vec<_> = filters.iter().map(|filter| understand(table, filter)).collect();
    let reached = bounds(table, &understood.iter().flatten().flatten().collect::<Vec<_>>()).equal.len();
    let support = |comparisons: &Option<Vec<Comparison>>| match comparisons {
        Some(all) if all.iter().all(|comparison| comparison.key <= reached) => TableProviderFilterPushDown::Exact,
        Some(_) => TableProviderFilterPushDown::Inexact,
        None => TableProviderFilterPushDown::Unsupported,
    };
    understood.iter().map(support).collect()
}

/// The part of `table` that satisfies everything in `filters` that [`support`] takes over.
pub(crate) fn of(table: &Table, filters: &[Expr]) -> Bounds {
    let understood: Vec<_> = filters.iter().filter_map(|filter| understand(table, filter)).flatten().collect();
    bounds(table, &understood.iter().collect::<Vec<_>>())
}

/// The intersection of all comparisons, as far as columns are reached. More comparisons only make it smaller, which
/// the engine relies on: it may ask about some filters first and about others later.
fn bounds(table: &Table, comparisons: &[&Comparison]) -> Bounds {
    let mut bounds = Bounds::default();
    for (at, (_, column)) in table.key_columns().enumerate() {
        let mut interval = Interval { kind: column.kind, lower: None, upper: None };
        for comparison in comparisons.iter().filter(|comparison| comparison.key == at) {
            interval.narrow(comparison.op, &comparison.value);
        }
        match interval.single() {
            Some(value) => bounds.equal.push(value),
            None => {
                (bounds.lower, bounds.upper) = (interval.lower, interval.upper);
                break;
            }
        }
    }
    bounds
}

struct Interval {
    kind: ColumnType,
    lower: Option<Bound>,
    upper: Option<Bound>,
}

impl Interval {
    fn narrow(&mut self, op: Operator, value: &Value) {
        let bound = |inclusive| Bound { value: value.clone(), inclusive };
        match op {
            Operator::Eq => {
                self.narrow(Operator::GtEq, value);
                self.narrow(Operator::LtEq, value);
            }
            Operator::Gt | Operator::GtEq => {
                tighten(&mut self.lower, bound(op == Operator::GtEq), self.kind, Ordering::Greater);
            }
            Operator::Lt | Operator::LtEq => {
                tighten(&mut self.upper, bound(op == Operator::LtEq), self.kind, Ordering::Less);
            }
            // `understand` lets no other operator pass.
            _ => {}
        }
    }

    /// The only value inside, if it is fixed.
    fn single(&self) -> Option<Value> {
        let (lower, upper) = (self.lower.as_ref()?, self.upper.as_ref()?);
        let one = lower.inclusive
            && upper.inclusive
            && key::compare(self.kind, &lower.value, &upper.value) == Some(Ordering::Equal);
        one.then(|| lower.value.clone())
    }
}

/// Replaces `current` by `new` if that leaves less: if it is on the `tighter` side, or excludes the same value.
fn tighten(current: &mut Option<Bound>, new: Bound, kind: ColumnType, tighter: Ordering) {
    let replace = match current {
        None => true,
        Some(current) => match key::compare(kind, &new.value, &current.value) {
            Some(Ordering::Equal) => !new.inclusive,
            order => order == Some(tighter),
        },
    };
    if replace {
        *current = Some(new);
    }
}

/// All comparisons that the filter demands together, if it is nothing but comparisons of key columns with constants.
fn understand(table: &Table, filter: &Expr) -> Option<Vec<Comparison>> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            let mut both = understand(table, left)?;
            both.extend(understand(table, right)?);
            Some(both)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (left.as_ref(), right.as_ref()) {
            (Expr::Column(column), Expr::Literal(value, _)) => Some(vec![compare(table, &column.name, *op, value)?]),
            (Expr::Literal(value, _), Expr::Column(column)) => {
                Some(vec![compare(table, &column.name, op.swap()?, value)?])
            }
            _ => None,
        },
        Expr::Between(Between { expr, negated: false, low, high }) => {
            let (Expr::Column(column), Expr::Literal(low, _), Expr::Literal(high, _)) =
                (expr.as_ref(), low.as_ref(), high.as_ref())
            else {
                return None;
            };
            let lower = compare(table, &column.name, Operator::GtEq, low)?;
            Some(vec![lower, compare(table, &column.name, Operator::LtEq, high)?])
        }
        _ => None,
    }
}

fn compare(table: &Table, name: &str, op: Operator, scalar: &ScalarValue) -> Option<Comparison> {
    let known = matches!(op, Operator::Eq | Operator::Gt | Operator::GtEq | Operator::Lt | Operator::LtEq);
    let is_named = |(_, (_, column)): &(usize, (usize, &Column))| column.name == name;
    let (key, (_, column)) = table.key_columns().enumerate().find(is_named).filter(|_| known)?;
    Some(Comparison { key, op, value: value(scalar, column.kind)? })
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
