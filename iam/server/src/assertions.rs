use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use chainfire_core::{AuthenticatedBy, Origin};
use iam_core::{
    PrincipalId,
    record::{UsedAssertion, key},
    secret,
    signing::{Assertion, LEEWAY_S, verify_assertion},
};
use parking_lot::Mutex;

use crate::{Error, Iam, authority::AUTHENTICATE, recorder::Call, records::Change};

/// Assertions of one node that may still be replayed. A node that makes more of them stands in nobody else's way.
const MAX_SEEN: usize = 1000;
/// Old records that one use takes along.
const SWEEP: usize = 32;
const REPLAYED: &str = "the assertion was used before";

/// An assertion that proves who it is from and was not used here before.
struct First {
    principal: PrincipalId,
    jti: String,
    until_ms: u64,
}

/// Client assertions that were used here. Each is good once for as long as it lives: a record in the store says so to
/// the other servers; what is known here costs no attempt to write one.
#[derive(Default)]
pub(crate) struct SeenAssertions(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    ids: HashMap<PrincipalId, HashSet<String>>,
    /// Ids by their expiry in Unix seconds.
    by_expiry: BTreeMap<u64, Vec<(PrincipalId, String)>>,
}

impl SeenAssertions {
    /// True the first time.
    fn first(&self, node: &PrincipalId, id: String, expires_s: u64, now_s: u64) -> bool {
        let mut seen = self.0.lock();
        let alive = seen.by_expiry.split_off(&now_s);
        for (node, old) in std::mem::replace(&mut seen.by_expiry, alive).into_values().flatten() {
            if let Entry::Occupied(mut ids) = seen.ids.entry(node) {
                ids.get_mut().remove(&old);
                if ids.get().is_empty() {
                    ids.remove();
                }
            }
        }
        let ids = seen.ids.entry(node.clone()).or_default();
        if ids.len() >= MAX_SEEN || !ids.insert(id.clone()) {
            return false;
        }
        seen.by_expiry.entry(expires_s).or_default().push((node.clone(), id));
        true
    }
}

impl Iam {
    /// The node whose key signed `assertion`; nobody if it proves nothing.
    pub(crate) async fn assertion_principal(&self, assertion: &str, call: &Call) -> Result<Option<PrincipalId>, Error> {
        self.0.check_doors()?;
        let used = match self.check_assertion(assertion)? {
            Ok(first) => self.use_up(first, call).await?,
            fault => fault.map(|first| first.principal),
        };
        Ok(used.inspect_err(|reason| self.0.forged(call, "iam/assertions", reason)).ok())
    }

    /// Leaves a record that the assertion was used, which is also the history's of this login; nobody, if another
    /// server has done so already.
    async fn use_up(&self, first: First, call: &Call) -> Result<Result<PrincipalId, String>, Error> {
        let First { principal, jti, until_ms } = first;
        let id = secret::sha256_hex(format!("{principal}\n{jti}").as_bytes());
        let mut change = Change::new(AUTHENTICATE, principal.to_string())
            .create(key::used_assertion(&id), &UsedAssertion { until_ms })?;
        let begin = key::used_assertion(&hex::encode(self.0.random::<3>()?));
        let some = self.0.records.some::<UsedAssertion>(key::USED_ASSERTIONS.as_bytes(), &begin, SWEEP)?;
        for (at, _) in some.into_iter().filter(|(_, used)| used.until_ms < self.0.now_ms()) {
            change = change.delete(at);
        }
        let origin = Origin {
            principal: principal.to_string(),
            authenticated_by: AuthenticatedBy::Certificate,
            source: call.source.map(|source| source.to_string()),
            token_id: None,
            request_id: call.request_id.clone(),
        };
        match self.0.records.commit(origin, change).await {
            Ok(_) => Ok(Ok(principal)),
            Err(Error::Conflict { .. }) => Ok(Err(REPLAYED.to_owned())),
            Err(error) => Err(error),
        }
    }

    fn check_assertion(&self, text: &str) -> Result<Result<First, String>, Error> {
        let inner = &self.0;
        let assertion = match Assertion::parse(text) {
            Ok(assertion) => assertion,
            Err(fault) => return Ok(Err(fault.to_string())),
        };
        let chain = assertion.chain.iter().map(|der| Arc::from(der.as_slice())).collect();
        let peer = match inner.verify_peer(&chain)? {
            Ok(peer) => peer,
            Err(fault) => return Ok(Err(fault.to_string())),
        };
        let subject = inner.settings.trust_domain.spiffe_id(&peer.principal);
        let now_ms = inner.now_ms();
        let (jti, expires_s) = match verify_assertion(text, &peer.key, &subject, &inner.settings.issuer, now_ms) {
            Ok(checked) => checked,
            Err(fault) => return Ok(Err(fault.to_string())),
        };
        // Until the leeway is over too.
        let until_s = expires_s.saturating_add(LEEWAY_S);
        let seen = &inner.assertions;
        if jti.is_empty() || jti.len() > 128 || !seen.first(&peer.principal, jti.clone(), until_s, now_ms / 1000) {
            return Ok(Err(REPLAYED.to_owned()));
        }
        match inner.holdings(&peer.principal)? {
            // A while longer, for servers whose clocks are late.
            Some(_) => Ok(Ok(First { principal: peer.principal.clone(), jti, until_ms: (until_s + LEEWAY_S) * 1000 })),
            None => Ok(Err(format!("{} is unknown or disabled", peer.principal))),
        }
    }
}

#[cfg(test)]
mod tests {
    use iam_core::Kind;

    use super::*;

    #[test]
    fn an_assertion_is_good_once_while_it_lives() {
        let seen = SeenAssertions::default();
        let (pier, quay) = (node("pier"), node("quay"));
        assert!(seen.first(&pier, "a".into(), 100, 40));
        assert!(!seen.first(&pier, "a".into(), 100, 100));
        assert!(seen.first(&quay, "a".into(), 100, 100), "another node's");
        assert!(seen.first(&pier, "b".into(), 160, 101));
        assert_eq!(seen.0.lock().ids.len(), 1, "expired ones are forgotten");
    }

    #[test]
    fn a_node_that_makes_too_many_hurts_itself_only() {
        let seen = SeenAssertions::default();
        for number in 0..MAX_SEEN {
            assert!(seen.first(&node("pier"), number.to_string(), 100, 40));
        }
        assert!(!seen.first(&node("pier"), "more".into(), 100, 40));
        assert!(seen.first(&node("quay"), "first".into(), 100, 40));
        assert!(seen.first(&node("pier"), "later".into(), 200, 101));
    }

    fn node(name: &str) -> PrincipalId {
        PrincipalId::new(Kind::Node, name).unwrap()
    }
}
