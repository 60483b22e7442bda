//! Whatever the scan takes over of a query, the result is that of the query without it.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod support;

use std::sync::Arc;

use datafusion::arrow::{array::AsArray as _, datatypes::Int64Type};
use flaredb_core::{Answer, Command, Ingest, Migrate, MigrationSet, Phase, TableName, Value};
use flaredb_sql::{Engine, Limits, Snapshot, Statement, ddl, parse};
use holdfast_keyspace::Memory;
use proptest::{collection::vec, prelude::*};
use support::run;

const TABLE: &str = "CREATE TABLE t (a TEXT, b BIGINT, c INT, n BIGINT NOT NULL, PRIMARY KEY (a, b, c))";

/// Every combination of three texts, five numbers and three small ones; `n` counts them.
fn state() -> Memory {
    let mut state = Memory::new();
    let statements = ddl::parse(TABLE).unwrap();
    let (set, name, checksum, phase) = (MigrationSet::Operator, "t".to_owned(), [0; 32], Phase::Expand);
    run(&mut state, 1, Command::Migrate(Migrate { set, number: 1, name, checksum, phase, statements }));
    let mut rows = Vec::new();
    for a in ["", "k", "k\u{1}"] {
        for b in -2_i64..=2 {
            for c in 0..3 {
                let n = Value::Bigint(i64::try_from(rows.len()).unwrap());
                rows.push(vec![Value::Text(a.into()), Value::Bigint(b), Value::Int(c), n]);
            }
        }
    }
    let ingest = Ingest {
        stream: "s".into(),
        expected_cursor: None,
        next_cursor: "1".into(),
        table: TableName::new("public", "t"),
        columns: ["a", "b", "c", "n"].map(str::to_owned).to_vec(),
        rows,
    };
    assert_eq!(run(&mut state, 2, Command::Ingest(ingest)), Answer::Ingested { rows: 45 });
    state
}

fn numbers(engine: &Engine, state: &Memory, sql: &str) -> Vec<i64> {
    let Some(Statement::Read(statement)) = parse(sql).unwrap().pop() else { panic!("{sql}") };
    let snapshot: Snapshot = Arc::new(state.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let budget = engine.limits().budget;
        let mut rows = engine.query(snapshot, &statement, Box::new(|_| Ok(Vec::new())), budget).await.unwrap();
        let mut found = Vec::new();
        while let Some(batch) = rows.next().await {
            found.extend(batch.unwrap().column(0).as_primitive::<Int64Type>().values());
        }
        found
    })
}

/// A condition, and the same one in words that the scan does not understand.
fn condition() -> impl Strategy<Value = (String, String)> {
    let op = prop::sample::select(vec!["=", "<", "<=", ">", ">=", "<>"]);
    let text = prop::sample::select(vec!["''", "'k'", "'j'", "'z'"]);
    let number = -3_i64..=3;
    prop_oneof![
        (op.clone(), text).prop_map(|(op, v)| (format!("a {op} {v}"), format!("concat(a, '') {op} {v}"))),
        (op.clone(), number.clone()).prop_map(|(op, v)| (format!("b {op} {v}"), format!("b + n - n {op} {v}"))),
        (op.clone(), number.clone()).prop_map(|(op, v)| (format!("{v} {op} b"), format!("{v} {op} b + n - n"))),
        (op, number.clone()).prop_map(|(op, v)| (format!("c {op} {v}"), format!("c + n - n {op} {v}"))),
        (number.clone(), number).prop_map(|(low, high)| (
            format!("b BETWEEN {low} AND {high}"),
            format!("b + n - n BETWEEN {low} AND {high}")
        )),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn changes_nothing(
        conditions in vec(condition(), 1..6),
        order in prop::sample::select(vec!["a, b, c", "a DESC, b DESC, c DESC", "b, c, a", "b DESC, c DESC, a", "c DESC, a, b"]),
        limit in prop_oneof![Just(None), (0_usize..8).prop_map(Some)],
    ) {
        thread_local! {
            static WORLD: (Engine, Memory) = (Engine::new(Limits::default()).unwrap(), state());
        }
        WORLD.with(|(engine, state)| {
            let limit = limit.map_or(String::new(), |limit| format!(" LIMIT {limit}"));
            let sql = |all: Vec<&str>, order: &str| format!("SELECT n FROM t WHERE {} ORDER BY {order}{limit}", all.join(" AND "));
            let pushed = sql(conditions.iter().map(|(pushed, _)| pushed.as_str()).collect(), order);
            // Ordered by expressions too: nothing of it is the scan's.
            let hide = |term: &str| match term.split_once(' ').unwrap_or((term, "")) {
                ("a", direction) => format!("concat(a, '') {direction}"),
                (number, direction) => format!("({number} + n - n) {direction}"),
            };
            let hidden = order.split(", ").map(hide).collect::<Vec<_>>().join(", ");
            let plain = sql(conditions.iter().map(|(_, plain)| plain.as_str()).collect(), &hidden);
            prop_assert_eq!(numbers(engine, state, &pushed), numbers(engine, state, &plain), "{} / {}", pushed, plain);
            Ok(())
        })?;
    }
}

/// A row under a definition that has grown, read through the engine.
#[test]
fn added_columns_show_their_defaults() {
    let mut state = state();
    let statements =
        ddl::parse("ALTER TABLE t ADD COLUMN later BIGINT NOT NULL DEFAULT 7, ADD COLUMN never BIGINT").unwrap();
    let (set, name, checksum, phase) = (MigrationSet::Operator, "more".to_owned(), [1; 32], Phase::Expand);
    run(&mut state, 3, Command::Migrate(Migrate { set, number: 2, name, checksum, phase, statements }));
    let engine = Engine::new(Limits::default()).unwrap();
    assert_eq!(numbers(&engine, &state, "SELECT sum(later) FROM t"), [7 * 45]);
    assert_eq!(numbers(&engine, &state, "SELECT count(never) FROM t"), [0]);
}
