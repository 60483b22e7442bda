//! Queries over tables in memory, through the same code that runs on RocksDB.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod support;

use std::{sync::Arc, time::Duration};

use arrow::util::pretty::pretty_format_batches;
use datafusion::scalar::ScalarValue;
use flaredb_core::{Answer, Command, Ingest, Migrate, MigrationSet, Phase, SqlState, TableName, Value};
use flaredb_sql::{Budget, Engine, Error, Limits, Snapshot, Statement, ddl, parse};
use holdfast_keyspace::Memory;

const EVENTS: &str = include_str!("../../server/migrations/0001_audit_events.sql");

struct Db {
    state: Memory,
    index: u64,
}

impl Db {
    fn new() -> Self {
        let mut db = Self { state: Memory::new(), index: 0 };
        let statements = ddl::parse(EVENTS).unwrap();
        let migrate = Migrate {
            set: MigrationSet::Builtin,
            number: 1,
            name: "audit_events".into(),
            checksum: [1; 32],
            phase: Phase::Expand,
            statements,
        };
        assert_eq!(db.run(Command::Migrate(migrate)), Answer::Migrated { number: 1, already: false });
        db
    }

    /// `streams` streams of `each` events.
    fn with_events(streams: u32, each: i64) -> Self {
        let mut db = Self::new();
        let columns = [
            "stream",
            "sequence",
            "sub",
            "event_id",
            "lineage",
            "time",
            "actor",
            "authenticated_by",
            "action",
            "resource",
            "outcome",
            "request_id",
            "after_digest",
            "service",
        ];
        for stream in 0..streams {
            let row = |n: i64| {
                let text = |text: String| Value::Text(text);
                vec![
                    text(format!("journal/{stream}")),
                    Value::Bigint(n),
                    Value::Int(0),
                    text(format!("{stream}/{n}")),
                    Value::Uuid(uuid::Uuid::from_u128(u128::from(stream))),
                    Value::Timestamptz(1_700_000_000_000_000 + n * 1_000_000),
                    text(format!("user/{}", n % 3)),
                    text("token".into()),
                    text("kv.Put".into()),
                    text(format!("key/{n}")),
                    text("done".into()),
                    text(format!("r{n}")),
                    if n % 2 == 0 { Value::Bytea(vec![n as u8]) } else { Value::Null },
                    text("kv".into()),
                ]
            };
            let ingest = Ingest {
                stream: format!("journal/{stream}"),
                expected_cursor: None,
                next_cursor: each.to_string(),
                table: TableName::new("audit", "events"),
                columns: columns.map(str::to_owned).to_vec(),
                rows: (0..each).map(row).collect(),
            };
            assert_eq!(db.run(Command::Ingest(ingest)), Answer::Ingested { rows: each as u64 });
        }
        db
    }

    fn run(&mut self, command: Command) -> Answer {
        self.index += 1;
        support::run(&mut self.state, self.index, command)
    }

    fn snapshot(&self) -> Snapshot {
        Arc::new(self.state.clone())
    }
}

fn engine() -> Engine {
    Engine::new(Limits { memory_bytes: 8 << 20, ..Limits::default() }).unwrap()
}

fn read(sql: &str) -> Box<datafusion::sql::sqlparser::ast::Statement> {
    match parse(sql).unwrap().pop() {
        Some(Statement::Read(statement)) => statement,
        other => panic!("{other:?}"),
    }
}

async fn query_with(db: &Db, sql: &str, values: Vec<ScalarValue>, budget: Budget) -> Result<String, Error> {
    let engine = engine();
    let mut rows = engine.query(db.snapshot(), &read(sql), Box::new(|_| Ok(values)), budget).await?;
    let mut batches = Vec::new();
    while let Some(batch) = rows.next().await {
        batches.push(batch?);
    }
    Ok(pretty_format_batches(&batches).unwrap().to_string())
}

async fn query(db: &Db, sql: &str) -> Result<String, Error> {
    query_with(db, sql, Vec::new(), Limits::default().budget).await
}

