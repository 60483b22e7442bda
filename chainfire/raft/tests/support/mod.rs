//! A small machine, and servers that can be killed: each has a runtime of its own, which is torn down with everything
//! on it.

// Every test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

mod ledger;
mod server;

pub use ledger::Ledger;
pub use server::{Plan, Server, eventually};
