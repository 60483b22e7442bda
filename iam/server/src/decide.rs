//! Whether a caller may. Everything is read from the local state machine, nothing waits for the network.

use std::sync::Arc;

use iam_client::{Caller, Evidence, Identity, KeyAccess, Refusal};
use iam_core::{
    PrincipalId, Scope,
    policy::{self, Circumstances, Role, Target, Verdict},
};

use crate::{
    Error,
    authority::{ADMIN, AUTHENTICATE},
    holdings::Holdings,
    iam::Inner,
    recorder::Call,
    simulate::Decision,
    tokens::BearerFault,
};

/// What policies call all keys.
pub(crate) const ALL_KEYS: &str = "keys/*";

/// What can be done to a principal without getting hold of it. Everything else takes power over all that it may do itself.
const LOOKS: [&str; 2] = ["iam.Read", "config.ReadFleet"];

/// A question to the policies, with what its answer depends on.
pub(crate) struct Asked<'a> {
    caller: &'a Caller,
    holdings: &'a Holdings,
    resource: &'a str,
    /// What a principal that is acted upon holds, and its roles wherever they count: policies that spare admins spare
    /// those of an organisation, too.
    target: Option<Arc<Holdings>>,
    target_roles: Vec<Role>,
    /// Where that is which is acted upon, if it is anywhere.
    scope: Option<Scope>,
    /// Roles of the caller that count there, and not everywhere.
    scoped: Vec<Role>,
}

impl Asked<'_> {
    pub(crate) fn caller(&self) -> policy::Caller<'_> {
        let (kind, name) = match self.caller {
            Caller::Principal(id) => (id.kind().as_str(), id.name()),
            Caller::Bootstrap => ("bootstrap", ADMIN),
            Caller::BreakGlass(_) => ("bootstrap", "break-glass"),
            Caller::Anonymous => ("anonymous", ""),
        };
        let Holdings { roles, groups, scope, .. } = self.holdings;
        policy::Caller { kind, name, roles, scoped: &self.scoped, groups, scope: Some(scope) }
    }

    pub(crate) fn target(&self) -> Target<'_> {
        let groups = self.target.as_ref().map_or(&[][..], |target| &target.groups);
        Target { roles: &self.target_roles, groups, scope: self.scope.as_ref(), ..Target::of(self.resource) }
    }
}

impl Inner {
    pub(crate) fn authorize(&self, identity: &Identity, action: &str, resource: &str) -> Result<(), Refusal> {
        self.check_doors_for(&identity.principal)?;
        self.check_evidence(identity)?;
        self.check_may_go_on(identity, action, resource)?;
        let verdict = self.decide_once(identity, action, resource)?;
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
        let reason = match self.owner_may(identity, action, resource)? {
            true => outside_scope(identity, &reason),
            false => reason,
        };
        self.record_denial(&Call::of(identity), action, resource, &reason);
        Err(Refusal::Denied { action: action.to_owned(), resource: resource.to_owned() })
    }

    /// Decides, unless the same was asked since anything stored has changed and time does not matter.
    fn decide_once(&self, identity: &Identity, action: &str, resource: &str) -> Result<Arc<Verdict>, Error> {
        let Some(decision) = Decision::of(identity, action, resource) else {
            return self.decide(identity, action, resource).map(Arc::new);
        };
        // It is taken first: what is read then may only be newer.
        let (revision, now_ms) = (self.records.applied().system_revision, self.now_ms());
        if let Some(verdict) = self.recent.repeated(&decision, revision, now_ms) {
            return Ok(verdict);
        }
        let verdict = Arc::new(self.decide(identity, action, resource)?);
        self.recent.note(decision, &verdict, revision, now_ms);
        Ok(verdict)
    }

    /// Why policies forbid the caller `access` to any key; bindings cannot permit it then.
    pub(crate) fn keys_forbidden(
        &self,
        identity: &Identity,
        holdings: &Holdings,
        access: KeyAccess,
    ) -> Result<Option<String>, Error> {
        let asked = self.asked(&identity.principal, holdings, access.action(), ALL_KEYS)?;
        let circumstances = self.circumstances(identity);
        Ok(self.policies()?.forbids(asked.caller(), access.action(), asked.target(), circumstances))
    }

    /// Whether what established `identity` still counts: a session may outlive its token.
    pub(crate) fn check_evidence(&self, identity: &Identity) -> Result<(), Refusal> {
        let Some(reason) = self.ended(&identity.principal, &identity.evidence)? else { return Ok(()) };
        self.record_denial(&Call::of(identity), AUTHENTICATE, "iam/sessions", &reason);
        Err(Refusal::Unauthenticated)
    }

