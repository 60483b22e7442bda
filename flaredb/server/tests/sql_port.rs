//! The SQL port against a real psql and against what no psql would send.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod support;

use std::{path::Path, process::Output, time::Duration};

use holdfast_rpc::{ClientAuth, ServerTls, TlsFiles};
use support::{PASSWORD, Server, USER, Wire, eventually, folder, sqlstate};
use tokio::process::Command;

const PSQL: &str = "/usr/bin/psql";
const PGBENCH: &str = "/usr/bin/pgbench";

fn present(program: &str) -> bool {
    let there = Path::new(program).exists();
    if !there {
        eprintln!("SKIPPED: {program} is not installed");
    }
    there
}

async fn psql_as(server: &Server, user: &str, password: &str, arguments: &[&str]) -> Output {
    let port = server.sql.port().to_string();
    let mut command = Command::new(PSQL);
    command.args(["-X", "-A", "-t", "-h", "127.0.0.1", "-p", &port, "-U", user, "-d", "holdfast"]).args(arguments);
    command.env("PGPASSWORD", password).env("PGCONNECT_TIMEOUT", "10").kill_on_drop(true);
    command.output().await.unwrap()
}

async fn psql(server: &Server, sql: &str) -> Output {
    psql_as(server, USER, PASSWORD, &["-v", "VERBOSITY=verbose", "-c", sql]).await
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_asks_and_is_answered() {
    if !present(PSQL) {
        return;
    }
    let folder = folder();
    let server = Server::start(folder.path()).await;
    let migration = "SELECT actor, action, resource, lineage, count, encode(after_digest, 'hex') IS NOT NULL, time > '2020-01-01' FROM audit.events";
    let found = psql(&server, migration).await;
    assert_eq!(
        out(&found),
        "system/flaredb|history.Migrate|migration/builtin/0001_audit_events||1|t|t",
        "{}",
        err(&found)
    );
    assert_eq!(
        out(&psql(&server, "SELECT 1 AS a, NULL, 1.5, TIMESTAMPTZ '2026-11-05T12:00:00.5Z', true").await),
        "1||1.5|2026-11-05 12:00:00.5+00|t"
    );
    assert_eq!(out(&psql(&server, "SHOW server_version").await).split(' ').next(), Some("15.0"));
    assert_eq!(out(&psql(&server, "BEGIN; SELECT 7; COMMIT;").await), "BEGIN\n7\nCOMMIT");
    assert!(
        out(&psql(&server, "\\dt").await).contains("audit|events|table|holdfast"),
        "{:?}",
        psql(&server, "\\dt").await
    );
    assert_eq!(
        out(&psql(&server, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'audit'").await),
        "events"
    );
    assert!(out(&psql(&server, "\\conninfo").await).contains("holdfast"));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_come_with_their_sqlstate() {
    if !present(PSQL) {
        return;
    }
    let folder = folder();
    let server = Server::start(folder.path()).await;
    for (sql, state) in [
        ("SELEC 1", "42601"),
        ("SELECT * FROM audit.nothing", "42P01"),
        ("SELECT nothing FROM audit.events", "42703"),
        ("INSERT INTO audit.events (actor) VALUES ('x')", "0A000"),
        ("DROP TABLE audit.events", "0A000"),
        ("COPY audit.events TO STDOUT", "0A000"),
        ("SELECT 1 / 0", "22012"),
        ("SET timezone = 'Europe/Paris'", "0A000"),
        ("SELECT $1", "42P02"),
        ("SELECT (1", "42601"),
        ("SELECT * FROM WHERE", "42601"),
        ("SELECT 9223372036854775807 + 1", "22003"),
    ] {
        let output = psql(&server, sql).await;
        assert!(
            !output.status.success() && err(&output).contains(&format!("ERROR:  {state}")),
            "{sql}: {}",
            err(&output)
        );
    }
    // The position reaches the client, which points at it.
    for sql in ["SELEC 1", "SELECT (1", "SELECT * FROM WHERE"] {
        assert!(err(&psql(&server, sql).await).contains(&format!("LINE 1: {sql}")), "{sql}");
    }
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_may_gets_in() {
    if !present(PSQL) {
        return;
    }
    let folder = folder();
    let server = Server::start(folder.path()).await;
    for (user, password) in [(USER, "wrong"), ("nobody", PASSWORD)] {
        let output = psql_as(&server, user, password, &["-c", "SELECT 1"]).await;
        assert!(err(&output).contains("authentication failed"), "{}", err(&output));
    }
    let port = server.sql.port().to_string();
    let mut wrong = Command::new(PSQL);
    wrong
        .args(["-X", "-h", "127.0.0.1", "-p", &port, "-U", USER, "-d", "other", "-c", "SELECT 1"])
        .env("PGPASSWORD", PASSWORD);
    assert!(err(&wrong.output().await.unwrap()).contains("does not exist"));
    *server.login.denied.lock().unwrap() = true;
    assert!(err(&psql(&server, "SELECT 1").await).contains("not permitted"));
    server.end().await;
}

/// A right that is taken away ends with the next statement, not with the session.
#[tokio::test(flavor = "multi_thread")]
async fn rights_are_asked_for_each_statement() {
    let folder = folder();
    let server = Server::start(folder.path()).await;
    let mut wire = Wire::logged_in(server.sql).await;
    wire.message(b'Q', b"SELECT 1\0").await;
    assert!(wire.until_ready().await.iter().any(|(kind, _)| *kind == b'D'));
    *server.login.denied.lock().unwrap() = true;
    wire.message(b'Q', b"SELECT 1\0").await;
    assert_eq!(wire.until_ready().await.first().and_then(sqlstate).as_deref(), Some("42501"));
    let answers = wire.extended("SELECT 1", &[], false).await;
    assert_eq!(answers.first().and_then(sqlstate).as_deref(), Some("42501"));
    server.end().await;
}

/// Whoever is locked out is out at the next statement, not when the session ends by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_login() {
    let folder = folder();
    let server = Server::start(folder.path()).await;
    let (mut simple, mut extended) = (Wire::logged_in(server.sql).await, Wire::logged_in(server.sql).await);
    *server.login.revoked.lock().unwrap() = true;
    simple.message(b'Q', b"SELECT 1\0").await;
    for answers in [simple.until_ready().await, extended.extended("SELECT 1", &[], false).await] {
        assert_eq!(answers.iter().map(sqlstate).collect::<Vec<_>>(), [Some("28000".to_owned())]);
        let text = String::from_utf8_lossy(&answers[0].1).into_owned();
        assert!(text.contains("FATAL") && text.contains("expired or was revoked"), "{text}");
    }
    assert_eq!((simple.next().await, extended.next().await), (None, None));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_do_not_travel_in_the_open() {
    let folder = folder();
    let server = Server::start_with(folder.path(), |config| config.plaintext_on_loopback = false).await;
    let mut wire = Wire::connect(server.sql).await;
    wire.startup().await;
    let answer = wire.next().await.unwrap();
    assert_eq!(sqlstate(&answer).as_deref(), Some("28000"));
    assert_eq!(wire.next().await, None);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_makes_the_password_welcome() {
    if !present(PSQL) {
        return;
    }
    let folder = folder();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let files = TlsFiles::new(cert.clone(), key, ClientAuth::None);
    let tls = ServerTls::load(files, &[b"postgresql"]).unwrap();
    let server = Server::start_with(&folder.path().join("data"), |config| {
        config.tls = Some(tls);
        config.plaintext_on_loopback = false;
    })
    .await;
    let port = server.sql.port();
    let connect = async |mode: &str| {
        let target = format!(
            "host=localhost hostaddr=127.0.0.1 port={port} user={USER} dbname=holdfast sslmode={mode} sslrootcert={}",
            cert.display()
        );
        let mut command = Command::new(PSQL);
        command.args(["-X", "-A", "-t", "-c", "SELECT 'in'", &target]).env("PGPASSWORD", PASSWORD);
        command.output().await.unwrap()
    };
    for mode in ["require", "verify-full", "prefer"] {
        let output = connect(mode).await;
        assert_eq!(out(&output), "in", "{mode}: {}", err(&output));
    }
    assert!(err(&connect("disable").await).contains("must use TLS"));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_extended_protocol_in_both_formats() {
    let folder = folder();
    let server = Server::start(folder.path()).await;
    let mut wire = Wire::logged_in(server.sql).await;
    let sql = "SELECT sequence FROM audit.events WHERE stream = $1 AND count = $2";
    let texts = wire.extended(sql, &[(b"flaredb", false), (b"1", false)], false).await;
    let row = texts.iter().find(|(kind, _)| *kind == b'D').unwrap();
    let sequence = String::from_utf8(support::first(&row.1).to_vec()).unwrap();
    let binary = wire.extended(sql, &[(b"flaredb", true), (&1_i64.to_be_bytes(), true)], true).await;
    let row = binary.iter().find(|(kind, _)| *kind == b'D').unwrap();
    assert_eq!(support::first(&row.1), sequence.parse::<i64>().unwrap().to_be_bytes());

    let bad = wire.extended(sql, &[(b"flaredb", false), (b"one", false)], false).await;
    assert_eq!(bad.iter().find_map(sqlstate).as_deref(), Some("22P02"));
    let missing = wire.extended(sql, &[(b"flaredb", false)], false).await;
    assert_eq!(missing.iter().find_map(sqlstate).as_deref(), Some("08P01"));
    // The session goes on after errors.
    assert!(wire.extended("SELECT 1", &[], false).await.iter().any(|(kind, _)| *kind == b'D'));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_driver_prepares_statements() {
    if !present(PGBENCH) {
        return;
    }
    let folder = folder();
    let server = Server::start(folder.path()).await;
    let script = folder.path().join("script.sql");
    std::fs::write(&script, "SELECT count(*) FROM audit.events WHERE sequence >= :n;\n").unwrap();
    for mode in ["simple", "extended", "prepared"] {
        let port = server.sql.port().to_string();
        let mut command = Command::new(PGBENCH);
        command.args(["-n", "-h", "127.0.0.1", "-p", &port, "-U", USER, "-c", "2", "-t", "5", "-D", "n=0", "-M", mode]);
        command.arg("-f").arg(&script).arg("holdfast").env("PGPASSWORD", PASSWORD).kill_on_drop(true);
        let output = command.output().await.unwrap();
        assert!(out(&output).contains("10/10"), "{mode}: {} {}", out(&output), err(&output));
    }
    server.end().await;
}

/// Nothing that a stranger sends runs a query, is kept, or hurts others.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_does_not_hurt() {
    let folder = folder();
    let server = Server::start_with(folder.path(), |config| {
        config.login_time = Duration::from_millis(500);
        config.connections = 64;
    })
    .await;
    let noise: Vec<u8> = (0..70_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let huge_query = [b"Q".as_slice(), &0x3fff_fff0_u32.to_be_bytes(), &vec![b' '; 200_000]].concat();
    for bytes in [
        noise.as_slice(),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &[0; 64],
        &[0xff; 64],
        b"\0\0\0\x08\x04\xd2\x16\x2f",
    ] {
        let mut wire = Wire::connect(server.sql).await;
        wire.raw(bytes).await;
        // At the latest when the time for a login is over.
        while wire.next().await.is_some_and(|(kind, _)| kind != b'Z') {}
    }
    // A query instead of a password, with every password message after it, changes nothing.
    let mut wire = Wire::connect(server.sql).await;
    wire.startup().await;
    assert_eq!(wire.next().await.unwrap().0, b'R');
    wire.message(b'Q', b"SELECT 1\0").await;
    assert!(wire.until_ready().await.iter().all(|(kind, _)| *kind != b'D' && *kind != b'T'));
    // A failed login ends the connection, whatever is sent after it.
    let mut wire = Wire::connect(server.sql).await;
    wire.startup().await;
    wire.message(b'p', b"wrong\0").await;
    wire.message(b'Q', b"SELECT 1\0").await;
    assert!(wire.until_ready().await.iter().all(|(kind, _)| *kind != b'D' && *kind != b'T'));
    // What is announced before a login is not waited for.
    let mut wire = Wire::connect(server.sql).await;
    wire.startup().await;
    wire.raw(&huge_query).await;
    while wire.next().await.is_some() {}

    for (kind, length) in [(b'p', 0_u32), (b'p', 4), (b'B', 3), (b'd', 5), (b'P', 6)] {
        let mut wire = Wire::connect(server.sql).await;
        wire.startup().await;
        assert_eq!(wire.next().await.unwrap().0, b'R');
        wire.raw(&[&[kind][..], &length.to_be_bytes(), &[0; 8]].concat()).await;
        assert!(wire.next().await.is_none(), "{kind} {length}");
    }
    // After a login it is told: a header that does not fit, and a parameter that is longer than its message.
    let bind = [&b"\0\0\0\0\0\x01"[..], &0x7fff_ffff_u32.to_be_bytes(), b"\0\0"].concat();
    for (kind, length, body) in [(b'Q', 2_u32, &b"\0\0"[..]), (b'B', 16, &bind)] {
        let mut wire = Wire::logged_in(server.sql).await;
        wire.raw(&[&[kind][..], &length.to_be_bytes(), body].concat()).await;
        let told = wire.until_ready().await;
        assert_eq!(told.iter().find_map(sqlstate).as_deref(), Some("08P01"), "{told:?}");
    }

    let mut silent = Vec::new();
    for _ in 0..63 {
        silent.push(Wire::connect(server.sql).await);
    }
    eventually("strangers make room", || async {
        let login = tokio::time::timeout(Duration::from_secs(2), Wire::logged_in(server.sql)).await;
        login.is_ok()
    })
    .await;
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_cancelled_and_the_session_goes_on() {
    let folder = folder();
    let server = Server::start(folder.path()).await;
    let mut wire = Wire::connect(server.sql).await;
    wire.startup().await;
    wire.message(b'p', format!("{PASSWORD}\0").as_bytes()).await;
    let answers = wire.until_ready().await;
    let (_, key) = answers.iter().find(|(kind, _)| *kind == b'K').unwrap();
    let numbers =
        "SELECT count(*) FROM generate_series(1, 100000) a(x), generate_series(1, 100000) b(y) WHERE x * y = 3\0";
    wire.message(b'Q', numbers.as_bytes()).await;
    let request = [&16_u32.to_be_bytes()[..], &80_877_102_u32.to_be_bytes(), key].concat();
    let asking = async {
        loop {
            Wire::connect(server.sql).await.raw(&request).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let answers = tokio::select! {
        answers = wire.until_ready() => answers,
        () = asking => Vec::new(),
    };
    assert_eq!(answers.iter().find_map(sqlstate).as_deref(), Some("57014"));
    wire.message(b'Q', b"SELECT 1\0").await;
    assert!(wire.until_ready().await.iter().any(|(kind, _)| *kind == b'D'));
    server.end().await;
}