fn cells(table: &str) -> Vec<Vec<&str>> {
    let lines = table.lines().filter(|line| line.starts_with('|')).skip(1);
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[tokio::test]
async fn groups_filters_and_joins() {
    let db = Db::with_events(2, 30);
    let found = query(&db, "SELECT actor, count(*) AS n, min(sequence) FROM audit.events WHERE stream = 'journal/1' GROUP BY actor ORDER BY actor").await.unwrap();
    assert_eq!(cells(&found), [["user/0", "10", "0"], ["user/1", "10", "1"], ["user/2", "10", "2"]]);
    let joined = "SELECT a.sequence, a.time FROM audit.events a JOIN audit.events b USING (stream, sequence)
        WHERE a.stream = 'journal/0' AND a.time >= '2023-11-14T22:13:28Z' AND b.sequence < 10 ORDER BY 1";
    let found = query(&db, joined).await.unwrap();
    assert_eq!(cells(&found), [["8", "2023-11-14T22:13:28Z"], ["9", "2023-11-14T22:13:29Z"]]);
    let found = query(&db, "SELECT count(*) FROM audit.events WHERE after_digest IS NULL AND stream LIKE 'journal/%'")
        .await
        .unwrap();
    assert_eq!(cells(&found), [["30"]]);
    let lineage = "SELECT count(*) FROM audit.events WHERE lineage = '00000000-0000-0000-0000-000000000001'";
    assert_eq!(cells(&query(&db, lineage).await.unwrap()), [["30"]]);
}

/// More rows than one batch, every way through the key range: nothing is lost or doubled between batches.
#[tokio::test]
async fn ranges_of_the_key_across_batches() {
    let db = Db::with_events(2, 20_000);
    for (condition, expected) in [
        ("TRUE", 20_000),
        ("sequence = 7", 1),
        ("sequence >= 8191 AND sequence < 8193", 2),
        ("sequence > 19998", 1),
        ("19999 <= sequence", 1),
        ("sequence BETWEEN 100 AND 16500", 16_401),
        ("sequence > 5 AND sequence < 5", 0),
        ("sequence IN (1, 2, 40000)", 2),
        ("(sequence = 1 OR sequence = 2)", 2),
        ("sequence > 10 AND sequence > 19990 AND sequence >= 5", 9),
        ("sequence = 3 AND sequence > 5", 0),
        ("sequence = 3 AND sequence = 4", 0),
        ("sequence >= 7 AND sequence <= 7 AND sub = 0", 1),
        ("sub = 0", 20_000),
        ("sub > 0", 0),
        ("sequence <> 4", 19_999),
        ("sequence = NULL", 0),
    ] {
        let sql = format!(
            "SELECT count(*), count(DISTINCT sequence) FROM audit.events WHERE stream = 'journal/1' AND {condition}"
        );
        let expected = expected.to_string();
        assert_eq!(cells(&query(&db, &sql).await.unwrap()), [[expected.as_str(), expected.as_str()]], "{condition}");
    }
    let last = "SELECT sequence FROM audit.events WHERE stream = 'journal/0' ORDER BY sequence DESC LIMIT 2";
    assert_eq!(cells(&query(&db, last).await.unwrap()), [["19999"], ["19998"]]);
    for (tail, expected) in [
        ("ORDER BY stream, sequence LIMIT 3", 3),
        ("ORDER BY stream, sequence LIMIT 3 OFFSET 39999", 2),
        ("WHERE stream = 'journal/1' ORDER BY sequence LIMIT 3", 3),
        ("WHERE stream = 'journal/1' ORDER BY sequence DESC LIMIT 9000", 9_000),
        ("WHERE stream = 'journal/1' LIMIT 9000", 9_000),
        ("WHERE stream = 'journal/1' AND actor = 'user/1' ORDER BY sequence LIMIT 5000", 5_000),
        ("ORDER BY stream DESC, sequence DESC, sub DESC LIMIT 5 OFFSET 2", 5),
        ("LIMIT 0", 0),
    ] {
        let found = query(&db, &format!("SELECT sequence FROM audit.events {tail}")).await.unwrap();
        assert_eq!(cells(&found).len(), expected, "{tail}");
    }
    let all = "SELECT count(*) FROM (SELECT stream, sequence FROM audit.events ORDER BY stream DESC, sequence DESC)";
    assert_eq!(cells(&query(&db, all).await.unwrap()), [["40001"]]);
}

#[tokio::test]
async fn plans_use_the_key() {
    let db = Db::with_events(1, 10);
    let plan = async |sql: &str| query(&db, &format!("EXPLAIN {sql}")).await.unwrap();
    let point = plan("SELECT actor FROM audit.events WHERE stream = 'journal/0' AND sequence >= 5").await;
    assert!(point.contains("key columns fixed=1, next column bounded"), "{point}");
    let last =
        plan("SELECT sequence FROM audit.events WHERE stream = 'journal/0' ORDER BY sequence DESC LIMIT 1").await;
    assert!(last.contains("backwards") && !last.contains("SortExec"), "{last}");
    let ordered = plan("SELECT * FROM audit.events ORDER BY stream, sequence LIMIT 3").await;
    assert!(ordered.contains("limit=3") && !ordered.contains("SortExec"), "{ordered}");
    let later = plan(
        "SELECT sequence FROM audit.events WHERE stream = 'journal/0' AND sequence > 3 ORDER BY sequence, sub LIMIT 2",
    )
    .await;
    assert!(later.contains("limit=2") && !later.contains("SortExec") && !later.contains("FilterExec"), "{later}");
    let other = plan("SELECT sequence FROM audit.events ORDER BY actor DESC LIMIT 1").await;
    assert!(other.contains("SortExec"), "{other}");
    let half = plan("SELECT sequence FROM audit.events ORDER BY sequence DESC LIMIT 1").await;
    assert!(half.contains("SortExec"), "{half}");
}

#[tokio::test]
async fn parameters_take_the_types_of_the_query() {
    let db = Db::with_events(1, 10);
    let sql = "SELECT resource FROM audit.events WHERE stream = $1 AND sequence = $2";
    let described = engine().describe(db.snapshot(), &read(sql)).await.unwrap();
    assert_eq!(described.parameters.len(), 2);
    assert_eq!(described.columns[0].type_name(), "TEXT");
    let value = |text: &str, at: usize| {
        flaredb_sql::parameter_from_text(Some(text.into()), described.parameters[at].as_ref()).unwrap()
    };
    let budget = Limits::default().budget;
    let found = query_with(&db, sql, vec![value("journal/0", 0), value("4", 1)], budget).await.unwrap();
    assert_eq!(cells(&found), [["key/4"]]);
    let error = query_with(&db, sql, vec![value("journal/0", 0)], budget).await.unwrap_err();
    assert_eq!(error.state, SqlState::ProtocolViolation);
    let error = flaredb_sql::parameter_from_text(Some("x".into()), described.parameters[1].as_ref()).unwrap_err();
    assert_eq!(error.state, SqlState::InvalidTextRepresentation);
}

#[tokio::test]
async fn limits_end_one_query() {
    let db = Db::with_events(1, 20_000);
    let budget = Limits::default().budget;
    let all = "SELECT * FROM audit.events";
    let error = query_with(&db, all, Vec::new(), budget.at_most(100, Duration::ZERO)).await.unwrap_err();
    assert_eq!(error.state, SqlState::ProgramLimitExceeded);
    let error = query_with(&db, all, Vec::new(), Budget { bytes: 1_000, ..budget }).await.unwrap_err();
    assert_eq!(error.state, SqlState::ProgramLimitExceeded);
    // One side is held in memory; the other side's 400 million pairs go by without being kept.
    let endless = read("SELECT count(*) FROM audit.events a, audit.events b WHERE a.actor || b.actor <> b.resource");
    let engine = engine();
    let short = budget.at_most(0, Duration::from_millis(300));
    let ended = match engine.query(db.snapshot(), &endless, Box::new(|_| Ok(Vec::new())), short).await {
        Ok(mut rows) => {
            let error = rows.next().await.unwrap().unwrap_err();
            assert!(rows.next().await.is_none());
            error
        }
        Err(error) => error,
    };
    assert_eq!(ended.state, SqlState::QueryCanceled, "{ended}");

    for hungry in [
        "SELECT length(repeat('x', 1500000000))",
        "SELECT length(repeat(actor, 100000)) FROM audit.events",
        "SELECT lpad('x', 1000000000)",
        "SELECT array_length(generate_series(1, 1000000000))",
        "SELECT array_repeat(1, 1000000000)",
        "SELECT length(replace(repeat('x', 1000000), 'x', repeat('y', 1000000)))",
    ] {
        let error = query(&db, hungry).await.unwrap_err();
        assert_eq!(error.state, SqlState::OutOfMemory, "{hungry}: {error}");
    }
    assert!(query(&db, "SELECT replace(repeat('ab', 3), 'b', 'cc'), lpad('x', 3, '-')").await.is_ok());

    let hungry = "SELECT array_agg(a.resource || b.resource || b.event_id) FROM audit.events a, audit.events b GROUP BY a.sequence, b.sequence";
    let error = query(&db, hungry).await.unwrap_err();
    assert_eq!(error.state, SqlState::OutOfMemory, "{error}");
}

#[tokio::test]
async fn errors_have_their_sqlstate() {
    let db = Db::with_events(1, 3);
    for (sql, state) in [
        ("SELECT * FROM audit.nothing", SqlState::UndefinedTable),
        ("SELECT * FROM nowhere.events", SqlState::UndefinedTable),
        ("SELECT nothing FROM audit.events", SqlState::UndefinedColumn),
        ("SELECT no_such_function(1)", SqlState::UndefinedFunction),
        ("SELECT sequence FROM audit.events a, audit.events b", SqlState::AmbiguousColumn),
        ("SELECT 1 / (sequence - sequence) FROM audit.events", SqlState::DivisionByZero),
        ("SELECT CAST(actor AS BIGINT) FROM audit.events", SqlState::InvalidTextRepresentation),
        ("WITH x AS (DELETE FROM audit.events RETURNING 1) SELECT * FROM x", SqlState::FeatureNotSupported),
        ("SELECT 1 INTO made FROM audit.events", SqlState::FeatureNotSupported),
    ] {
        let found = query(&db, sql).await;
        assert_eq!(found.as_ref().map_err(|error| error.state), Err(state), "{sql}: {found:?}");
    }
}

#[tokio::test]
async fn whole_numbers_do_not_wrap() {
    let db = Db::with_events(1, 3);
    for sql in [
        "SELECT 9223372036854775807 + 1",
        "SELECT -9223372036854775807 - 2",
        "SELECT 9223372036854775807 * sequence FROM audit.events WHERE sequence = 2",
        "SELECT -(sequence - 9223372036854775807 - 3) FROM audit.events WHERE sequence = 2",
        "SELECT count(*) FROM audit.events WHERE sequence + 9223372036854775807 > 0",
        "SELECT sum(9223372036854775806 + sequence) FROM audit.events GROUP BY sub + 2147483648",
        "SELECT sub FROM audit.events ORDER BY 9223372036854775807 + sequence",
        "SELECT CAST(2147483648 AS INT)",
    ] {
        let found = query(&db, sql).await;
        assert_eq!(
            found.as_ref().map_err(|error| error.state),
            Err(SqlState::NumericValueOutOfRange),
            "{sql}: {found:?}"
        );
    }
    let named = "SELECT sequence + 1, count(*) * 2 FROM audit.events GROUP BY sequence + 1 HAVING sequence + 1 > 1 ORDER BY sequence + 1 LIMIT 1 + 1";
    let found = query(&db, named).await.unwrap();
    assert_eq!(cells(&found), [["2", "4"], ["3", "2"]]);
    assert!(found.contains("audit.events.sequence + Int64(1)"), "{found}");
    let other = "SELECT 1.5 + 1, -0.5, DATE '2026-11-05' + INTERVAL '1 day', 7 % 4, -sequence FROM audit.events WHERE sequence - 1 = 1";
    assert_eq!(cells(&query(&db, other).await.unwrap()), [["2.5", "-0.5", "2026-11-06", "3", "-2"]]);
    let plan = query(&db, "EXPLAIN SELECT actor FROM audit.events WHERE stream = 'journal/0' AND sequence >= 2 + 3");
    assert!(plan.await.unwrap().contains("key columns fixed=1, next column bounded"));
    let bound = query_with(&db, "SELECT $1 + 1", vec![ScalarValue::Int64(Some(i64::MAX))], Limits::default().budget);
    assert_eq!(bound.await.unwrap_err().state, SqlState::NumericValueOutOfRange);
}

#[tokio::test]
async fn clients_find_their_way() {
    let db = Db::new();
    let found =
        query(&db, "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema = 'audit'")
            .await
            .unwrap();
    assert_eq!(cells(&found), [["audit", "events"]]);
    let found = query(&db, "SELECT version()").await.unwrap();
    assert!(found.contains("Holdfast"));
    let found = query(&db, "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relname OPERATOR(pg_catalog.~) '^(events)$' COLLATE pg_catalog.default AND pg_catalog.pg_table_is_visible(c.oid)").await.unwrap();
    assert_eq!(cells(&found), [["audit", "events"]]);
    let found = query(
        &db,
        "SELECT attname, pg_catalog.format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute WHERE attnum = 2",
    )
    .await
    .unwrap();
    assert_eq!(cells(&found), [["sequence", "bigint"]]);
}

#[tokio::test]
async fn damage_fails_the_query_and_says_so() {
    use holdfast_keyspace::Write as _;
    let mut db = Db::with_events(1, 3);
    let key = [flaredb_core::key::prefix(flaredb_core::catalog::TableId(1)), b"journal/0\0\x01".to_vec()].concat();
    db.state.put(flaredb_core::store::ROWS, key, b"garbage".to_vec());
    let error = query(&db, "SELECT * FROM audit.events").await.unwrap_err();
    assert_eq!(error.state, SqlState::DataCorrupted);
}
