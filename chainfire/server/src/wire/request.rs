//! Requests of the etcd API in the state machine's terms. A request with several faults gets the answer for the first
//! that etcd looks for, so checks and conversions take turns.

use bytes::Bytes;
use chainfire_core::{
    kv::{
        Compact, Compare, DeleteRange, Filters, Keys, Operand, Put, Range, Relation, Revision, SortOrder, SortTarget,
        Txn, TxnOp, check_keys, check_put, check_txn,
    },
    lease::LeaseId,
};
use holdfast_proto::etcdserverpb::{
    self as pb,
    compare::{CompareResult, CompareTarget, TargetUnion},
    range_request as sort,
    request_op::Request,
};

use crate::Error;

pub(crate) fn range(request: pb::RangeRequest) -> Result<Range, Error> {
    let keys = Keys::from_wire(request.key, request.range_end);
    check_keys(&keys)?;
    let order = sort::SortOrder::try_from(request.sort_order).map_err(|_| Error::InvalidSortOption)?;
    let target = sort::SortTarget::try_from(request.sort_target).map_err(|_| Error::InvalidSortOption)?;
    // 0 is "no bound" for all four; anything else is one, negative numbers included.
    let bound = |revision: i64| (revision != 0).then_some(Revision(revision));
    Ok(Range {
        keys,
        at: (request.revision > 0).then_some(Revision(request.revision)),
        limit: u64::try_from(request.limit).unwrap_or(0),
        sort_order: match order {
            sort::SortOrder::None => SortOrder::None,
            sort::SortOrder::Ascend => SortOrder::Ascend,
            sort::SortOrder::Descend => SortOrder::Descend,
        },
        sort_target: match target {
            sort::SortTarget::Key => SortTarget::Key,
            sort::SortTarget::Version => SortTarget::Version,
            sort::SortTarget::Create => SortTarget::Create,
            sort::SortTarget::Mod => SortTarget::Mod,
            sort::SortTarget::Value => SortTarget::Value,
        },
        filters: Filters {
            min_mod: bound(request.min_mod_revision),
            max_mod: bound(request.max_mod_revision),
            min_create: bound(request.min_create_revision),
            max_create: bound(request.max_create_revision),
        },
        keys_only: request.keys_only,
        count_only: request.count_only,
    })
}

/// A range that can be answered in parts, as they are read: in key order, without filters.
pub(crate) fn range_stream(request: pb::RangeRequest) -> Result<Range, Error> {
    let range = range(request)?;
    let natural = match (range.sort_order, range.sort_target) {
        (SortOrder::None, _) | (SortOrder::Ascend, SortTarget::Key) => true,
        (SortOrder::Ascend | SortOrder::Descend, _) => false,
    };
    if !natural {
        return Err(Error::Unimplemented("RangeStream does not support custom sort orders"));
    }
    if !range.filters.is_empty() {
        return Err(Error::Unimplemented("RangeStream does not support revision filters"));
    }
    Ok(range)
}

pub(crate) fn put(request: pb::PutRequest) -> Result<Put, Error> {
    let put = Put {
        key: request.key,
        value: request.value,
        lease: LeaseId(request.lease),
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    };
    check_put(&put)?;
    Ok(put)
}

pub(crate) fn delete_range(request: pb::DeleteRangeRequest) -> Result<DeleteRange, Error> {
    let keys = Keys::from_wire(request.key, request.range_end);
    check_keys(&keys)?;
    Ok(DeleteRange { keys, prev_kv: request.prev_kv })
}

/// A transaction of at most `max_ops` compares, and operations in each branch.
pub(crate) fn txn(request: pb::TxnRequest, max_ops: usize) -> Result<Txn, Error> {
    let txn = txn_within(request, max_ops)?;
    check_txn(&txn, max_ops)?;
    Ok(txn)
}

pub(crate) fn compact(request: &pb::CompactionRequest) -> Compact {
    Compact { revision: Revision(request.revision) }
}

/// Nested transactions get what the outer one leaves of the budget; that bounds their depth, too.
fn txn_within(request: pb::TxnRequest, budget: usize) -> Result<Txn, Error> {
    let used = request.compare.len().max(request.success.len()).max(request.failure.len());
    let left = budget.checked_sub(used).ok_or(Error::TooManyOperations)?;
    Ok(Txn {
        compare: request.compare.into_iter().map(compare).collect::<Result<_, _>>()?,
        success: request.success.into_iter().map(|given| op(given, left)).collect::<Result<_, _>>()?,
        failure: request.failure.into_iter().map(|given| op(given, left)).collect::<Result<_, _>>()?,
    })
}

fn op(op: pb::RequestOp, budget: usize) -> Result<TxnOp, Error> {
    Ok(match op.request.ok_or(Error::KeyNotFound)? {
        Request::RequestRange(request) => {
            let revision = request.revision;
            // Here, unlike outside, a negative revision is one: compacted, if anything is.
            TxnOp::Range(Range { at: (revision != 0).then_some(Revision(revision)), ..range(request)? })
        }
        Request::RequestPut(request) => TxnOp::Put(put(request)?),
        Request::RequestDeleteRange(request) => TxnOp::DeleteRange(delete_range(request)?),
        Request::RequestTxn(request) => TxnOp::Txn(txn_within(request, budget)?),
    })
}

