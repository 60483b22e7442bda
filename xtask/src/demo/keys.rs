//! A new signing key takes over, and no token stops working.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{Step, http, screen::ensure, world::World};

pub(super) const STEPS: &[Step] = &[Step { title: "Rotate the key that signs tokens, with overlap", run: rotate }];

const USER: &str = "user/ada";
const NOT_IN_THIS_STATE: i32 = 8;

fn rotate(world: &mut World) -> Result<()> {
    fs::create_dir_all(world.folder.join("tokens"))?;
    world.tell("florctl", &format!("iam principal create {USER}"))?;
    world.tell("florctl", &format!("iam grant {USER} operator"))?;
    world.tell("florctl", &format!("iam token issue {USER} --out tokens/before"))?;
    let old = active(&keys(world)?).context("no key is active")?;

    world.tell("florctl", "iam key add")?;
    let new = keys(world)?
        .iter()
        .find(|key| key["state"] == "pending")
        .and_then(|key| key["kid"].as_str().map(str::to_owned))
        .context("no key is pending")?;
    world.tell("florctl", &format!("iam key activate {new} --now"))?;
    ensure(active(&keys(world)?).as_deref() == Some(new.as_str()), "the new key signs")?;
    world.tell("florctl", &format!("iam token issue {USER} --out tokens/after"))?;

    let published = published(world)?;
    ensure(published.contains(&old) && published.contains(&new), "verifiers find both keys")?;
    for token in ["before", "after"] {
        let program = world.florctl().words(&format!("--token-file tokens/{token} iam whoami"));
        world.tell_program(program, 0)?;
    }
    world.screen.fact("a token of the old key and one of the new key both work");

    world.tell_program(world.florctl().words(&format!("iam key retire {old}")), NOT_IN_THIS_STATE)?;
    world.screen.fact("the old key cannot be retired while a token of it can be valid");
    Ok(())
}

fn keys(world: &World) -> Result<Vec<Value>> {
    let listed = world.florctl().words("iam key list").quietly("-o json").run()?.expect(0)?.json()?;
    listed["keys"].as_array().cloned().context("florctl lists no keys")
}

fn active(keys: &[Value]) -> Option<String> {
    keys.iter().find(|key| key["state"] == "active").and_then(|key| key["kid"].as_str().map(str::to_owned))
}

/// The key ids that any verifier can fetch.
fn published(world: &mut World) -> Result<Vec<String>> {
    let address = world.endpoints()?.http;
    world.screen.command(&format!("curl http://{address}/jwks.json"));
    let answer = http::request(&address, "GET", "/jwks.json", &[], "")?;
    world.screen.answer(&answer.body);
    let set: Value = serde_json::from_str(&answer.body).context("the key set is not JSON")?;
    let keys = set["keys"].as_array().context("the key set has no keys")?;
    Ok(keys.iter().filter_map(|key| key["kid"].as_str().map(str::to_owned)).collect())
}
