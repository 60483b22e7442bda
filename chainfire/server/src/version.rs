//! The etcd release whose behaviour clients may expect. They switch features on by these numbers.

/// Of `Status` and `/version`.
pub const SERVER: &str = "3.6.12";
/// The protocol level that all members share.
pub const CLUSTER: &str = "3.6.0";
/// The level of the stored schema.
pub const STORAGE: &str = "3.6.0";
