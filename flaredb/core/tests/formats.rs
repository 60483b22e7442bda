//! Every stored format of the first release, byte by byte. Newer code must read these fixtures for ever; a test that
//! fails here means that a released format was changed instead of getting a new version.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use flaredb_core::{
    Answer, Author, ColumnType, Command, Envelope, Ingest, Migrate, MigrationRecord, MigrationSet, Phase, Refusal,
    SqlState, Table, TableName, Value, apply,
    catalog::{AddColumn, Alteration, Column, ColumnDefinition, CreateSchema, CreateTable, SchemaVersion, TableId},
    key, row,
    store::{self, CATALOG, CURSORS, CursorRecord, ROWS},
};
use holdfast_keyspace::{KeyRange, Memory, Order, Read, Write};
use uuid::Uuid;

fn every_value() -> Vec<Value> {
    vec![
        Value::Null,
        Value::Boolean(true),
        Value::Int(-2),
        Value::Bigint(3_000_000_000),
        Value::Double(1.5),
        Value::Text("é".into()),
        Value::Bytea(vec![0, 255]),
        Value::Timestamptz(1_700_000_000_000_000),
        Value::Uuid(Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10)),
    ]
}

fn author() -> Author {
    Author {
        principal: "user/mira".into(),
        authenticated_by: "token".into(),
        source: Some("10.0.0.1:5".into()),
        token_id: Some("j1".into()),
        request_id: "r1".into(),
    }
}

fn migrate() -> Envelope {
    let column = |name: &str, kind, nullable, default| ColumnDefinition { name: name.into(), kind, nullable, default };
    let columns = ColumnType::ALL
        .into_iter()
        .zip(every_value().into_iter().skip(1).chain([Value::Text("{}".into())]))
        .map(|(kind, default)| column(kind.sql(), kind, true, Some(default)))
        .collect();
    let statements = vec![
        Alteration::CreateSchema(CreateSchema { name: "s".into(), if_not_exists: true }),
        Alteration::CreateTable(CreateTable {
            name: TableName::new("s", "t"),
            columns,
            primary_key: vec!["INT".into(), "TEXT".into()],
            if_not_exists: false,
        }),
        Alteration::AddColumn(AddColumn {
            table: TableName::new("s", "t"),
            column: column("later", ColumnType::Int, true, None),
            if_not_exists: false,
        }),
    ];
    let command = Command::Migrate(Migrate {
        set: MigrationSet::Operator,
        number: 1,
        name: "first".into(),
        checksum: [7; 32],
        phase: Phase::Expand,
        statements,
    });
    Envelope { time_ms: 1_700_000_000_000, author: author(), command }
}

fn ingest() -> Envelope {
    let command = Command::Ingest(Ingest {
        stream: "journal".into(),
        expected_cursor: None,
        next_cursor: "5/0".into(),
        table: TableName::new("s", "t"),
        columns: ["BOOLEAN", "INT", "BIGINT", "DOUBLE", "TEXT", "BYTEA", "TIMESTAMPTZ", "UUID"]
            .map(str::to_owned)
            .to_vec(),
        rows: vec![every_value().into_iter().skip(1).collect()],
    });
    Envelope { time_ms: 1_700_000_000_001, author: author(), command }
}

#[test]
fn commands() {
    for (envelope, fixture) in [
        (migrate(), include_str!("fixtures/command-migrate-v1.hex")),
        (ingest(), include_str!("fixtures/command-ingest-v1.hex")),
    ] {
        let bytes = hex::decode(fixture.trim()).unwrap();
        assert_eq!(Envelope::decode(&bytes).unwrap(), envelope);
        assert_eq!(hex::encode(envelope.encode().unwrap()), fixture.trim());
    }
}

#[test]
fn answers() {
    let answers = [
        Answer::Migrated { number: 1, already: true },
        Answer::Ingested { rows: 500 },
        Answer::CursorMismatch { stored: Some("4/1".into()) },
        Answer::Refused(Refusal::new(SqlState::UniqueViolation, "m").hint("h")),
    ];
    let fixture = include_str!("fixtures/answers-v1.hex");
    for (answer, line) in answers.iter().zip(fixture.lines()) {
        assert_eq!(Answer::decode(&hex::decode(line).unwrap()).unwrap(), *answer);
        assert_eq!(hex::encode(answer.encode().unwrap()), line);
    }
    assert_eq!(fixture.lines().count(), answers.len());
}

/// The state after both commands: keys and values of catalog, rows and cursors.
#[test]
fn state() {
    let mut written = Memory::new();
    for (index, envelope) in (4..).zip([migrate(), ingest()]) {
        apply::apply(&mut written, index, &envelope.encode().unwrap()).unwrap();
    }
    let mut lines = Vec::new();
    for table in [CATALOG, ROWS, CURSORS] {
        for pair in written.scan(table, KeyRange::all(), Order::Ascending) {
            let (key, value) = pair.unwrap();
            lines.push(format!("{} {} {}", table.name, hex::encode(key), hex::encode(value)));
        }
    }
    let fixture = include_str!("fixtures/state-v1.txt");
    assert_eq!(lines, fixture.lines().collect::<Vec<_>>());

    let mut read = Memory::new();
    for line in fixture.lines() {
        let [table, key, value] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let table = *store::TABLES.iter().find(|known| known.name == table).unwrap();
        read.put(table, hex::decode(key).unwrap(), hex::decode(value).unwrap());
    }
    let table = store::table(&read, &TableName::new("s", "t")).unwrap().unwrap();
    assert_eq!((table.id, table.version, table.columns.len()), (TableId(1), SchemaVersion(2), 10));
    assert_eq!(table.columns.iter().map(|column| column.kind).take(9).collect::<Vec<_>>(), ColumnType::ALL);
    let record = store::migration(&read, MigrationSet::Operator, 1).unwrap().unwrap();
    assert_eq!((record.name.as_str(), record.index, record.phase), ("first", 4, Phase::Expand));
    let cursor = store::cursor(&read, "journal").unwrap().unwrap();
    let expected = CursorRecord { stream: "journal".into(), cursor: "5/0".into(), index: 5, rows: 1 };
    assert_eq!(cursor, expected);
    assert!(store::schemas(&read).unwrap().contains("s"));
    let _: Vec<MigrationRecord> = store::migrations(&read).unwrap();
}

/// A row of the first schema version under a table that has grown since.
#[test]
fn rows_of_an_older_schema_version() {
    let column = |name: &str, since, default| Column {
        name: name.into(),
        kind: ColumnType::Int,
        nullable: true,
        default,
        since: SchemaVersion(since),
    };
    let mut table = Table {
        id: TableId(1),
        name: TableName::new("public", "t"),
        version: SchemaVersion(1),
        columns: vec![column("id", 1, None), column("a", 1, None)],
        primary_key: vec![0],
    };
    let stored = row::encode(&table, &[Value::Int(1), Value::Int(2)]).unwrap();
    assert_eq!(hex::encode(&stored), include_str!("fixtures/row-v1.hex").trim());
    assert_eq!(hex::encode(key::encode(&table, &[Value::Int(1)]).unwrap()), "0000000180000001");
    table.version = SchemaVersion(3);
    table.columns.extend([column("b", 2, Some(Value::Int(9))), column("c", 3, None)]);
    let mut seen = Vec::new();
    row::visit(&table, &stored, |place, value| seen.push(format!("{place} {value:?}"))).unwrap();
    assert_eq!(seen, ["1 Int(2)", "2 Int(9)", "3 Null"]);
}
