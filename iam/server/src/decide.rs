//! Whether a caller may. Everything is read from the local state machine, nothing waits for the network.

use iam_client::{Identity, Kind, Refusal};
use iam_core::policy::{Caller, Context, Verdict};

use crate::{Error, authority::stored_id, directory::Holdings, iam::Inner, recorder::Call};

impl Inner {
    pub(crate) fn authorize(&self, identity: &Identity, action: &str, resource: &str) -> Result<(), Refusal> {
        self.check_doors()?;
        let verdict = self.decide(identity, action, resource)?;
        if verdict.allowed {
            return Ok(());
        }
        let reason = match (&verdict.policy, verdict.errors.as_slice()) {
            (_, [error, ..]) => {
                tracing::error!(error, action, "a policy could not be evaluated; the call is denied");
                error.clone()
            }
            (Some(policy), []) => format!("forbidden by {policy}"),
            (None, []) => "nothing permits it".to_owned(),
        };
        self.record_denial(&Call::of(identity), action, resource, &reason);
        Err(Refusal::Denied { action: action.to_owned(), resource: resource.to_owned() })
    }

    /// What policy says, without consequences.
    pub(crate) fn decide(&self, identity: &Identity, action: &str, resource: &str) -> Result<Verdict, Error> {
        let holdings = self.caller_holdings(identity)?;
        let kind = match identity.principal.kind {
            Kind::User => "user",
            Kind::Service => "service",
            Kind::Node => "node",
            // Only the laboratory setting gives an anonymous caller any role.
            Kind::Bootstrap | Kind::Anonymous => "bootstrap",
        };
        let name = &identity.principal.name;
        let caller = Caller { kind, name, roles: &holdings.roles, groups: &holdings.groups };
        let context = Context { source: identity.source.map(|source| source.ip()), time_ms: self.now_ms() };
        Ok(self.policies.decide(caller, action, resource, context))
    }

    /// What the caller holds now, which may differ from what it held when a long call began.
    pub(crate) fn caller_holdings(&self, identity: &Identity) -> Result<Holdings, Error> {
        match stored_id(&identity.principal)? {
            Some(id) => match self.active_principal(&id)? {
                Some(_) => self.holdings(&id),
                None => Ok(Holdings::default()),
            },
            None => {
                let admin = match identity.principal.kind {
                    Kind::Bootstrap => self.bootstrap_enabled()?,
                    Kind::Anonymous => self.lab.allow_unauthenticated,
                    Kind::User | Kind::Service | Kind::Node => false,
                };
                Ok(if admin { Holdings::admin() } else { Holdings::default() })
            }
        }
    }
}
