//! What happened is in `audit.events`, with who did it and how it went, exactly once, also over a restart: changes from
//! the replicated journal, decisions that changed nothing from each server's own log.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::{
    http::Request,
    lab::{Caller, Lab, eventually},
};

/// The one row of an event, once it is there.
async fn row(api: &Caller, action: &str, resource: &str, outcome: &str) -> Result<serde_json::Value> {
    let sql = format!(
        "SELECT actor, authenticated_by, service, source IS NOT NULL, stream LIKE 'decisions/%', count \
         FROM audit.events WHERE action = '{action}' AND resource = '{resource}' AND outcome = '{outcome}'"
    );
    let what = format!("{action} on {resource} in the history");
    let rows = eventually(&what, || async {
        let rows = api.rows(&sql).await?;
        Ok((!rows.is_empty()).then_some(rows))
    })
    .await?;
    ensure!(rows.len() == 1, "{action} on {resource}: {rows:?}");
    Ok(rows[0].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_and_denials_once_over_a_restart() -> Result<()> {
    let mut lab = Lab::start()?;
    let api = lab.api()?;
    api.put("seen", "value").await?;
    let rita = api.principal("user/rita", "reader").await?;
    let denied = Request::post("/publish", "{}").bearer(&rita).send(&lab.at.http)?;
    denied.expect(403, "error", "permission_denied")?;
    let lock = r#"{"client_params":{"id":"a","group":"default"}}"#;
    let lock = Request::post("/v1/pre-reboot", lock).header("fleet-lock-protocol", "true").send(&lab.at.http)?;
    ensure!(lock.status == 200);

    let mut seen = Vec::new();
    let put = row(&api, "kv.Put", "key/seen", "done").await?;
    ensure!(put == json!(["bootstrap/admin", "bootstrap-token", "kv", true, false, 1]), "{put}");
    seen.push(put);
    let created = row(&api, "iam.PrincipalCreate", "user/rita", "done").await?;
    ensure!(created[0] == "bootstrap/admin" && created[4] == false, "{created}");
    seen.push(created);
    let refused = row(&api, "config.Publish", "versions/*", "denied").await?;
    ensure!(refused[0] == "user/rita" && refused[1] == "token" && refused[4] == true, "{refused}");
    seen.push(refused);
    let issued = row(&api, "iam.TokenIssue", "user/rita", "done").await?;
    ensure!(issued[4] == true, "{issued}");
    seen.push(issued);
    seen.push(row(&api, "lock.Acquire", "lock/default/a", "done").await?);

    // The same over HTTP.
    let audit = |query: &str, token: &str| Request::get(&format!("/audit{query}")).bearer(token).send(&lab.at.http);
    let page = audit("?action=config.*&limit=1000", &lab.token)?.json()?;
    let events = page["events"].as_array().context("events")?;
    let denied = events.iter().find(|event| event["action"] == "config.Publish").context("a denied publish")?;
    ensure!(denied["actor"] == "user/rita" && denied["outcome"] == "denied" && page["more"] == false, "{page:#}");
    ensure!(events.iter().all(|event| event["action"].as_str().is_some_and(|word| word.starts_with("config."))));
    let later = audit("?since=2999-01-01T00:00:00Z", &lab.token)?.json()?;
    ensure!(later == json!({ "events": [], "more": false }), "{later}");
    let first = audit("?limit=1&local=true", &lab.token)?.json()?;
    ensure!(first["events"].as_array().is_some_and(|events| events.len() == 1) && first["more"] == true, "{first}");
    for bad in ["?since=yesterday", "?limit=0", "?limit=x", "?action=%25", "?until=1", "?limit=1&limit=2"] {
        let answer = audit(bad, &lab.token)?;
        ensure!(answer.status == 400, "{bad}: {answer:?}");
    }
    audit("", &rita)?.expect(403, "error", "permission_denied")?;

    // A kill comes between what was shipped and what both sides know about it.
    lab.server.kill()?;
    lab.server.start_again()?;
    lab.server.wait_ready()?;
    let lab = Lab::of(lab.server)?;
    let api = lab.api()?;
    api.put("seen/later", "value").await?;
    row(&api, "kv.Put", "key/seen/later", "done").await?;
    api.nothing_twice().await?;
    let again = [
        row(&api, "kv.Put", "key/seen", "done").await?,
        row(&api, "iam.PrincipalCreate", "user/rita", "done").await?,
        row(&api, "config.Publish", "versions/*", "denied").await?,
        row(&api, "iam.TokenIssue", "user/rita", "done").await?,
        row(&api, "lock.Acquire", "lock/default/a", "done").await?,
    ];
    ensure!(seen == again, "{seen:?} became {again:?}");
    Ok(())
}

/// Neither the bearer of a wrong token nor the history shows the token.
#[tokio::test(flavor = "multi_thread")]
async fn a_guess_is_recorded_without_what_was_guessed() -> Result<()> {
    let lab = Lab::start()?;
    let guess = "a-guess-that-nobody-should-read-again";
    Request::get("/versions").bearer(guess).send(&lab.at.http)?.expect(401, "error", "authentication_failed")?;
    let api = lab.api()?;
    eventually("the guess in the history", || async {
        let rows = api.rows("SELECT * FROM audit.events WHERE outcome = 'denied'").await?;
        ensure!(!format!("{rows:?}").contains(guess), "{rows:?}");
        Ok((!rows.is_empty()).then_some(()))
    })
    .await?;
    ensure!(!lab.server.log_tail().contains(guess));
    Ok(())
}
