//! What is asked next. Keys, leases and revisions come from small pools, so that operations meet each other.

mod keys;
mod leases;
mod txns;
mod users;
mod watches;

use holdfast_proto::etcdserverpb::{CompactionRequest, DeleteRangeRequest, HashKvRequest, PutRequest, RangeRequest};

use crate::{lane::Lane, operation::Operation, random::Random};

/// What is known of the reference, of its store from its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Horizon {
    pub(crate) lane: Lane,
    /// The newest revision.
    pub(crate) revision: i64,
    /// The newest compaction that was accepted.
    pub(crate) compacted: i64,
}

/// A seeded, endless sequence of operations.
#[derive(Debug)]
pub(crate) struct Generator {
    random: Random,
    /// What comes before anything random, backwards.
    first: Vec<Operation>,
    users: bool,
}

impl Generator {
    pub(crate) fn new(seed: u64, users: bool) -> Self {
        let first = if users { users::beginning().into_iter().rev().collect() } else { Vec::new() };
        Self { random: Random::new(seed), first, users }
    }

    pub(crate) fn next(&mut self, horizon: Horizon) -> Operation {
        if let Some(operation) = self.first.pop() {
            return operation;
        }
        if self.users {
            return users::any(&mut self.random, horizon);
        }
        let make = self.random.weighted(KINDS);
        make(&mut self.random, horizon)
    }
}

type Make = fn(&mut Random, Horizon) -> Operation;

/// Of a thousand operations, how many are of which kind.
const KINDS: &[(u32, Make)] = &[
    (250, |random, horizon| Operation::Range(range(random, horizon))),
    (250, |random, _| Operation::Put(put(random))),
    (90, |random, _| Operation::DeleteRange(delete(random))),
    (250, |random, horizon| Operation::Txn(txns::txn(random, horizon))),
    (12, |random, horizon| Operation::Compact(compaction(random, horizon))),
    (30, |random, horizon| Operation::HashKv(HashKvRequest { revision: revision(random, horizon) })),
    (110, |random, _| leases::lease(random)),
    (8, |random, horizon| Operation::Watch(watches::script(random, horizon))),
];

fn range(random: &mut Random, horizon: Horizon) -> RangeRequest {
    let (key, range_end) = keys::selection(random);
    // What a client of another release might send.
    let unknown = u32::from(horizon.lane.refuses_nonsense());
    let bound = |random: &mut Random| if random.once_in(8) { revision(random, horizon) } else { 0 };
    RangeRequest {
        key,
        range_end,
        limit: random.weighted(&[(5, 0), (1, 1), (1, 2), (1, 5), (1, 100), (1, -1)]),
        revision: if random.once_in(2) { revision(random, horizon) } else { 0 },
        sort_order: random.weighted(&[(6, 0), (3, 1), (3, 2), (unknown, 3)]),
        sort_target: random.weighted(&[(8, 0), (2, 1), (2, 2), (2, 3), (2, 4), (unknown, 5)]),
        serializable: random.once_in(4),
        keys_only: random.once_in(5),
        count_only: random.once_in(8),
        min_mod_revision: bound(random),
        max_mod_revision: bound(random),
        min_create_revision: bound(random),
        max_create_revision: bound(random),
    }
}

fn put(random: &mut Random) -> PutRequest {
    let ignore_value = random.once_in(8);
    let ignore_lease = random.once_in(8);
    PutRequest {
        key: keys::key(random),
        value: if ignore_value && !random.once_in(4) { Default::default() } else { keys::value(random) },
        lease: if ignore_lease && !random.once_in(4) { 0 } else { leases::of_a_put(random) },
        prev_kv: random.once_in(2),
        ignore_value,
        ignore_lease,
    }
}

fn delete(random: &mut Random) -> DeleteRangeRequest {
    let (key, range_end) = keys::selection(random);
    DeleteRangeRequest { key, range_end, prev_kv: random.once_in(2) }
}

fn compaction(random: &mut Random, horizon: Horizon) -> CompactionRequest {
    let recent = horizon.revision - i64::from(random.below(60));
    let revision = if random.once_in(4) { revision(random, horizon) } else { recent };
    let physical = random.once_in(2) || !horizon.lane.hashes_while_it_compacts();
    CompactionRequest { revision, physical }
}

/// A revision of interest: the newest, recent ones, the edges of what is readable, and beyond.
fn revision(random: &mut Random, horizon: Horizon) -> i64 {
    let near = i64::from(random.below(20));
    let Horizon { revision, compacted, .. } = horizon;
    random.weighted(&[
        (4, 0),
        (1, -1),
        (1, -near),
        (8, revision - near),
        (2, revision),
        (1, revision + 1),
        (1, revision + near),
        (2, compacted),
        (1, compacted - 1),
        (2, compacted + near),
        (1, near),
        (1, i64::MAX),
    ])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn first(seed: u64, count: usize) -> Vec<Operation> {
        let mut generator = Generator::new(seed, false);
        (0..count).map(|_| generator.next(Horizon { lane: Lane::V3_6, revision: 500, compacted: 400 })).collect()
    }

    #[test]
    fn a_seed_and_a_horizon_give_the_operations() {
        assert_eq!(first(1, 200), first(1, 200));
        assert_ne!(first(1, 200), first(2, 200));
    }

    #[test]
    fn every_kind_comes_soon() {
        let kinds: BTreeSet<String> = first(3, 2_000)
            .iter()
            .map(|operation| operation.to_string().split(['(', ' ']).next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(kinds.len(), 13, "{kinds:?}");
    }
}
