use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use iam_core::{
    PrincipalId,
    signing::{Assertion, verify_assertion},
};
use parking_lot::Mutex;

use crate::{
    Error, Iam,
    recorder::{Call, Event},
};

/// Assertions of one node that may still be replayed. A node that makes more of them stands in nobody else's way.
const MAX_SEEN: usize = 1000;

/// Client assertions that were used here. Each is good once for as long as it lives.
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
        let principal = match self.check_assertion(assertion)? {
            Ok(principal) => principal,
            Err(reason) => {
                self.0.forged(call, "iam/assertions", &reason);
                return Ok(None);
            }
        };
        let event = Event::done("iam.Authenticate", principal.to_string());
        let call = Call { principal: principal.to_string(), authenticated_by: "certificate", ..call.clone() };
        self.0.record(&call, event).await?;
        Ok(Some(principal))
    }

    fn check_assertion(&self, text: &str) -> Result<Result<PrincipalId, String>, Error> {
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
        let until_s = expires_s.saturating_add(iam_core::signing::LEEWAY_S);
        if jti.is_empty() || jti.len() > 128 || !inner.assertions.first(&peer.principal, jti, until_s, now_ms / 1000) {
            return Ok(Err("the assertion was used before".to_owned()));
        }
        match inner.holdings(&peer.principal)? {
            Some(_) => Ok(Ok(peer.principal.clone())),
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
