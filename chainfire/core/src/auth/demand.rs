//! What a request touches, so that whoever decides about rights is asked for all of it: nested operations, both
//! branches, the pairs that `prev_kv` shows, and the keys of a lease that the request can bring to an end.

use crate::{
    kv::{DeleteRange, Keys, Put, Range, Txn, TxnOp},
    lease::LeaseId,
};

/// The two rights on keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyAccess {
    Read,
    Write,
}

/// Something that a caller needs a right to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand<'a> {
    Keys(KeyAccess, &'a Keys),
    /// All keys that hang on the lease.
    Lease(KeyAccess, LeaseId),
}

impl KeyAccess {
    /// The word that policies and audit rows use.
    pub fn action(self) -> &'static str {
        match self {
            Self::Read => "kv.Read",
            Self::Write => "kv.Write",
        }
    }
}

impl Demand<'_> {
    /// Asks for what a range needs. Like its siblings it ends with the first refusal.
    pub fn range<E>(range: &Range, ask: &mut impl FnMut(Demand<'_>) -> Result<(), E>) -> Result<(), E> {
        ask(Demand::Keys(KeyAccess::Read, &range.keys))
    }

    pub fn put<E>(put: &Put, ask: &mut impl FnMut(Demand<'_>) -> Result<(), E>) -> Result<(), E> {
        let keys = Keys::One(put.key.clone());
        ask(Demand::Keys(KeyAccess::Write, &keys))?;
        if put.prev_kv {
            ask(Demand::Keys(KeyAccess::Read, &keys))?;
        }
        // Whoever joins a lease could make its other keys vanish by letting it expire.
        if put.lease == LeaseId::NONE { Ok(()) } else { ask(Demand::Lease(KeyAccess::Write, put.lease)) }
    }

    pub fn delete<E>(delete: &DeleteRange, ask: &mut impl FnMut(Demand<'_>) -> Result<(), E>) -> Result<(), E> {
        ask(Demand::Keys(KeyAccess::Write, &delete.keys))?;
        if delete.prev_kv { ask(Demand::Keys(KeyAccess::Read, &delete.keys)) } else { Ok(()) }
    }

    pub fn txn<E>(txn: &Txn, ask: &mut impl FnMut(Demand<'_>) -> Result<(), E>) -> Result<(), E> {
        for compare in &txn.compare {
            ask(Demand::Keys(KeyAccess::Read, &compare.keys))?;
        }
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                TxnOp::Range(range) => Self::range(range, ask)?,
                TxnOp::Put(put) => Self::put(put, ask)?,
                TxnOp::DeleteRange(delete) => Self::delete(delete, ask)?,
                TxnOp::Txn(inner) => Self::txn(inner, ask)?,
            }
        }
        Ok(())
    }
}