/// A relation or a target that this release does not know is nothing to refuse: etcd compares, too, and the former
/// always holds, while nothing is greater or less than the latter.
fn compare(compare: pb::Compare) -> Result<Compare, Error> {
    let keys = Keys::from_wire(compare.key, compare.range_end);
    check_keys(&keys)?;
    let relation = match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => Relation::Equal,
        Ok(CompareResult::Greater) => Relation::Greater,
        Ok(CompareResult::Less) => Relation::Less,
        Ok(CompareResult::NotEqual) => Relation::NotEqual,
        Err(_) => Relation::Any,
    };
    let operand = match CompareTarget::try_from(compare.target) {
        Ok(target) => operand(target, compare.target_union),
        Err(_) => Operand::Unknown,
    };
    Ok(Compare { keys, relation, operand })
}

/// A missing operand, or one that belongs to another target, is that target's zero.
fn operand(target: CompareTarget, given: Option<TargetUnion>) -> Operand {
    match (target, given) {
        (CompareTarget::Version, Some(TargetUnion::Version(version))) => Operand::Version(version),
        (CompareTarget::Create, Some(TargetUnion::CreateRevision(revision))) => Operand::Create(Revision(revision)),
        (CompareTarget::Mod, Some(TargetUnion::ModRevision(revision))) => Operand::Mod(Revision(revision)),
        (CompareTarget::Value, Some(TargetUnion::Value(value))) => Operand::Value(value),
        (CompareTarget::Lease, Some(TargetUnion::Lease(lease))) => Operand::Lease(LeaseId(lease)),
        (CompareTarget::Version, _) => Operand::Version(0),
        (CompareTarget::Create, _) => Operand::Create(Revision(0)),
        (CompareTarget::Mod, _) => Operand::Mod(Revision(0)),
        (CompareTarget::Value, _) => Operand::Value(Bytes::new()),
        (CompareTarget::Lease, _) => Operand::Lease(LeaseId::NONE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(key: &'static [u8]) -> Bytes {
        Bytes::from_static(key)
    }

    #[test]
    fn sentinels_of_ranges_become_none() {
        let request = pb::RangeRequest { key: key(b"a"), limit: -3, revision: -1, ..Default::default() };
        let range = range(request).unwrap();
        assert_eq!((range.limit, range.at), (0, None));
        assert!(range.filters.is_empty());
        assert_eq!(range.keys, Keys::One(key(b"a")));
    }

    #[test]
    fn unknown_sort_options_are_refused() {
        let request = pb::RangeRequest { key: key(b"a"), sort_order: 7, ..Default::default() };
        assert_eq!(range(request), Err(Error::InvalidSortOption));
        let request = pb::RangeRequest { key: key(b"a"), sort_target: 7, ..Default::default() };
        assert_eq!(range(request), Err(Error::InvalidSortOption));
    }

    #[test]
    fn an_empty_operation_is_a_missing_key() {
        let request = pb::TxnRequest { success: vec![pb::RequestOp { request: None }], ..Default::default() };
        assert_eq!(txn(request, 128), Err(Error::KeyNotFound));
    }

    /// §2.4: etcd has no answer of its own for these.
    #[test]
    fn unknown_compares_are_comparisons_too() {
        let given = pb::Compare { key: key(b"a"), result: 9, target: 9, ..Default::default() };
        let compare = compare(given).unwrap();
        assert_eq!((compare.relation, compare.operand), (Relation::Any, Operand::Unknown));
    }

    /// Of several faults the client hears of the one that etcd looks for first.
    #[test]
    fn faults_are_found_in_etcds_order() {
        let unsorted = pb::RangeRequest { sort_order: 7, ..Default::default() };
        assert_eq!(range(unsorted.clone()), Err(Error::EmptyKey));
        let op = |request| pb::RequestOp { request: Some(request) };
        let empty = op(Request::RequestPut(pb::PutRequest::default()));
        let unsorted = op(Request::RequestRange(pb::RangeRequest { key: key(b"a"), ..unsorted }));
        let both = |success| pb::TxnRequest { success, ..Default::default() };
        assert_eq!(txn(both(vec![empty.clone(), unsorted.clone()]), 2), Err(Error::EmptyKey));
        assert_eq!(txn(both(vec![unsorted.clone(), empty.clone()]), 2), Err(Error::InvalidSortOption));
        assert_eq!(txn(both(vec![unsorted, empty]), 1), Err(Error::TooManyOperations));
    }

    #[test]
    fn an_operand_of_another_target_is_zero() {
        assert_eq!(operand(CompareTarget::Mod, Some(TargetUnion::Version(3))), Operand::Mod(Revision(0)));
        assert_eq!(operand(CompareTarget::Value, None), Operand::Value(Bytes::new()));
    }

    #[test]
    fn the_checks_of_the_core_arrive_as_etcds_errors() {
        assert_eq!(put(pb::PutRequest::default()), Err(Error::EmptyKey));
        let both = pb::PutRequest { key: key(b"a"), value: key(b"v"), ignore_value: true, ..Default::default() };
        assert_eq!(put(both), Err(Error::ValueProvided));
    }
}
