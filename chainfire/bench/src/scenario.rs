use std::{fmt, time::Duration};

use crate::subject::Kind;

/// What is measured on each subject, in this order.
pub(crate) fn table(size: Size) -> Vec<Scenario> {
    let mut table = Vec::new();
    for value in [256, 4_096] {
        table.extend([1, 64, 1_000].map(|clients| Scenario { clients, value, load: Load::Put }));
    }
    for (keys, linearizable) in [(1, true), (1, false), (1_000, true), (1_000, false)] {
        table.push(Scenario { clients: 64, value: 256, load: Load::Range { keys, linearizable } });
    }
    table.extend([
        Scenario { clients: 64, value: 256, load: Load::Txn },
        Scenario { clients: 64, value: 256, load: Load::Mixed { watchers: size.watchers } },
        Scenario { clients: 16, value: 0, load: Load::KeepAlive { leases: size.leases, ttl: size.ttl } },
        Scenario { clients: 1, value: 256, load: Load::FanOut { watchers: size.fan_out } },
        Scenario { clients: 64, value: 256, load: Load::CatchUp { revisions: size.backlog } },
        Scenario { clients: 1, value: 256, load: Load::LeaderLoss { rounds: size.rounds } },
        Scenario { clients: 1, value: 256, load: Load::Start { keys: size.keys } },
        Scenario { clients: 1, value: 16_384, load: Load::Start { keys: size.large } },
    ]);
    table
}

/// The large numbers of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    watchers: usize,
    leases: usize,
    ttl: Duration,
    fan_out: usize,
    backlog: usize,
    rounds: usize,
    keys: usize,
    /// Keys with large values: 5 GB in full.
    large: usize,
}

impl Size {
    pub(crate) const FULL: Self = Self {
        watchers: 10_000,
        leases: 100_000,
        ttl: Duration::from_secs(60),
        fan_out: 1_000,
        backlog: 500_000,
        rounds: 9,
        keys: 1_000_000,
        large: 320_000,
    };
    pub(crate) const SMALL: Self = Self {
        watchers: 500,
        leases: 2_000,
        ttl: Duration::from_secs(5),
        fan_out: 100,
        backlog: 5_000,
        rounds: 3,
        keys: 20_000,
        large: 2_000,
    };
}

/// Bytes that the whole suite keeps of its users' pairs, which nothing raises.
const SUITE_QUOTA: usize = 2 << 30;

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scenario {
    /// Callers that each wait for their answer before they ask again.
    pub(crate) clients: usize,
    /// Bytes of a value.
    pub(crate) value: usize,
    pub(crate) load: Load,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Random keys of many.
    Put,
    /// A stretch of `keys` pairs at a random place.
    Range { keys: usize, linearizable: bool },
    /// If the key exists then put and get it, else get it.
    Txn,
    /// As many puts as reads of one key, while watchers are told of the puts.
    Mixed { watchers: usize },
    /// Renewals of these, as fast as they are answered, for longer than they live by themselves; how many are lost.
    KeepAlive { leases: usize, ttl: Duration },
    /// Puts of one key that everybody watches; an event that arrives counts.
    FanOut { watchers: usize },
    /// Random keys of many, while a watcher that is this many revisions behind catches up.
    CatchUp { revisions: usize },
    /// Time from a leader's sudden end to the next acknowledged put: the median of these.
    LeaderLoss { rounds: usize },
    /// Time from the start of a server that has these to its first linearizable answer, and the memory that it takes.
    Start { keys: usize },
}

impl Scenario {
    /// Whether so many members of this kind can be put to it.
    pub(crate) fn fits(&self, kind: Kind, members: usize) -> bool {
        match self.load {
            Load::Put | Load::Range { .. } | Load::Txn => true,
            _ if kind == Kind::Nothing => false,
            // Two members do not go on without one of them.
            Load::LeaderLoss { .. } => members >= 3,
            Load::Start { keys } => kind != Kind::Suite || keys * self.value < SUITE_QUOTA,
            Load::Mixed { .. } | Load::KeepAlive { .. } | Load::FanOut { .. } | Load::CatchUp { .. } => true,
        }
    }

    /// Whether it has servers of its own, which nothing was measured on before and nothing is afterwards.
    pub(crate) fn is_alone(&self) -> bool {
        match self.load {
            Load::KeepAlive { .. } | Load::CatchUp { .. } | Load::LeaderLoss { .. } | Load::Start { .. } => true,
            Load::Put | Load::Range { .. } | Load::Txn | Load::Mixed { .. } | Load::FanOut { .. } => false,
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clients, value, load } = self;
        match load {
            Load::Put => write!(formatter, "put {value} B, {clients} clients"),
            Load::Range { keys, linearizable } => {
                let how = if *linearizable { "linearizable" } else { "serializable" };
                write!(formatter, "range {keys} keys {how}, {clients} clients")
            }
            Load::Txn => write!(formatter, "txn, {clients} clients"),
            Load::Mixed { watchers } => write!(formatter, "mixed with {watchers} watchers, {clients} clients"),
            Load::KeepAlive { leases, .. } => write!(formatter, "keepalive of {leases} leases, {clients} streams"),
            Load::FanOut { watchers } => write!(formatter, "fan-out to {watchers} watchers"),
            Load::CatchUp { revisions } => write!(formatter, "catch-up of {revisions} revisions, {clients} clients"),
            Load::LeaderLoss { rounds } => write!(formatter, "leader loss, {rounds} rounds"),
            Load::Start { keys } => write!(formatter, "start with {keys} keys of {value} B"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_scenario_has_a_name_of_its_own() {
        for size in [Size::FULL, Size::SMALL] {
            let names: BTreeSet<_> = table(size).iter().map(Scenario::to_string).collect();
            assert_eq!(names.len(), table(size).len());
        }
    }

    #[test]
    fn what_cannot_be_asked_is_left_out() {
        let count = |kind, members| table(Size::FULL).iter().filter(|scenario| scenario.fits(kind, members)).count();
        let all = table(Size::FULL).len();
        assert_eq!((count(Kind::Etcd, 3), count(Kind::Etcd, 1), count(Kind::Suite, 3)), (all, all - 1, all - 1));
        assert_eq!(count(Kind::Nothing, 1), 11);
    }
}
