use bytes::Bytes;
use chainfire_core::{
    kv::{
        Compact, Compare, DeleteRange, Filters, Keys, Operand, Put, Range, Relation, Revision, SortOrder, SortTarget,
        Txn, TxnOp, check_delete, check_put, check_range, check_txn,
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
    let range = unchecked_range(request)?;
    check_range(&range)?;
    Ok(range)
}

pub(crate) fn put(request: pb::PutRequest) -> Result<Put, Error> {
    let put = unchecked_put(request);
    check_put(&put)?;
    Ok(put)
}

pub(crate) fn delete_range(request: pb::DeleteRangeRequest) -> Result<DeleteRange, Error> {
    let delete = unchecked_delete(request);
    check_delete(&delete)?;
    Ok(delete)
}

/// A transaction of at most `max_ops` operations.
pub(crate) fn txn(request: pb::TxnRequest, max_ops: usize) -> Result<Txn, Error> {
    let txn = unchecked_txn(request)?;
    check_txn(&txn, max_ops)?;
    Ok(txn)
}

pub(crate) fn compact(request: &pb::CompactionRequest) -> Compact {
    Compact { revision: Revision(request.revision) }
}

fn unchecked_range(request: pb::RangeRequest) -> Result<Range, Error> {
    let order = sort::SortOrder::try_from(request.sort_order).map_err(|_| Error::InvalidSortOption)?;
    let target = sort::SortTarget::try_from(request.sort_target).map_err(|_| Error::InvalidSortOption)?;
    // 0 is "no bound" for all four; anything else is one, negative numbers included.
    let bound = |revision: i64| (revision != 0).then_some(Revision(revision));
    Ok(Range {
        keys: Keys::from_wire(request.key, request.range_end),
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

fn unchecked_put(request: pb::PutRequest) -> Put {
    Put {
        key: request.key,
        value: request.value,
        lease: LeaseId(request.lease),
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    }
}

fn unchecked_delete(request: pb::DeleteRangeRequest) -> DeleteRange {
    DeleteRange { keys: Keys::from_wire(request.key, request.range_end), prev_kv: request.prev_kv }
}

/// The depth of nesting is bounded by the decoder, which refuses messages nested deeper than 100.
fn unchecked_txn(request: pb::TxnRequest) -> Result<Txn, Error> {
    Ok(Txn {
        compare: request.compare.into_iter().map(compare).collect::<Result<_, _>>()?,
        success: request.success.into_iter().map(op).collect::<Result<_, _>>()?,
        failure: request.failure.into_iter().map(op).collect::<Result<_, _>>()?,
    })
}

fn op(op: pb::RequestOp) -> Result<TxnOp, Error> {
    Ok(match op.request.ok_or(Error::KeyNotFound)? {
        Request::RequestRange(request) => TxnOp::Range(unchecked_range(request)?),
        Request::RequestPut(request) => TxnOp::Put(unchecked_put(request)),
        Request::RequestDeleteRange(request) => TxnOp::DeleteRange(unchecked_delete(request)),
        Request::RequestTxn(request) => TxnOp::Txn(unchecked_txn(request)?),
    })
}

fn compare(compare: pb::Compare) -> Result<Compare, Error> {
    let relation = match CompareResult::try_from(compare.result).map_err(|_| Error::InvalidCompare)? {
        CompareResult::Equal => Relation::Equal,
        CompareResult::Greater => Relation::Greater,
        CompareResult::Less => Relation::Less,
        CompareResult::NotEqual => Relation::NotEqual,
    };
    let target = CompareTarget::try_from(compare.target).map_err(|_| Error::InvalidCompare)?;
    let operand = operand(target, compare.target_union);
    Ok(Compare { keys: Keys::from_wire(compare.key, compare.range_end), relation, operand })
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
