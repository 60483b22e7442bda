//! Commands on a state: what they change, what they refuse, and that a refusal leaves no trace.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use flaredb_core::{
    Answer, Author, Catalog, ColumnType, Command, Envelope, Ingest, Migrate, MigrationSet, Phase, SqlState, TableName,
    Value, ValueRef, apply, audit,
    catalog::{AddColumn, Alteration, ColumnDefinition, CreateSchema, CreateTable},
    key, row,
    store::{self, ROWS},
};
use holdfast_keyspace::{KeyRange, Memory, Order, Read, Write};

#[derive(Default)]
struct Db {
    state: Memory,
    index: u64,
}

impl Db {
    fn run(&mut self, command: Command) -> Answer {
        self.index += 1;
        let author = Author {
            principal: "user/mira".into(),
            authenticated_by: "token".into(),
            source: None,
            token_id: None,
            request_id: format!("r{}", self.index),
        };
        let bytes = Envelope { time_ms: 1_000 * self.index, author, command }.encode().unwrap();
        apply::apply(&mut self.state, self.index, &bytes).unwrap().answer
    }

    fn migrate(&mut self, set: MigrationSet, number: u32, statements: Vec<Alteration>) -> Answer {
        let name = format!("m{number}");
        let checksum = [number as u8; 32];
        self.run(Command::Migrate(Migrate { set, number, name, checksum, phase: Phase::Expand, statements }))
    }

    fn ingest(&mut self, expected: Option<&str>, next: &str, rows: Vec<Vec<Value>>) -> Answer {
        self.run(Command::Ingest(Ingest {
            stream: "s".into(),
            expected_cursor: expected.map(Into::into),
            next_cursor: next.into(),
            table: TableName::new("public", "t"),
            columns: vec!["id".into(), "label".into()],
            rows,
        }))
    }

    fn rows(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.state.scan(ROWS, KeyRange::all(), Order::Ascending).collect::<Result<_, _>>().unwrap()
    }
}

fn column(name: &str, kind: ColumnType, nullable: bool, default: Option<Value>) -> ColumnDefinition {
    ColumnDefinition { name: name.into(), kind, nullable, default }
}

fn table_t() -> Alteration {
    Alteration::CreateTable(CreateTable {
        name: TableName::new("public", "t"),
        columns: vec![
            column("label", ColumnType::Text, false, None),
            column("id", ColumnType::Bigint, true, None),
            column("flag", ColumnType::Boolean, false, Some(Value::Boolean(true))),
        ],
        primary_key: vec!["id".into()],
        if_not_exists: false,
    })
}

fn add_rack() -> Alteration {
    Alteration::AddColumn(AddColumn {
        table: TableName::new("public", "t"),
        column: column("rack", ColumnType::Text, false, Some(Value::Text("none".into()))),
        if_not_exists: false,
    })
}

fn with_table() -> Db {
    let mut db = Db::default();
    assert_eq!(db.migrate(MigrationSet::Operator, 1, vec![table_t()]), Answer::Migrated { number: 1, already: false });
    db
}

fn pair(id: i64, label: &str) -> Vec<Value> {
    vec![Value::Bigint(id), Value::Text(label.into())]
}

