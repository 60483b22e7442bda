//! Garbage that is nearly right, at every parser that strangers reach: tokens, certificates, requests, policies. Nothing
//! panics, and nothing that was changed counts.
//!
//! Each test runs for `HOLDFAST_FUZZ_S` seconds (1 if it is not set) from the seed `HOLDFAST_FUZZ_SEED` (by the clock if it
//! is not set); a failure names the seed and the round.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod certificates;
mod mutate;
mod policies;
mod tokens;
