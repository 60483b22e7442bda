//! Principals, roles, policy, keys and tokens, pure: time and entropy are arguments.
