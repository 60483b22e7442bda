//! Public clients that know nothing of us, each on its door: etcdctl, psql, and whatever reads HTTP.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    http::Request,
    lab::Lab,
    programs::{Etcdctl, Owned, psql, run_with},
};

#[test]
fn etcdctl_works_on_keys() -> Result<()> {
    let lab = Lab::start()?;
    let Some(etcdctl) = Etcdctl::find(&lab.at.api, lab.login())? else { return Ok(()) };
    assert_eq!(etcdctl.says(&["put", "greeting", "hello"])?, "OK\n");
    assert_eq!(etcdctl.says(&["get", "greeting"])?, "greeting\nhello\n");
    assert_eq!(etcdctl.says(&["put", "--prev-kv", "greeting", "hi"])?, "OK\ngreeting\nhello\n");
    assert_eq!(etcdctl.says(&["get", "--prefix", "gr", "--print-value-only"])?, "hi\n");
    let script = "create(\"once\") = \"0\"\n\nput once yes\n\nget once\n\n";
    assert_eq!(run_with(etcdctl.command(&["txn"]), script)?.good()?, "SUCCESS\n\nOK\n");
    assert_eq!(run_with(etcdctl.command(&["txn"]), script)?.good()?, "FAILURE\n\nonce\nyes\n");
    assert_eq!(etcdctl.says(&["del", "greeting"])?, "1\n");
    assert_eq!(etcdctl.says(&["get", "greeting"])?, "");
    let large = run_with(etcdctl.command(&["put", "large"]), &"x".repeat(1_700_000))?.bad()?;
    ensure!(large.contains("etcdserver: request is too large"), "{large}");
    Ok(())
}

#[test]
fn etcdctl_watches() -> Result<()> {
    let lab = Lab::start()?;
    let Some(etcdctl) = Etcdctl::find(&lab.at.api, lab.login())? else { return Ok(()) };
    let first = etcdctl.says(&["put", "watched", "1", "-w", "json"])?;
    let first: serde_json::Value = serde_json::from_str(&first)?;
    let from = format!("--rev={}", first["header"]["revision"]);
    let mut command = etcdctl.command(&["watch", &from, "watched"]);
    let mut watch = Owned(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
    let events = BufReader::new(watch.0.stdout.take().context("no output")?);
    etcdctl.says(&["put", "watched", "2"])?;
    etcdctl.says(&["del", "watched"])?;
    let seen = events.lines().take(8).collect::<Result<Vec<_>, _>>()?;
    assert_eq!(seen, ["PUT", "watched", "1", "PUT", "watched", "2", "DELETE", "watched"]);
    Ok(())
}

#[test]
fn etcdctl_leases_and_looks_at_the_cluster() -> Result<()> {
    let lab = Lab::start()?;
    let Some(etcdctl) = Etcdctl::find(&lab.at.api, lab.login())? else { return Ok(()) };
    let granted = etcdctl.says(&["lease", "grant", "60"])?;
    let id = granted.split(' ').nth(1).context("no lease")?;
    etcdctl.says(&["put", "session", "mine", &format!("--lease={id}")])?;
    ensure!(etcdctl.says(&["lease", "timetolive", id, "--keys"])?.contains("session"));
    ensure!(etcdctl.says(&["lease", "list"])?.contains(id));
    etcdctl.says(&["lease", "revoke", id])?;
    assert_eq!(etcdctl.says(&["get", "session"])?, "");

    let status = etcdctl.says(&["endpoint", "status"])?;
    ensure!(status.contains(", 3.6.") && status.contains("true"), "{status}");
    ensure!(etcdctl.says(&["endpoint", "health"]).is_ok());
    let members = etcdctl.says(&["member", "list"])?;
    ensure!(members.contains(", started, dev, ") && members.contains(&lab.at.api), "{members}");
    Ok(())
}

/// No key of the plane itself is among the keys that the admin sees.
#[test]
fn etcdctl_does_not_see_the_system() -> Result<()> {
    let lab = Lab::start()?;
    let Some(etcdctl) = Etcdctl::find(&lab.at.api, lab.login())? else { return Ok(()) };
    assert_eq!(etcdctl.says(&["get", "", "--from-key", "--keys-only"])?, "");
    etcdctl.says(&["put", "only", "mine"])?;
    assert_eq!(etcdctl.says(&["get", "", "--from-key", "--keys-only"])?, "only\n\n");
    let nobody = Etcdctl::find(&lab.at.api, None)?.context("it was there")?;
    ensure!(nobody.refused(&["get", "only"])?.contains("etcdserver: user name is empty"));
    let guesser = Etcdctl::find(&lab.at.api, Some("admin:guess".to_owned()))?.context("it was there")?;
    let refused = guesser.refused(&["get", "only"])?;
    ensure!(refused.contains("etcdserver: authentication failed, invalid user ID or password"), "{refused}");
    Ok(())
}

#[test]
fn psql_asks() -> Result<()> {
    let lab = Lab::start()?;
    let ask = |sql: &str| psql(&lab.at.sql, &lab.token, sql);
    let Some(tables) = ask("\\dt")? else { return Ok(()) };
    assert_eq!(tables.good()?, "audit|events|table|holdfast\n");
    let genesis = "SELECT actor, action, outcome FROM audit.events WHERE action = 'iam.Genesis'";
    // The history is shipped after the fact; the genesis is the first that happened.
    let found = holdfast_testkit::wait_until(crate::lab::SOON, "the genesis in the history", || {
        let rows = ask(genesis)?.context("psql was there")?.good()?;
        Ok((!rows.is_empty()).then_some(rows))
    })?;
    assert_eq!(found, "system/iam|iam.Genesis|done\n");
    let error = ask("SELECT nothing FROM audit.events")?.context("psql was there")?.bad()?;
    ensure!(error.contains("42703"), "{error}");
    Ok(())
}

#[test]
fn http_pages_for_monitors_and_verifiers() -> Result<()> {
    let lab = Lab::start()?;
    let api = |path| Request::get(path).send(&lab.at.api);
    let http = |path| Request::get(path).send(&lab.at.http);
    assert_eq!(api("/health")?.json()?["health"], "true");
    ensure!(api("/version")?.json()?["etcdserver"].as_str().is_some_and(|version| version.starts_with("3.6.")));
    assert_eq!(http("/healthz")?.body, "ok\n");
    assert_eq!(http("/readyz")?.json()?["ready"], true);
    assert_eq!(http("/-/healthy")?.body, "ok");
    for (metrics, name) in [(api("/metrics")?, "etcd_mvcc_put_total"), (http("/metrics")?, "fleetlock_")] {
        let content = metrics.header("content-type").unwrap_or_default();
        ensure!(metrics.status == 200 && content.starts_with("text/plain; version=0.0.4"), "{metrics:?}");
        ensure!(metrics.body.contains(name), "{name}: {}", metrics.body);
    }

    let discovery = http("/.well-known/openid-configuration")?.json()?;
    let issuer = format!("http://{}", lab.at.http);
    assert_eq!(discovery["issuer"], issuer);
    assert_eq!(discovery["jwks_uri"], format!("{issuer}/jwks.json"));
    let keys = http("/jwks.json")?;
    ensure!(keys.header("cache-control") == Some("public, max-age=300"), "{keys:?}");
    let keys = keys.json()?;
    assert_eq!((&keys["keys"][0]["kty"], &keys["keys"][0]["alg"]), (&"OKP".into(), &"EdDSA".into()));
    ensure!(keys["keys"][0]["d"].is_null() && keys["keys"].as_array().is_some_and(|keys| keys.len() == 1));
    Ok(())
}
