//! Requests that are allowed and cannot be answered: each names its cause with a status and a machine word that
//! clients can rely on.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::{
    http::{Answer, Request},
    lab::Lab,
    programs::psql,
    tree,
};

#[test]
fn artifacts_and_versions() -> Result<()> {
    let lab = Lab::start()?;
    let unpublished = lab.get("/artifact/pier2")?;
    unpublished.expect(503, "error", "not_published")?;
    ensure!(unpublished.header("retry-after").is_some(), "{unpublished:?}");

    for body in ["", "{", "[]", "{}", r#"{"base_version":0,"artifacts":[]}"#, r#"{"base_version":0,"artifacts":[{}]}"#]
    {
        lab.post("/publish", body)?.expect(400, "error", "malformed_tree").context(body)?;
    }
    let tree = tree::first()?;
    lab.post("/publish", &tree.replacen("\"base_version\":0", "\"base_version\":7", 1))?.expect(
        409,
        "error",
        "version_conflict",
    )?;
    let forged = tree.replacen("\"socks5_proxy\":\"127.0.0.1:1080\"", "\"socks5_proxy\":\"127.0.0.1:1081\"", 1);
    ensure!(forged != tree);
    let refused = lab.post("/publish", &forged)?;
    ensure!(matches!(refused.status, 400 | 403), "{refused:?}");

    let published = lab.post("/publish", &tree)?;
    ensure!((published.status, published.json()?["version"].as_u64()) == (200, Some(1)), "{published:?}");
    let repeated = lab.post("/tree", &tree)?;
    ensure!((repeated.status, repeated.json()?["unchanged"].as_bool()) == (200, Some(true)), "{repeated:?}");

    let artifact = lab.get("/artifact/pier2?version=1")?;
    ensure!((artifact.status, artifact.header("flor-version")) == (200, Some("1")), "{artifact:?}");
    ensure!(lab.get("/artifact/pier2?have=1")?.status == 304);
    lab.get("/artifact/pier9")?.expect(404, "error", "unknown_node")?;
    lab.get("/artifact/pier2?version=2")?.expect(404, "error", "unknown_version")?;
    lab.get("/versions/2")?.expect(404, "error", "unknown_version")?;
    for query in
        ["version=-1", "version=x", "version=", "version=1&version=1", "verzion=1", "version=99999999999999999999"]
    {
        lab.get(&format!("/artifact/pier2?{query}"))?.expect(400, "error", "bad_query").context(query)?;
    }
    lab.get("/nodes?limit=0")?.expect(400, "error", "bad_query")?;
    lab.post("/nodes/pier2/status", "{")?.expect(400, "error", "bad_body")
}

#[test]
fn wrong_methods_are_no_secrets() -> Result<()> {
    let lab = Lab::start()?;
    for (method, path, at) in [
        ("DELETE", "/versions", &lab.at.http),
        ("GET", "/publish", &lab.at.http),
        ("POST", "/artifact/pier2", &lab.at.http),
        ("PUT", "/health", &lab.at.api),
    ] {
        let answer = Request::new(method, path).bearer(&lab.token).send(at)?;
        ensure!(answer.status == 405 && answer.header("allow").is_some(), "{method} {path}: {answer:?}");
    }
    Ok(())
}

fn lock(lab: &Lab, path: &str, body: &str) -> Result<Answer> {
    Request::post(path, body).header("fleet-lock-protocol", "true").send(&lab.at.http)
}

#[test]
fn fleetlock() -> Result<()> {
    let lab = Lab::start()?;
    let params = |group: &str, id: &str| json!({ "client_params": { "group": group, "id": id } }).to_string();
    let good = params("default", "a");
    let get = Request::get("/v1/pre-reboot").header("fleet-lock-protocol", "true").send(&lab.at.http)?;
    get.expect(405, "kind", "method_not_allowed")?;
    ensure!(get.header("allow") == Some("post"), "{get:?}");
    Request::post("/v1/pre-reboot", good.clone()).send(&lab.at.http)?.expect(400, "kind", "missing_header")?;
    for body in ["", "{", "[]", r#"{"client_params":{"id":"a"}}"#] {
        lock(&lab, "/v1/pre-reboot", body)?.expect(400, "kind", "decode_error").context(body)?;
    }
    for group in ["default\n", "", "a_b", "../x"] {
        lock(&lab, "/v1/pre-reboot", &params(group, "a"))?.expect(400, "kind", "invalid_group").context(group)?;
    }
    for id in ["", "a\nb"] {
        lock(&lab, "/v1/steady-state", &params("default", id))?.expect(400, "kind", "invalid_id").context(id)?;
    }
    lock(&lab, "/v1/reboot", &good)?.expect(404, "kind", "not_found")?;

    ensure!(lock(&lab, "/v1/pre-reboot", &good)?.status == 200);
    lock(&lab, "/v1/pre-reboot", &params("default", "b"))?.expect(423, "kind", "failed_lock_semaphore_full")?;
    ensure!(lock(&lab, "/v1/steady-state", &params("default", "b"))?.status == 200, "a boot is never refused");
    // A base URL that ends in a slash.
    let doubled = lock(&lab, "//v1/steady-state", &good)?;
    ensure!(doubled.status == 200, "{doubled:?}");
    ensure!(lock(&lab, "/v1/pre-reboot", &params("default", "b"))?.status == 200);
    Ok(())
}

#[test]
fn tokens_by_oauth() -> Result<()> {
    let lab = Lab::start()?;
    let ask = |form: &str| {
        let form = Request::post("/oauth2/token", form).header("content-type", "application/x-www-form-urlencoded");
        form.send(&lab.at.http)
    };
    for (form, word) in [
        ("", "invalid_request"),
        ("grant_type=password&username=a&password=b", "unsupported_grant_type"),
        ("grant_type=client_credentials", "invalid_client"),
        ("grant_type=client_credentials&client_id=HFAKnobody&client_secret=guess", "invalid_client"),
    ] {
        let answer = ask(form)?;
        ensure!((400..=401).contains(&answer.status) && answer.json()?["error"] == word, "{form}: {answer:?}");
        ensure!(answer.header("cache-control") == Some("no-store"), "{answer:?}");
    }
    Ok(())
}

#[test]
fn sql() -> Result<()> {
    let lab = Lab::start()?;
    for (statement, state) in [
        ("SELEC 1", "42601"),
        ("SELECT (1", "42601"),
        ("SELECT * FROM audit.nothing", "42P01"),
        ("SELECT nothing FROM audit.events", "42703"),
        ("SELECT 1 / 0", "22012"),
        ("DROP TABLE audit.events", "0A000"),
        ("TRUNCATE audit.events", "0A000"),
        ("ALTER TABLE audit.events DROP COLUMN actor", "0A000"),
        ("INSERT INTO audit.events (actor) VALUES ('me')", "0A000"),
        ("UPDATE audit.events SET actor = 'me'", "0A000"),
        ("DELETE FROM audit.events", "0A000"),
        ("COPY audit.events TO '/tmp/events'", "0A000"),
    ] {
        let Some(said) = psql(&lab.at.sql, &lab.token, statement)? else { return Ok(()) };
        let text = said.bad()?;
        ensure!(text.contains(&format!("ERROR:  {state}: ")), "{statement}: {text}");
        if statement == "SELEC 1" {
            ensure!(text.contains("LINE 1: SELEC 1\n        ^"), "no position: {text}");
        }
    }
    let rows = psql(&lab.at.sql, &lab.token, "SELECT count(*) > 0 FROM audit.events")?;
    ensure!(rows.context("psql was there")?.good()?.trim() == "t");
    Ok(())
}