fn refused(answer: Answer) -> SqlState {
    match answer {
        Answer::Refused(refusal) => refusal.state,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_batch_is_ingested_once() {
    let mut db = with_table();
    assert_eq!(db.ingest(None, "1", vec![pair(1, "a"), pair(2, "b")]), Answer::Ingested { rows: 2 });
    let before = db.state.clone();
    // The same batch again, a batch from the past, a batch from a future that did not happen.
    for (expected, next) in [(None, "1"), (Some("0"), "1"), (Some("5"), "6")] {
        let answer = db.ingest(expected, next, vec![pair(3, "c")]);
        assert_eq!(answer, Answer::CursorMismatch { stored: Some("1".into()) });
        assert_eq!(db.state, before);
    }
    assert_eq!(db.ingest(Some("1"), "2", vec![pair(3, "c")]), Answer::Ingested { rows: 1 });
    let cursor = store::cursor(&db.state, "s").unwrap().unwrap();
    assert_eq!((cursor.cursor.as_str(), cursor.rows, cursor.index), ("2", 3, db.index));
    assert_eq!(db.rows().len(), 3);
}

#[test]
fn a_refused_batch_leaves_no_trace() {
    let mut db = with_table();
    db.ingest(None, "1", vec![pair(1, "a")]);
    let before = db.state.clone();
    let bad = [
        (vec![pair(2, "b"), pair(1, "again")], SqlState::UniqueViolation),
        (vec![pair(2, "b"), vec![Value::Bigint(3), Value::Null]], SqlState::NotNullViolation),
        (vec![pair(2, "b"), vec![Value::Null, Value::Text("c".into())]], SqlState::NotNullViolation),
        (vec![vec![Value::Text("2".into()), Value::Text("b".into())]], SqlState::DatatypeMismatch),
        (vec![pair(2, "nul \0")], SqlState::InvalidTextRepresentation),
        (vec![vec![Value::Bigint(2)]], SqlState::SyntaxError),
    ];
    for (rows, state) in bad {
        assert_eq!(refused(db.ingest(Some("1"), "2", rows)), state);
        assert_eq!(db.state, before);
    }
}

#[test]
fn an_added_column_reads_as_its_default_without_a_rewrite() {
    let mut db = with_table();
    db.ingest(None, "1", vec![vec![Value::Int(1), Value::Text("a".into())]]);
    let stored = db.rows();
    db.migrate(MigrationSet::Operator, 2, vec![add_rack()]);
    assert_eq!(db.rows(), stored);
    db.ingest(Some("1"), "2", vec![pair(2, "b")]);

    let catalog = Catalog::load(&db.state).unwrap();
    let table = catalog.table(&TableName::new("public", "t")).unwrap();
    assert_eq!((table.version.0, table.columns.len()), (2, 4));
    for (stored_key, value) in db.rows() {
        let mut seen = Vec::new();
        row::visit(table, &value, |place, value| seen.push((place, value))).unwrap();
        assert_eq!(key::decode(table, &stored_key).unwrap().len(), 1);
        assert_eq!(seen[1..], [(2, ValueRef::Boolean(true)), (3, ValueRef::Text("none"))]);
    }
}

#[test]
fn migrations_count_and_never_change() {
    let mut db = with_table();
    assert_eq!(db.migrate(MigrationSet::Operator, 1, vec![table_t()]), Answer::Migrated { number: 1, already: true });
    assert_eq!(
        refused(db.migrate(MigrationSet::Operator, 3, vec![add_rack()])),
        SqlState::ObjectNotInPrerequisiteState
    );
    let edited = Migrate {
        set: MigrationSet::Operator,
        number: 1,
        name: "m1".into(),
        checksum: [9; 32],
        phase: Phase::Expand,
        statements: vec![table_t()],
    };
    assert_eq!(refused(db.run(Command::Migrate(edited.clone()))), SqlState::ObjectNotInPrerequisiteState);
    let contract = Migrate { number: 2, phase: Phase::Contract, ..edited };
    assert_eq!(refused(db.run(Command::Migrate(contract))), SqlState::FeatureNotSupported);
    // Each set counts for itself.
    let schema = Alteration::CreateSchema(CreateSchema { name: "audit".into(), if_not_exists: false });
    assert_eq!(refused(db.migrate(MigrationSet::Operator, 2, vec![schema.clone()])), SqlState::InsufficientPrivilege);
    assert_eq!(db.migrate(MigrationSet::Builtin, 1, vec![schema]), Answer::Migrated { number: 1, already: false });
    let applied: Vec<_> = store::migrations(&db.state).unwrap().into_iter().map(|m| (m.set, m.number)).collect();
    assert_eq!(applied, [(MigrationSet::Builtin, 1), (MigrationSet::Operator, 1)]);
}

#[test]
fn a_migration_is_all_or_nothing() {
    let mut db = with_table();
    let before = db.state.clone();
    let table = |name: &str, columns: Vec<ColumnDefinition>, key: &[&str]| {
        let primary_key = key.iter().map(|name| (*name).to_owned()).collect();
        let (schema, name) = name.split_once('.').unwrap_or(("public", name));
        Alteration::CreateTable(CreateTable {
            name: TableName::new(schema, name),
            columns,
            primary_key,
            if_not_exists: false,
        })
    };
    let a = || column("a", ColumnType::Int, true, None);
    let bad = [
        (table_t(), SqlState::DuplicateTable),
        (table("u", vec![a()], &[]), SqlState::InvalidTableDefinition),
        (table("u", vec![a()], &["b"]), SqlState::UndefinedColumn),
        (table("u", vec![a(), a()], &["a"]), SqlState::DuplicateColumn),
        (table("u", vec![column("a", ColumnType::Jsonb, false, None)], &["a"]), SqlState::InvalidTableDefinition),
        (table("nowhere.u", vec![a()], &["a"]), SqlState::InvalidSchemaName),
        (table(&"u".repeat(64), vec![a()], &["a"]), SqlState::InvalidName),
        (
            Alteration::AddColumn(AddColumn {
                table: TableName::new("public", "t"),
                column: column("b", ColumnType::Int, false, None),
                if_not_exists: false,
            }),
            SqlState::FeatureNotSupported,
        ),
        (
            Alteration::AddColumn(AddColumn {
                table: TableName::new("public", "t"),
                column: column("d", ColumnType::Double, true, Some(Value::Double(f64::NAN))),
                if_not_exists: false,
            }),
            SqlState::FeatureNotSupported,
        ),
    ];
    for (statement, state) in bad {
        let answer = db.migrate(MigrationSet::Operator, 2, vec![add_rack(), statement]);
        assert_eq!(refused(answer), state);
        assert_eq!(db.state, before);
    }
}

#[test]
fn a_migration_is_itself_an_event() {
    let mut db = Db::default();
    let text = |name: &str| column(name, ColumnType::Text, true, None);
    let columns = vec![
        text("stream"),
        column("sequence", ColumnType::Bigint, false, None),
        column("sub", ColumnType::Int, false, None),
        text("actor"),
        text("resource"),
    ];
    let events = Alteration::CreateTable(CreateTable {
        name: audit::events(),
        columns,
        primary_key: vec!["stream".into(), "sequence".into(), "sub".into()],
        if_not_exists: false,
    });
    let schema = Alteration::CreateSchema(CreateSchema { name: "audit".into(), if_not_exists: true });
    db.migrate(MigrationSet::Builtin, 1, vec![schema, events]);
    db.migrate(MigrationSet::Operator, 1, vec![table_t()]);
    let table = store::table(&db.state, &audit::events()).unwrap().unwrap();
    let mut seen = Vec::new();
    for (_, value) in db.rows() {
        row::visit(&table, &value, |_, value| seen.push(format!("{value:?}"))).unwrap();
    }
    let expected = [
        r#"Text("user/mira")"#,
        r#"Text("migration/builtin/0001_m1")"#,
        r#"Text("user/mira")"#,
        r#"Text("migration/operator/0001_m1")"#,
    ];
    assert_eq!(seen, expected);
}

#[test]
fn damage_is_not_an_answer() {
    let mut state = Memory::new();
    assert!(apply::apply(&mut state, 1, b"garbage").is_err());
    state.put(store::CATALOG, b"tpublic\0t".to_vec(), b"garbage".to_vec());
    assert!(Catalog::load(&state).is_err());
}
