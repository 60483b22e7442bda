//! A simulation of whole clusters: openraft itself, our log, our rejoin, our wire formats and chainfire's own commands,
//! on one thread with a clock that jumps and chance that follows from a seed. Servers crash and lose what they had not
//! synced, disks hang and are lost, links are late, lossy and cut. What must stay true is in [`invariants`], each in a file.
//!
//! `cargo xtask sim --seeds N` runs many seeds; a seed that fails is printed with its trace, and happens again exactly.
//! That the simulation would notice is tested too: with votes that are forgotten, syncs that nobody awaits, and disks
//! that come back under their old name, and others, it must find the bug (§0 "How it is tested").

mod chance;
mod clients;
mod disk;
mod hung;
mod invariants;
mod lessor;
mod machine;
mod network;
mod record;
mod server;
mod tests;
mod world;

use self::{record::Record, world::World};
use crate::runtime::Runtime;

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    Nothing,
    /// Votes do not survive a crash.
    VotesAreForgotten,
    /// Appends and votes are answered for before they are on disk.
    SyncsAreNotAwaited,
    /// A server that lost its disk takes part again as if nothing had happened.
    OldNameAfterLostDisk,
    /// A leader that restarts in its old term leads on.
    LeadershipIsRestored,
    /// Watchers do not hear that a snapshot has replaced a server's state.
    RestoresAreNotTold,
    /// A new leader does not know how long the leases that it finds may still run, and guesses.
    LeasesAreNotExtended,
    /// A leader whose disk hangs leads on.
    HungLeadersStay,
}

/// What goes wrong in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Whatever the seed says.
    Any,
    /// The disk of whoever leads hangs, then all disks, then none.
    HungDisks,
}

/// What kind of run it is; the seed decides the rest.
#[derive(Clone, Copy, Debug)]
struct Kind {
    sabotage: Sabotage,
    /// 3 or 5 servers; without it the seed chooses.
    members: Option<u16>,
    trouble: Trouble,
}

impl Kind {
    /// Nothing is broken.
    const HONEST: Self = Self { sabotage: Sabotage::Nothing, members: None, trouble: Trouble::Any };
}

/// What became of one run.
struct Outcome {
    violation: Option<String>,
    trace: Vec<String>,
    reached: Reached,
}

/// How far a run went: a run in which nothing happens proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reached {
    terms: usize,
    writes: usize,
    events: usize,
    leases: usize,
    rejoins: usize,
    snapshots: usize,
    step_downs: usize,
}

impl Reached {
    fn add(&mut self, other: Self) {
        self.terms += other.terms;
        self.writes += other.writes;
        self.events += other.events;
        self.leases += other.leases;
        self.rejoins += other.rejoins;
        self.snapshots += other.snapshots;
        self.step_downs += other.step_downs;
    }
}

/// One whole run. The same seed is the same run.
fn run(seed: u64, kind: Kind) -> Outcome {
    Runtime::seed(Some(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_be_bytes()))
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(async {
            let record = Record::new();
            World::new(seed, kind, record.clone()).run().await;
            outcome(&record)
        }),
        Err(error) => Outcome { violation: Some(error.to_string()), trace: Vec::new(), reached: Reached::default() },
    };
    Runtime::seed(None);
    outcome
}

fn outcome(record: &Record) -> Outcome {
    let (violation, trace) = (record.violation(), record.trace());
    let seen = record.lock();
    let reached = Reached {
        terms: seen.elections.terms(),
        writes: seen.writes.count(),
        events: seen.watches.events(),
        leases: seen.leases.ended(),
        rejoins: seen.rejoins,
        snapshots: seen.snapshots,
        step_downs: seen.step_downs,
    };
    Outcome { violation, trace, reached }
}
