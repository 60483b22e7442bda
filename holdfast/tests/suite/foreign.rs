//! Clients in another language, with libraries that everybody uses: nothing of ours is between them and the servers.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use holdfast_testkit::client;
use serde_json::Value;

use crate::{
    plane::Plane,
    programs::{Said, run_with},
    tokens,
};

/// What the tokens of these servers are for.
const AUDIENCE: &str = "holdfast";

/// Runs a program of `tests/python`; none where its libraries are not installed.
fn python(program: &str, arguments: &[&str], ca: &Path, input: &str) -> Result<Option<Said>> {
    let Some(interpreter) = client("holdfast-python")? else { return Ok(None) };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    let (first, rest) = arguments.split_first().context("where the server is")?;
    let mut command = Command::new(interpreter);
    command.arg(folder.join(program)).arg(first).arg(ca).args(rest);
    run_with(command, input).map(Some)
}

#[test]
fn a_stock_verifier_accepts_tokens_through_discovery() -> Result<()> {
    let Some(plane) = Plane::start(1, &["token_ttl_s: 600", "jwks_cache_s: 1"])? else { return Ok(()) };
    let issuer = format!("https://{}", plane.endpoints(0)?.http);
    let verify = |token: &str, audience| python("verify.py", &[&issuer, audience], &plane.ca, token);
    plane.admin(0, "principal create service/ci")?;
    plane.admin(0, "grant service/ci reader")?;

    let old = plane.token(0, "service/ci")?;
    let Some(said) = verify(&old.token, AUDIENCE)? else { return Ok(()) };
    let claims: Value = serde_json::from_str(&said.good()?)?;
    ensure!(claims["sub"] == "spiffe://testkit/service/ci" && claims["iss"] == issuer.as_str(), "{claims}");

    // A new key signs, and the old one's tokens are as good as before; of both algorithms.
    let added = plane.admin(0, "key add --algorithm ES256")?;
    plane.admin(0, &format!("key activate --now {}", added["kid"].as_str().context("its name")?))?;
    let new = plane.token(0, "service/ci")?;
    ensure!(new.kid != old.kid);
    for token in [&old, &new] {
        ensure!(verify(&token.token, AUDIENCE)?.is_some_and(|said| said.code == Some(0)));
    }

    let (header, claims) = tokens::opened(&new.token)?;
    let admin = tokens::with(&claims, "sub", "spiffe://testkit/user/admin");
    let signature = new.token.rsplit('.').next().context("a signature")?;
    let altered = tokens::unsigned(&admin).trim_end_matches('.').to_owned() + "." + signature;
    let forged = tokens::Forger::stranger()?.sign(&tokens::with(&header, "alg", "EdDSA"), &admin);
    let refused = [
        (altered, AUDIENCE),
        (tokens::unsigned(&admin), AUDIENCE),
        (forged, AUDIENCE),
        (new.token.clone(), "somebody-else"),
    ];
    for (token, audience) in refused {
        let said = verify(&token, audience)?.context("it was there before")?;
        ensure!(said.code == Some(3), "{said:?}");
    }
    Ok(())
}

#[test]
fn a_stock_client_rotates_its_credential() -> Result<()> {
    let Some(plane) = Plane::start(1, &[])? else { return Ok(()) };
    plane.admin(0, "principal create service/ci")?;
    plane.admin(0, "grant service/ci reader")?;
    let made = plane.admin(0, "credential create service/ci")?;
    let text = |name: &str| made[name].as_str().map(str::to_owned).with_context(|| format!("no {name} in {made}"));
    let old = format!("{}:{}", text("access_key_id")?, text("secret")?);

    let api = plane.endpoints(0)?.api;
    let Some(said) = python("rotate_credential.py", &[&api], &plane.ca, &old)? else { return Ok(()) };
    let new = said.good()?;
    let (id, _) = new.trim().split_once(':').context("an id and a secret")?;
    let listed = plane.admin(0, "credential list service/ci")?;
    let keys = listed.as_array().context("a list")?;
    let live: Vec<_> = keys.iter().filter(|key| key["revoked"] == false).map(|key| &key["access_key_id"]).collect();
    ensure!(live == [id], "{listed}");
    Ok(())
}
