use holdfast_proto::etcdserverpb::WatchCreateRequest;

use super::{Horizon, delete, keys, put, txns};
use crate::{
    operation::{Operation, WatchStep},
    random::Random,
};

/// One to three watchers, writes before, between and after, and some cancellations.
pub(crate) fn script(random: &mut Random, horizon: Horizon) -> Vec<WatchStep> {
    let mut steps = Vec::new();
    for _ in 0..=random.below(3) {
        steps.extend(random.several(2, |random| write(random, horizon)));
        steps.push(WatchStep::Create(create(random, horizon)));
        steps.extend(random.several(3, |random| write(random, horizon)));
        if random.once_in(5) {
            steps.push(WatchStep::Cancel(id(random)));
        }
    }
    steps
}

fn write(random: &mut Random, horizon: Horizon) -> WatchStep {
    WatchStep::Write(match random.below(6) {
        0..=2 => Operation::Put(put(random)),
        3 => Operation::DeleteRange(delete(random)),
        _ => Operation::Txn(txns::txn(random, horizon)),
    })
}

fn create(random: &mut Random, horizon: Horizon) -> WatchCreateRequest {
    let (key, range_end) = keys::selection(random);
    let recent = (horizon.revision - i64::from(random.below(12))).max(1);
    let Horizon { revision, compacted, .. } = horizon;
    let past = (compacted - i64::from(random.below(3))).max(1);
    let future = revision + i64::from(random.below(8));
    let negative = u32::from(horizon.lane.refuses_nonsense());
    WatchCreateRequest {
        key,
        range_end,
        start_revision: random.weighted(&[
            (6, 0),
            (6, recent),
            (2, compacted),
            (2, past),
            (3, future),
            (negative, -1),
            (1, 1),
        ]),
        progress_notify: random.once_in(4),
        filters: random.pick(&[vec![], vec![], vec![], vec![0], vec![1], vec![0, 1], vec![1, 1]]),
        prev_kv: random.once_in(2),
        watch_id: id(random),
        fragment: random.once_in(4),
    }
}

/// Mostly the server's choice; else few, so that some are taken already.
fn id(random: &mut Random) -> i64 {
    random.weighted(&[(6, 0), (1, 1), (1, 2), (1, 7), (1, -3)])
}
