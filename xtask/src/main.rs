//! cargo xtask: demo, test, ci and proofs.

fn main() {}
