//! A small machine, and servers that can be killed: each has a runtime of its own, which is torn down with everything
//! on it.

// Every test file is a crate of its own and uses a part of this; a failed unwrap is a failed test.
#![allow(dead_code, unused_imports, clippy::unwrap_used)]

mod ledger;
mod proxy;
mod server;

pub(crate) use ledger::Ledger;
pub(crate) use proxy::Proxy;
pub(crate) use server::{Plan, Server, eventually};