    /// Why `caller` could not be established again.
    pub(crate) fn ended(&self, caller: &Caller, evidence: &Evidence) -> Result<Option<String>, Error> {
        match caller {
            Caller::Principal(id) if self.holdings(id)?.is_none() => {
                return Ok(Some(format!("{id} is unknown or disabled")));
            }
            Caller::Bootstrap if !self.bootstrap_enabled()? => {
                return Ok(Some("the bootstrap token is disabled".to_owned()));
            }
            Caller::BreakGlass(grant) if grant.not_after_ms <= self.now_ms() => {
                return Ok(Some("the break-glass grant has ended".to_owned()));
            }
            Caller::Principal(_) | Caller::Bootstrap | Caller::BreakGlass(_) | Caller::Anonymous => {}
        }
        Ok(match evidence {
            Evidence::None => None,
            Evidence::Token(verified) => match self.check_verified(verified) {
                Ok(()) => None,
                Err(BearerFault::Error(error)) => return Err(error),
                Err(fault) => Some(fault.reason()),
            },
            Evidence::AccessKey(id) => (!self.is_live(id)?).then(|| format!("access key {id} is revoked")),
            Evidence::Certificate(chain) => match self.verify_peer(chain)? {
                Ok(peer) if caller.principal() == Some(&peer.principal) => None,
                Ok(peer) => Some(format!("the certificate is {}'s now", peer.principal)),
                Err(fault) => Some(fault.to_string()),
            },
        })
    }

    /// What policy says, without consequences.
    pub(crate) fn decide(&self, identity: &Identity, action: &str, resource: &str) -> Result<Verdict, Error> {
        let holdings = self.caller_holdings(&identity.principal)?;
        let asked = self.asked(&identity.principal, &holdings, action, resource)?;
        let (policies, circumstances) = (self.policies()?, self.circumstances(identity));
        let verdict = policies.decide(asked.caller(), action, asked.target(), circumstances);
        let Some(scope) = identity.narrowed_to().filter(|_| verdict.allowed) else { return Ok(verdict) };
        // Of what its owner may do, it may do what anybody may who has its roles and nothing else.
        let narrowed = holdings.narrowed(&scope);
        let asked = self.asked(&Caller::Anonymous, &narrowed, action, resource)?;
        Ok(policies.decide(asked.caller(), action, asked.target(), circumstances))
    }

    /// Whether the token is narrowed, and its owner would be permitted without that.
    fn owner_may(&self, identity: &Identity, action: &str, resource: &str) -> Result<bool, Error> {
        if identity.narrowed_to().is_none() {
            return Ok(false);
        }
        let owner = Identity { evidence: Evidence::None, ..identity.clone() };
        Ok(self.decide(&owner, action, resource)?.allowed)
    }

    /// Those of a call that comes now from where `identity` calls.
    pub(crate) fn circumstances(&self, identity: &Identity) -> Circumstances {
        Circumstances { source: identity.source.map(|source| source.ip()), time_ms: self.now_ms() }
    }

    /// Everything about caller and resource that policies may look at.
    pub(crate) fn asked<'a>(
        &self,
        caller: &'a Caller,
        holdings: &'a Holdings,
        action: &str,
        resource: &'a str,
    ) -> Result<Asked<'a>, Error> {
        // What is acted upon may be a principal itself, or where principals are.
        let target = resource.parse::<PrincipalId>().ok();
        let target = target.map(|principal| self.holdings_of_any(&principal)).transpose()?.flatten();
        let scope = target.as_ref().map(|held| held.scope.clone()).or_else(|| resource.parse().ok());
        let reach = target.as_ref().filter(|_| !LOOKS.contains(&action)).map(|held| &held.reach).or(scope.as_ref());
        let scoped = reach.map(|reach| holdings.roles_within(reach)).unwrap_or_default();
        let target_roles = target.as_ref().map(|held| held.all_roles().collect()).unwrap_or_default();
        Ok(Asked { caller, holdings, resource, target, target_roles, scope, scoped })
    }

    /// What the caller holds now, which may differ from what it held when a long call began.
    pub(crate) fn caller_holdings(&self, caller: &Caller) -> Result<Arc<Holdings>, Error> {
        let admin = match caller {
            Caller::Principal(id) => return Ok(self.holdings(id)?.unwrap_or_default()),
            Caller::BreakGlass(grant) => {
                return Ok(Arc::new(Holdings::of(grant.roles.iter().filter_map(|role| Role::parse(role)).collect())));
            }
            Caller::Bootstrap => self.bootstrap_enabled()?,
            // Only the laboratory setting gives an anonymous caller any role.
            Caller::Anonymous => self.lab.allow_unauthenticated,
        };
        Ok(Arc::new(if admin { Holdings::admin() } else { Holdings::default() }))
    }
}

/// Why a narrowed token is denied what its owner may do, for the history.
pub(crate) fn outside_scope(identity: &Identity, reason: &str) -> String {
    let claims = identity.claims();
    let scope = claims.and_then(|claims| claims.scope.as_deref()).unwrap_or_default();
    let jti = claims.map(|claims| claims.jti.as_str()).unwrap_or_default();
    format!("outside the token's scope ({scope}), token {jti}: {reason}")
}
