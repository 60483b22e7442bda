use std::time::Duration;

use chainfire_raft::Member;
use flaredb_sql::Limits;

/// How flaredb runs on one server.
#[derive(Clone, Debug)]
pub struct Config {
    /// This server's name.
    pub member: String,
    /// The membership that the server booted with; positions are slots.
    pub members: Vec<Member>,
    pub limits: Limits,
    /// How often the decision spool is looked at; the journal wakes its shipper by itself.
    pub decisions_every: Duration,
}

impl Config {
    /// Defaults for everything that is not about this server.
    pub fn new(member: impl Into<String>, members: Vec<Member>) -> Self {
        Self { member: member.into(), members, limits: Limits::default(), decisions_every: Duration::from_secs(1) }
    }
}
