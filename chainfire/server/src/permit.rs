use chainfire_core::{
    auth::{Demand, Judge, KeyAccess},
    kv::{DeleteRange, Keys, Put, Range, Txn},
    lease::{self, LeaseId},
};
use holdfast_keyspace::{KeyRange, Read};
use iam_client::{Identity, KeyAuthority};

use crate::Error;

/// Asks for everything that a request touches: IAM by [`KeyAuthority`], and etcd's users by their [`Judge`]. Each passes
/// callers that are the other's.
pub(crate) struct Permit<'a> {
    pub(crate) keys: &'a dyn KeyAuthority,
    pub(crate) identity: &'a Identity,
    /// None for a command: it is judged where it is applied.
    pub(crate) judge: Option<Judge>,
    /// Where the keys of leases are looked up.
    pub(crate) read: &'a dyn Read,
}

impl Permit<'_> {
    pub(crate) fn range(&self, range: &Range) -> Result<(), Error> {
        Demand::range(range, &mut |demand| self.ask(demand))
    }

    pub(crate) fn put(&self, put: &Put) -> Result<(), Error> {
        Demand::put(put, &mut |demand| self.ask(demand))
    }

    pub(crate) fn delete(&self, delete: &DeleteRange) -> Result<(), Error> {
        Demand::delete(delete, &mut |demand| self.ask(demand))
    }

    pub(crate) fn txn(&self, txn: &Txn) -> Result<(), Error> {
        Demand::txn(txn, &mut |demand| self.ask(demand))
    }

    /// All keys of a lease.
    pub(crate) fn lease(&self, access: KeyAccess, id: LeaseId) -> Result<(), Error> {
        self.ask(Demand::Lease(access, id))
    }

    /// A list of all leases. Ids are all that it takes to ask what hangs on a lease, or to keep it.
    pub(crate) fn leases(&self, ids: &[LeaseId]) -> Result<(), Error> {
        self.keys.authorize_keys(self.identity, KeyAccess::Read, &KeyRange::all())?;
        let Some(judge) = &self.judge else { return Ok(()) };
        ids.iter().try_for_each(|id| Ok(judge.allows(self.read, Demand::Lease(KeyAccess::Read, *id))?))
    }

    pub(crate) fn keys(&self, access: KeyAccess, keys: &Keys) -> Result<(), Error> {
        self.ask(Demand::Keys(access, keys))
    }

    /// What concerns every key.
    pub(crate) fn everything(&self) -> Result<(), Error> {
        self.keys.authorize_keys(self.identity, KeyAccess::Write, &KeyRange::all())?;
        self.admin()
    }

    /// Users and roles, and what only an administrator may do.
    pub(crate) fn admin(&self) -> Result<(), Error> {
        match &self.judge {
            Some(judge) => Ok(judge.admin()?),
            None => Ok(()),
        }
    }

    fn ask(&self, demand: Demand<'_>) -> Result<(), Error> {
        if let Some(judge) = &self.judge {
            judge.allows(self.read, demand)?;
        }
        match demand {
            // If nothing is inside, whoever asks learns nothing.
            Demand::Keys(_, keys) if keys.range().is_empty() => Ok(()),
            Demand::Keys(access, keys) => Ok(self.keys.authorize_keys(self.identity, access, &keys.range())?),
            // Somebody who may touch every key needs no look at them.
            Demand::Lease(access, _) if self.keys.may_access_keys(self.identity, access, &KeyRange::all())? => Ok(()),
            Demand::Lease(access, id) => lease::keys(self.read, id)?
                .into_iter()
                .try_for_each(|key| Ok(self.keys.authorize_keys(self.identity, access, &Keys::One(key).range())?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chainfire_core::{
        AuthenticatedBy,
        kv::{Compare, Operand, Relation, TxnOp},
    };
    use holdfast_keyspace::Memory;
    use iam_client::{Caller, Evidence, Refusal, Scope, StillHolds};

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
    }

    impl StillHolds for Prefixes {
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
            scope: Scope::System,
            source: None,
            request_id: "1".into(),
        };
        let read = Memory::new();
        Permit { keys: &Prefixes, identity: &identity, judge: None, read: &read }.txn(txn).is_ok()
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
