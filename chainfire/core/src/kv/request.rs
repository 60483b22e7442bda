//! What clients ask of the user keyspace, in the state machine's own types. The wire's zero values and sentinels are
//! gone here: the server's wire module has turned them into `None` and [`Keys`].

use bytes::Bytes;
use holdfast_keyspace::KeyRange;
use serde::{Deserialize, Serialize};

use crate::{kv::Revision, lease::LeaseId};

/// A selection of keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keys {
    One(Bytes),
    /// `start <= key < end`; empty if `end <= start`.
    Range {
        start: Bytes,
        end: Bytes,
    },
    /// Every key at or after this one.
    From(Bytes),
}

/// A read at one revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    pub keys: Keys,
    /// The state to look at; the newest if none.
    pub at: Option<Revision>,
    /// Most pairs to return; 0 for all.
    pub limit: u64,
    pub sort_order: SortOrder,
    pub sort_target: SortTarget,
    pub filters: Filters,
    pub keys_only: bool,
    pub count_only: bool,
}

/// Bounds on revisions, inclusive; pairs outside are left out of the answer but counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filters {
    pub min_mod: Option<Revision>,
    pub max_mod: Option<Revision>,
    pub min_create: Option<Revision>,
    pub max_create: Option<Revision>,
}

/// Order is part of the stored format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SortOrder {
    #[default]
    None,
    Ascend,
    Descend,
}

/// Order is part of the stored format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SortTarget {
    #[default]
    Key,
    Version,
    Create,
    Mod,
    Value,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    pub key: Bytes,
    pub value: Bytes,
    /// The lease that will own the key; [`LeaseId::NONE`] detaches it from any.
    pub lease: LeaseId,
    /// Answer with the pair that this one replaces.
    pub prev_kv: bool,
    /// Keep the value that the key has.
    pub ignore_value: bool,
    /// Keep the lease that the key has.
    pub ignore_lease: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteRange {
    pub keys: Keys,
    /// Answer with the pairs that were deleted.
    pub prev_kv: bool,
}

/// If all compares hold then `success`, else `failure`, as one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Txn {
    pub compare: Vec<Compare>,
    pub success: Vec<TxnOp>,
    pub failure: Vec<TxnOp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnOp {
    Range(Range),
    Put(Put),
    DeleteRange(DeleteRange),
    Txn(Txn),
}

/// Holds if `<operand of each key> <relation> <operand>`, for every key of `keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    pub keys: Keys,
    pub relation: Relation,
    pub operand: Operand,
}

/// Order is part of the stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Relation {
    Equal,
    Greater,
    Less,
    NotEqual,
    /// Always holds: a relation that the server does not know.
    Any,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operand {
    Version(i64),
    Create(Revision),
    Mod(Revision),
    Value(Bytes),
    Lease(LeaseId),
    /// Equal to everything: of a target that the server does not know.
    Unknown,
}

/// Forgets everything that only revisions below `revision` can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compact {
    pub revision: Revision,
}

impl Keys {
    /// Reads the wire's convention: no `range_end` is one key, a single zero byte is "and everything after".
    pub fn from_wire(key: Bytes, range_end: Bytes) -> Self {
        match range_end.as_ref() {
            [] => Self::One(key),
            [0] => Self::From(key),
            _ => Self::Range { start: key, end: range_end },
        }
    }

    /// The first key that can be inside.
    pub fn start(&self) -> &Bytes {
        match self {
            Self::One(key) | Self::From(key) => key,
            Self::Range { start, .. } => start,
        }
    }

    /// The same selection as a range.
    pub fn range(&self) -> KeyRange {
        match self {
            Self::One(key) => KeyRange::between(key.as_ref(), [key.as_ref(), &[0]].concat()),
            Self::From(start) => KeyRange::from(start.as_ref()),
            Self::Range { start, end } => KeyRange::between(start.as_ref(), end.as_ref()),
        }
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::One(one) => key == one.as_ref(),
            Self::From(start) => key >= start.as_ref(),
            Self::Range { start, end } => key >= start.as_ref() && key < end.as_ref(),
        }
    }
}

impl Range {
    /// All of `keys` as of now, in key order.
    pub fn of(keys: Keys) -> Self {
        Self {
            keys,
            at: None,
            limit: 0,
            sort_order: SortOrder::None,
            sort_target: SortTarget::Key,
            filters: Filters::default(),
            keys_only: false,
            count_only: false,
        }
    }
}

impl Filters {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
