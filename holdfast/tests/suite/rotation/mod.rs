//! Everything that rotates, on three servers as operators run them: with real time, short lifetimes, the commands of the
//! runbooks, and servers that are killed meanwhile.

mod credential;
mod families;
mod mapping;
mod master_key;
mod offline_root;
mod open;
mod signing_key;
mod trust;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A text in an answer.
fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("{value} is no text"))
}
