use holdfast_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, RangeRequest, RequestOp, TxnRequest, compare::TargetUnion, request_op::Request,
};

use super::{Horizon, delete, keys, leases, put, range, revision};
use crate::random::Random;

/// How deep transactions are nested at most.
const DEPTH: u32 = 3;

pub(crate) fn txn(random: &mut Random, horizon: Horizon) -> TxnRequest {
    match random.below(10) {
        0 => create(random),
        1 => read_only(random, horizon),
        _ => {
            let mut txn = nested(random, horizon, 0);
            if puts(&txn) {
                close(&mut txn);
            }
            txn
        }
    }
}

fn ops(txn: &TxnRequest) -> impl Iterator<Item = &Request> {
    txn.success.iter().chain(&txn.failure).filter_map(|op| op.request.as_ref())
}

fn puts(txn: &TxnRequest) -> bool {
    ops(txn).any(|op| match op {
        Request::RequestPut(_) => true,
        Request::RequestTxn(inner) => puts(inner),
        Request::RequestRange(_) | Request::RequestDeleteRange(_) => false,
    })
}

/// Leaves out what etcd overlooks (see [`crate::allowed::LEFT_OUT`]): deletions of all keys that follow one, and
/// deletions in a nested transaction behind another one of the same branch.
fn close(txn: &mut TxnRequest) {
    for branch in [&mut txn.success, &mut txn.failure] {
        let mut behind = false;
        for op in branch.iter_mut().filter_map(|op| op.request.as_mut()) {
            match op {
                Request::RequestDeleteRange(delete) if delete.range_end == b"\0"[..] => delete.range_end.clear(),
                Request::RequestTxn(inner) => {
                    close(inner);
                    if std::mem::replace(&mut behind, true) {
                        read_instead(inner);
                    }
                }
                Request::RequestDeleteRange(_) | Request::RequestPut(_) | Request::RequestRange(_) => {}
            }
        }
    }
}

/// Makes every deletion a range.
fn read_instead(txn: &mut TxnRequest) {
    for op in txn.success.iter_mut().chain(&mut txn.failure).filter_map(|op| op.request.as_mut()) {
        match op {
            Request::RequestDeleteRange(DeleteRangeRequest { key, range_end, .. }) => {
                let (key, range_end) = (std::mem::take(key), std::mem::take(range_end));
                *op = Request::RequestRange(RangeRequest { key, range_end, ..Default::default() });
            }
            Request::RequestTxn(inner) => read_instead(inner),
            Request::RequestPut(_) | Request::RequestRange(_) => {}
        }
    }
}

/// What most clients do: put if absent, else read.
fn create(random: &mut Random) -> TxnRequest {
    let mut put = put(random);
    (put.ignore_value, put.ignore_lease) = (false, false);
    let key = put.key.clone();
    let absent =
        Compare { key: key.clone(), target: 2, target_union: Some(TargetUnion::ModRevision(0)), ..Default::default() };
    let get = RangeRequest { key, ..Default::default() };
    TxnRequest {
        compare: vec![absent],
        success: vec![op(Request::RequestPut(put))],
        failure: vec![op(Request::RequestRange(get))],
    }
}

fn read_only(random: &mut Random, horizon: Horizon) -> TxnRequest {
    let get = |random: &mut Random| op(Request::RequestRange(range(random, horizon)));
    TxnRequest {
        compare: random.several(2, |random| compare(random, horizon)),
        success: random.several(3, get),
        failure: random.several(3, get),
    }
}

fn nested(random: &mut Random, horizon: Horizon, depth: u32) -> TxnRequest {
    // Seldom more than the servers allow, to meet that limit, too.
    let most = if random.once_in(40) { 10 } else { 3 };
    TxnRequest {
        compare: random.several(most, |random| compare(random, horizon)),
        success: random.several(most, |random| any_op(random, horizon, depth)),
        failure: random.several(most, |random| any_op(random, horizon, depth)),
    }
}

fn any_op(random: &mut Random, horizon: Horizon, depth: u32) -> RequestOp {
    match random.below(40) {
        0..=12 => {
            let mut range = range(random, horizon);
            // A range that is refused refuses the whole transaction: mostly not.
            if !random.once_in(6) {
                range.revision = 0;
            }
            op(Request::RequestRange(range))
        }
        13..=25 => op(Request::RequestPut(put(random))),
        26..=33 => op(Request::RequestDeleteRange(delete(random))),
        34..=38 if depth < DEPTH => op(Request::RequestTxn(nested(random, horizon, depth + 1))),
        39 if random.once_in(3) => RequestOp { request: None },
        _ => op(Request::RequestPut(put(random))),
    }
}

/// Any relation to any target, of one key or of a range; the operand is sometimes missing or another target's, and
/// relation and target are sometimes unknown.
fn compare(random: &mut Random, horizon: Horizon) -> Compare {
    let (key, range_end) =
        if random.once_in(3) { keys::selection(random) } else { (keys::key(random), Default::default()) };
    let target = random.weighted(&[(3, 0), (3, 1), (3, 2), (3, 3), (3, 4), (1, 5)]);
    let of = if random.once_in(12) { random.pick(&[0, 1, 2, 3, 4, 5]) } else { target };
    let target_union = match of {
        0 => Some(TargetUnion::Version(random.pick(&[0, 1, 2, 3, -1]))),
        1 => Some(TargetUnion::CreateRevision(revision(random, horizon))),
        2 => Some(TargetUnion::ModRevision(revision(random, horizon))),
        3 => Some(TargetUnion::Value(keys::value(random))),
        4 => Some(TargetUnion::Lease(leases::of_a_put(random))),
        _ => None,
    };
    let result = random.weighted(&[(4, 0), (4, 1), (4, 2), (4, 3), (1, 4)]);
    Compare { result, target, key, range_end, target_union }
}

fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}
