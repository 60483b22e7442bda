use chainfire_core::{
    kv::{DeleteRange, Keys, Put, Range, Txn, TxnOp},
    lease::{self, LeaseId},
};
use holdfast_keyspace::{KeyRange, Read};
use iam_client::{Identity, KeyAccess, KeyAuthority};

use crate::Error;

/// Asks [`KeyAuthority`] for everything that a request touches: nested operations, both branches, the pairs that
/// `prev_kv` shows, and the keys of a lease that the request can bring to an end.
pub(crate) struct Permit<'a> {
    pub(crate) keys: &'a dyn KeyAuthority,
    pub(crate) identity: &'a Identity,
    /// Where the keys of leases are looked up.
    pub(crate) read: &'a dyn Read,
}

impl Permit<'_> {
    pub(crate) fn range(&self, range: &Range) -> Result<(), Error> {
        self.keys(KeyAccess::Read, &range.keys)
    }

    pub(crate) fn put(&self, put: &Put) -> Result<(), Error> {
        let keys = Keys::One(put.key.clone());
        self.keys(KeyAccess::Write, &keys)?;
        if put.prev_kv {
            self.keys(KeyAccess::Read, &keys)?;
        }
        // Whoever joins a lease could make its other keys vanish by letting it expire.
        if put.lease == LeaseId::NONE { Ok(()) } else { self.lease(KeyAccess::Write, put.lease) }
    }

    pub(crate) fn delete(&self, delete: &DeleteRange) -> Result<(), Error> {
        self.keys(KeyAccess::Write, &delete.keys)?;
        if delete.prev_kv { self.keys(KeyAccess::Read, &delete.keys) } else { Ok(()) }
    }

    pub(crate) fn txn(&self, txn: &Txn) -> Result<(), Error> {
        for compare in &txn.compare {
            self.keys(KeyAccess::Read, &compare.keys)?;
        }
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                TxnOp::Range(range) => self.range(range)?,
                TxnOp::Put(put) => self.put(put)?,
                TxnOp::DeleteRange(delete) => self.delete(delete)?,
                TxnOp::Txn(inner) => self.txn(inner)?,
            }
        }
        Ok(())
    }

    /// All keys of a lease. Somebody who may touch every key needs no look at them.
    pub(crate) fn lease(&self, access: KeyAccess, id: LeaseId) -> Result<(), Error> {
        if self.keys.may_access_keys(self.identity, access, &KeyRange::all())? {
            return Ok(());
        }
        for key in lease::keys(self.read, id)? {
            self.keys(access, &Keys::One(key))?;
        }
        Ok(())
    }

    pub(crate) fn keys(&self, access: KeyAccess, keys: &Keys) -> Result<(), Error> {
        let range = match keys {
            Keys::One(key) => KeyRange::between(key.as_ref(), [key.as_ref(), &[0]].concat()),
            Keys::From(start) => KeyRange::from(start.as_ref()),
            // Nothing is inside; whoever asks learns nothing.
            Keys::Range { start, end } if end <= start => return Ok(()),
            Keys::Range { start, end } => KeyRange::between(start.as_ref(), end.as_ref()),
        };
        Ok(self.keys.authorize_keys(self.identity, access, &range)?)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chainfire_core::{AuthenticatedBy, kv::Compare, kv::Operand, kv::Relation};
    use holdfast_keyspace::Memory;
    use iam_client::{Caller, Evidence, Refusal};

    use super::*;

    /// May read `a/` and write `w/`.
    struct Prefixes;

    impl KeyAuthority for Prefixes {
        fn may_access_keys(&self, _: &Identity, access: KeyAccess, range: &KeyRange) -> Result<bool, Refusal> {
            let (from, to): (&[u8], &[u8]) = match access {
                KeyAccess::Read => (b"a/", b"a0"),
                KeyAccess::Write => (b"w/", b"w0"),
            };
            Ok(range.start.as_slice() >= from && range.end.as_deref().is_some_and(|end| end <= to))
        }

        fn authorize_keys(&self, identity: &Identity, access: KeyAccess, range: &KeyRange) -> Result<(), Refusal> {
            if self.may_access_keys(identity, access, range)? {
                return Ok(());
            }
            Err(Refusal::Denied { action: access.action().to_owned(), resource: "keys".to_owned() })
        }

        fn authorize_some_key(&self, _: &Identity, _: KeyAccess) -> Result<(), Refusal> {
            Ok(())
        }

        fn still_holds(&self, _: &Identity) -> Result<(), Refusal> {
            Ok(())
        }
    }

    fn permitted(txn: &Txn) -> bool {
        let identity = Identity {
            principal: Caller::Bootstrap,
            authenticated_by: AuthenticatedBy::Token,
            evidence: Evidence::None,
            token_id: None,
            roles: Vec::new(),
            source: None,
            request_id: "1".into(),
        };
        let read = Memory::new();
        Permit { keys: &Prefixes, identity: &identity, read: &read }.txn(txn).is_ok()
    }

    fn put(key: &'static [u8], prev_kv: bool) -> TxnOp {
        TxnOp::Put(Put { key: Bytes::from_static(key), prev_kv, ..Put::default() })
    }

    fn branch(ops: Vec<TxnOp>) -> Txn {
        Txn { failure: ops, ..Txn::default() }
    }

    #[test]
    fn every_nested_operation_is_asked_for() {
        assert!(permitted(&branch(vec![TxnOp::Txn(branch(vec![put(b"w/1", false)]))])));
        assert!(!permitted(&branch(vec![TxnOp::Txn(branch(vec![put(b"x/1", false)]))])));
    }

    #[test]
    fn prev_kv_is_a_read() {
        assert!(!permitted(&branch(vec![put(b"w/1", true)])));
    }

    #[test]
    fn compares_are_reads() {
        let compare = |key: &'static [u8]| Compare {
            keys: Keys::One(Bytes::from_static(key)),
            relation: Relation::Equal,
            operand: Operand::Version(0),
        };
        assert!(permitted(&Txn { compare: vec![compare(b"a/1")], ..Txn::default() }));
        assert!(!permitted(&Txn { compare: vec![compare(b"w/1")], ..Txn::default() }));
    }

    #[test]
    fn a_range_must_be_inside_as_a_whole() {
        let range = |start: &'static [u8], end: &'static [u8]| {
            TxnOp::Range(Range::of(Keys::from_wire(Bytes::from_static(start), Bytes::from_static(end))))
        };
        assert!(permitted(&branch(vec![range(b"a/", b"a0")])));
        assert!(!permitted(&branch(vec![range(b"a/", b"b")])));
        assert!(!permitted(&branch(vec![range(b"a/", b"\0")])));
    }
}
