//! Executable proofs of the operator contract, run against real binaries.

fn main() {}
