//! The rotation of the key that signs tokens, from its addition to its end.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use holdfast_testkit::wait_until;
use serde::Serialize;
use serde_json::Value;

use super::{Entry, LEEWAY, List, Plane, SLACK, Token, text};
use crate::{
    contract::Refusal,
    lane::{Check, Run},
    members::PATIENCE,
};

pub(crate) const CHECK: Check = Check {
    id: "signing-key-rotation",
    requirement: "A new signing key takes over on three servers: what the old one signed is good on all of them to its \
                  end and refused after it, and the old key cannot be retired before, but then goes.",
    run: prove,
};

const DOC: &str = "deploy/runbooks/signing-key-rotation.md#step-by-step";
const KEYS: List = List { words: "key list", rows: "keys", id: "kid" };
const TOKEN: Duration = Duration::from_secs(10);
const WINDOWS: [&str; 5] =
    ["token_ttl_s: 10", "max_token_ttl_s: 10", "jwks_cache_s: 4", "stale_limit_s: 10", "key_retirement_s: 4"];
const OWNER: &str = "service/ci";

#[derive(Debug, Serialize)]
struct Evidence<'a> {
    windows: &'a [&'a str],
    old_key: &'a str,
    new_key: &'a str,
    /// Steps that were refused before their time, and in which words.
    early: Vec<Early>,
    /// After the end of the old token, by server: when it was refused first.
    refused_after_end_ms: Vec<u128>,
    journal: &'a [Entry],
}

#[derive(Debug, Serialize)]
struct Early {
    step: &'static str,
    said: String,
}

fn prove(run: &Run<'_>) -> Result<()> {
    run.in_folder(|folder| {
        let mut plane = Plane::start(run, folder, &WINDOWS)?;
        plane.told(0, &format!("principal create {OWNER}"))?;
        plane.told(0, &format!("grant {OWNER} reader"))?;
        let first = text(&plane.told(0, KEYS.words)?["keys"][0]["kid"])?;
        let mut early = Vec::new();

        let second = text(&plane.told(1, "key add")?["kid"])?;
        plane.settled(&KEYS, &[(&first, "active"), (&second, "pending")])?;
        let both = BTreeSet::from([first.clone(), second.clone()]);
        plane.everywhere(true, |at| Ok(published(&plane, at)? == both))?;
        plane.note("the new key is published by every server, and signs nothing");
        let activate = format!("key activate {second}");
        early.push(too_early(&plane, "activate", &activate)?);

        let old = wait_until(PATIENCE, "the key to be activated", || {
            // Issued at the last moment, so that the overlap is as long as it can be.
            let token = plane.token(0, OWNER)?;
            let ended = plane.iam(2, &activate)?.run()?;
            Ok(if ended.code == Some(super::WRONG_STATE) { None } else { Some((token, ended.expect(0)?)) })
        })?
        .0;
        ensure!(old.kid == first, "signed by {} instead of {first}", old.kid);
        plane.settled(&KEYS, &[(&first, "verify-only"), (&second, "active")])?;
        let new = plane.token(0, OWNER)?;
        ensure!(new.kid == second, "signed by {} instead of {second}", new.kid);
        plane.everywhere(true, |at| Ok(plane.accepts(at, &old)? && plane.accepts(at, &new)?))?;
        plane.note("the new key signs; tokens of both are good on every server");

        let retire = format!("key retire {first}");
        early.push(too_early(&plane, "retire", &retire)?);
        let refused_after_end_ms = until_refused(&plane, &old)?;
        plane.note("the old token was good to its end, and is refused by every server");
        plane.step_in_time(1, &retire, TOKEN + LEEWAY + SLACK)?;
        ensure!(SystemTime::now() >= old.expires + LEEWAY, "retired while a token of it could be good");
        plane.settled(&KEYS, &[(&first, "retired"), (&second, "active")])?;
        plane.everywhere(true, |at| Ok(published(&plane, at)? == BTreeSet::from([second.clone()])))?;
        plane.note("the old key is retired and published no more");
        early.push(too_early(&plane, "purge", &format!("key purge {first}"))?);
        plane.step_in_time(0, &format!("key purge {first}"), PATIENCE)?;
        plane.settled(&KEYS, &[(&second, "active")])?;
        let last = plane.token(2, OWNER)?;
        plane.everywhere(true, |at| plane.accepts(at, &last))?;
        plane.note("the old key is purged, and the new one goes on");

        contract(run, &early, &first, &second);
        let (old_key, new_key, journal) = (first.as_str(), second.as_str(), plane.journal.as_slice());
        run.keep(
            "signing-key-rotation.json",
            &Evidence { windows: &WINDOWS, old_key, new_key, early, refused_after_end_ms, journal },
        )
    })
}

/// A step before its time is refused, and says when that is.
fn too_early(plane: &Plane, step: &'static str, words: &str) -> Result<Early> {
    let said = plane.refused(2, words)?;
    ensure!(said.contains("becomes possible in"), "{words:?} does not say when: {said}");
    Ok(Early { step, said })
}

/// Asks every server until it refuses the token, which none may do before its end.
fn until_refused(plane: &Plane, token: &Token) -> Result<Vec<u128>> {
    let mut after_ms = Vec::new();
    for at in 0..plane.servers.len() {
        let refused = wait_until(TOKEN + LEEWAY + SLACK, "the old token to be refused", || {
            let asked = SystemTime::now();
            let accepted = plane.accepts(at, token)?;
            ensure!(accepted || asked >= token.expires, "server {at} refuses a token before its end");
            Ok((!accepted).then_some(asked))
        })?;
        after_ms.push(refused.duration_since(token.expires)?.as_millis());
    }
    Ok(after_ms)
}

/// Names of the keys that any verifier gets from a server.
fn published(plane: &Plane, at: usize) -> Result<BTreeSet<String>> {
    let page: Value = serde_json::from_slice(&plane.anybody(at)?.get("/jwks.json")?.body)?;
    let keys = page["keys"].as_array().context("no keys")?;
    keys.iter().map(|key| text(&key["kid"])).collect()
}

/// The steps are supported, and refused before their time.
fn contract(run: &Run<'_>, early: &[Early], first: &str, second: &str) {
    let mut contract = run.contract.borrow_mut();
    for step in ["add", "activate", "retire", "purge"] {
        contract.supports(run.line(&format!("iam.signing-key.{step}"), format!("florctl iam key {step}"), DOC));
    }
    for Early { step, said } in early {
        let message = super::timeless(&said.replace(first, "KEY").replace(second, "KEY"));
        let line =
            run.line(&format!("iam.signing-key.{step}-early"), format!("florctl iam key {step} before its time"), DOC);
        contract.refuses(line, Refusal::exit(super::WRONG_STATE, message));
    }
}
