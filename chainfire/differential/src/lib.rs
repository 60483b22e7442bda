//! The differential test: the same seeded operations on a real etcd and on chainfire, every answer compared.
//!
//! - `random`, `operation`, `generate`: what is asked. Pure: a seed and what is known of the store's revisions give the
//!   next operation.
//! - `session`: asks one server; `answer`: what it said, in the form in which two servers can be compared.
//! - `brief`: large values in few words.
//! - `allowed`: the committed list of differences that are meant, each with its section of the specification.
//! - `run`: one operation after the other until the end or the first difference; `shrink`: fewer operations that show it.
//! - `lane`, `servers`: the releases of etcd that are references, and starting a pair of servers.
//!
//! Compared are whole messages, revisions in headers included. Not compared are ids of clusters and members, Raft
//! terms, ids that a server chooses, the order of lists that etcd leaves open, and seconds that have passed.

mod allowed;
mod answer;
mod brief;
mod generate;
mod lane;
mod operation;
mod random;
mod run;
mod servers;
mod session;
mod shrink;

pub use lane::Lane;
pub use run::{Disagreement, Plan, Summary, run};
pub use servers::Pair;
pub use shrink::shrink;
