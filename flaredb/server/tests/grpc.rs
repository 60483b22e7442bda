//! `flaredb.v1` through its client.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod support;

use std::time::Duration;

use flaredb_client::{Error, MigrationOutcome, Query};
use serde_json::json;
use support::{Server, folder};

#[tokio::test(flavor = "multi_thread")]
async fn queries_with_their_types() {
    let folder = folder();
    let server = Server::start(folder.path()).await;
    let client = server.client().await;
    let sql = "SELECT action, sequence > $1 AS late, count, lineage, time > '2020-01-01T00:00:00Z', \
               CAST('nan' AS DOUBLE), TIMESTAMPTZ '2026-11-05T12:00:00.5Z' FROM audit.events WHERE stream = $2";
    let table = client.table(Query::new(sql).bind(Some("0")).bind(Some("flaredb"))).await.unwrap();
    let kinds: Vec<_> = table.columns.iter().map(|column| column.kind.as_str()).collect();
    assert_eq!(kinds, ["TEXT", "BOOLEAN", "BIGINT", "UUID", "BOOLEAN", "DOUBLE", "TIMESTAMPTZ"]);
    assert_eq!(
        table.rows,
        [[
            json!("history.Migrate"),
            json!(true),
            json!(1),
            json!(null),
            json!(true),
            json!("NaN"),
            json!("2026-11-05T12:00:00.5Z")
        ]]
    );
    let local = client.query(Query::new("SELECT 1").local()).await.unwrap();
    assert!(local.applied_index > 0);
    let many = client.table(Query::new("SELECT * FROM generate_series(1, 100000)")).await.unwrap();
    assert_eq!(many.rows.len(), 100_000);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_and_why() {
    let folder = folder();
    let server = Server::start(folder.path()).await;
    let client = server.client().await;
    let state = |result: Result<flaredb_client::Table, Error>| result.unwrap_err().sqlstate().map(str::to_owned);
    for (sql, expected) in [
        ("SELECT * FROM audit.nothing", "42P01"),
        ("DELETE FROM audit.events", "0A000"),
        ("BEGIN", "0A000"),
        ("SELECT 1; SELECT 2", "42601"),
        ("", "42601"),
    ] {
        assert_eq!(state(client.table(Query::new(sql)).await).as_deref(), Some(expected), "{sql}");
    }
    let rows = Query::new("SELECT * FROM generate_series(1, 10000)").max_rows(10);
    assert_eq!(state(client.table(rows).await).as_deref(), Some("54000"));
    let slow = "SELECT count(*) FROM generate_series(1, 100000) a(x), generate_series(1, 100000) b(y) WHERE x * y = 3";
    let slow = Query::new(slow).timeout(Duration::from_millis(200));
    assert_eq!(state(client.table(slow).await).as_deref(), Some("57014"));
    let large = Query::new(format!("SELECT '{}'", "x".repeat(300 << 10)));
    assert_eq!(state(client.table(large).await).as_deref(), Some("54000"));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_are_planned_applied_once_and_kept() {
    let folder = folder();
    let server = Server::start(folder.path()).await;
    let client = server.client().await;
    let file =
        ("0001_racks.sql", "-- phase: expand\nCREATE TABLE racks (id BIGINT PRIMARY KEY, label TEXT NOT NULL);\n");
    let outcome =
        async |file: (&str, &str), dry| client.migrate(file.0, file.1, dry).await.map(|answer| answer.outcome());
    assert_eq!(outcome(file, true).await.unwrap(), MigrationOutcome::Planned);
    assert_eq!(server.column("SELECT count(*) FROM information_schema.tables WHERE table_name = 'racks'").await, ["0"]);
    assert_eq!(outcome(file, false).await.unwrap(), MigrationOutcome::Applied);
    assert_eq!(outcome(file, false).await.unwrap(), MigrationOutcome::AlreadyApplied);
    for (bad, expected) in [
        (("0001_racks.sql", "-- phase: expand\nCREATE TABLE racks (id BIGINT PRIMARY KEY);\n"), "55000"),
        (("0003_more.sql", "-- phase: expand\nALTER TABLE racks ADD COLUMN row INT;\n"), "55000"),
        (("0002_more.sql", "ALTER TABLE racks ADD COLUMN row INT;\n"), "42601"),
        (("0002_more.sql", "-- phase: contract\nDROP TABLE racks;\n"), "0A000"),
        (("0002_more.sql", "-- phase: expand\nALTER TABLE audit.events ADD COLUMN x INT;\n"), "42501"),
        (("0002_more.sql", "-- phase: expand\nALTER TABLE racks ADD COLUMN x INT NOT NULL;\n"), "0A000"),
    ] {
        let error = outcome(bad, false).await.unwrap_err();
        assert_eq!(error.sqlstate(), Some(expected), "{bad:?}: {error}");
    }
    let dropped = outcome(("0002_x.sql", "-- phase: expand\nDROP TABLE racks;\n"), false).await.unwrap_err();
    assert!(dropped.to_string().contains("deploy/runbooks/destructive-schema-change.md"), "{dropped}");
    server.end().await;

    // Everything is there after a restart, the events of both migrations included.
    let server = Server::start(folder.path()).await;
    let events = "SELECT resource FROM audit.events WHERE action = 'history.Migrate' AND actor = 'user/mira'";
    // It answers once it leads again.
    assert_eq!(server.column(events).await, ["migration/operator/0001_racks"]);
    let status = server.client().await.status().await.unwrap();
    let migrations: Vec<_> =
        status.migrations.iter().map(|m| (m.set.as_str(), m.number, m.applied_by.as_str())).collect();
    assert_eq!(migrations, [("builtin", 1, "system/flaredb"), ("operator", 1, "user/mira")]);
    assert_eq!((status.member.as_str(), status.leader.as_str(), status.is_leader), ("one", "one", true));
    server.end().await;
}
