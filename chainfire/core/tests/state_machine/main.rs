//! The state machine as a whole: commands in, answers, effects and reads out. Each test is named after the rule that
//! it keeps.
#![allow(clippy::unwrap_used, reason = "a step that fails ends its test")]

mod alarms;
mod auth;
mod cluster;
mod compaction;
mod formats;
mod journal;
mod leases;
mod locks;
mod model;
mod past;
mod puts;
mod ranges;
mod records;
mod restores;
mod revisions;
mod rights;
mod scripts;
mod store;
mod txns;
