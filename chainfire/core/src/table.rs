//! The tables of chainfire's state. Names and layouts are part of the stored format: a table whose rows change their
//! layout gets a new name.

use holdfast_keyspace::{Residence, Table};

use crate::kv::VERSION_BYTES;

/// Counters and single records, by name; see `meta`.
pub const META: Table = Table::residing("meta", Residence::Whole);
/// Revision (8 bytes, `_`, 8 bytes; `t` follows for a deletion) -> `KeyValue` message, as etcd's own rows.
pub const ROWS: Table = Table::residing("kv.rows", Residence::Recent);
/// Escaped key, then revision in descending order -> what the key was at that revision, without its value.
pub const INDEX: Table = Table::residing("kv.index", Residence::Versions { suffix: VERSION_BYTES });
/// Revision (8 bytes) -> Unix time in milliseconds (8 bytes).
pub const TIMES: Table = Table::new("kv.times");
/// Lease id -> frame of `Lease`.
pub const LEASES: Table = Table::new("leases");
/// Lease id, key -> nothing.
pub const LEASE_KEYS: Table = Table::new("lease.keys");
/// Lease id -> frame of the seconds that it still ran when the leader last said so.
pub const LEASE_REMAINING: Table = Table::new("lease.remaining");
/// Lineage ordinal, log index, sub -> frame of `JournalRecord`.
pub const JOURNAL: Table = Table::new("journal");
/// Key -> frame of revision and value.
pub const SYSTEM: Table = Table::new("system");
/// Lock groups and lock holders.
pub const LOCKS: Table = Table::new("locks");
/// Users and roles of etcd's own authentication.
pub const AUTH: Table = Table::new("auth");

/// What the etcd API changes.
pub const USER: &[Table] = &[ROWS, INDEX, TIMES, LEASES, LEASE_KEYS, LEASE_REMAINING];

/// All of them: the column families that a server opens.
pub const ALL: &[Table] =
    &[META, ROWS, INDEX, LEASES, LEASE_KEYS, JOURNAL, SYSTEM, LOCKS, AUTH, LEASE_REMAINING, TIMES];
