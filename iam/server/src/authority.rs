//! Who calls, and whether they may.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use chainfire_core::{AuthenticatedBy, Origin};
use holdfast_keyspace::{KeyRange, KeyRanges};
use holdfast_rpc::Standing;
use iam_ca::GRANT_PREFIX;
use iam_client::{
    Authority, Caller, Evidence, Identity, KeyAccess, KeyAuthority, PasswordLogin, Presented, Refusal, StillHolds,
};
use iam_core::{PrincipalId, Scope, enrol::Peer};
use secrecy::ExposeSecret as _;
use tokio::sync::watch;

use crate::{
    Error, Iam,
    decide::{ALL_KEYS, outside_scope},
    guess_limit::Target,
    holdings::Holdings,
    iam::Inner,
    recorder::{Call, Event},
    tokens::{BearerFault, NewToken, confirmed, roles_of},
};

/// The name under which the bootstrap token acts, and logs in where a name is asked for.
pub(crate) const ADMIN: &str = "admin";
/// What failed authentications are denied.
pub(crate) const AUTHENTICATE: &str = "iam.Authenticate";

/// What somebody who begins to be slowed down is in the history.
const ALERT: &str = "iam.GuessAlert";
const SECRETS: &str = "iam/secrets";
const NO_RIGHT: &str = "no right on these keys";

/// Whom a name and a password belong to.
enum Known {
    Bootstrap,
    Principal(PrincipalId),
}

#[async_trait]
impl Authority for Iam {
    async fn authenticate(&self, presented: Presented) -> Result<Identity, Refusal> {
        let result = match &presented.bearer {
            Some(grant) if grant.starts_with(GRANT_PREFIX) => self.0.break_glass(grant, &presented).await,
            _ => {
                self.0.check_doors()?;
                self.0.establish(&presented).await
            }
        };
        self.0.metrics.authentication(&result);
        result
    }

    fn authorize(&self, identity: &Identity, action: &str, resource: &str) -> Result<(), Refusal> {
        self.0.authorize(identity, action, resource)
    }

    fn progress(&self) -> watch::Receiver<u64> {
        self.0.records.store().progress()
    }

    fn admitted(&self, identity: &Identity, standing: &Standing) {
        self.0.admitted(identity, standing);
    }

    fn took(&self, time: Duration) {
        self.0.metrics.admission.observe(time.as_secs_f64());
    }

    fn record_denial(&self, caller: &Origin, action: &str, resource: &str, reason: &str) {
        let source = caller.source.as_ref().and_then(|source| source.parse().ok());
        let call = Call {
            principal: caller.principal.clone(),
            authenticated_by: caller.authenticated_by.as_str(),
            source,
            token_id: caller.token_id.clone(),
            request_id: caller.request_id.clone(),
        };
        self.0.record_denial(&call, action, resource, reason);
    }
}

impl StillHolds for Iam {
    fn still_holds(&self, identity: &Identity) -> Result<(), Refusal> {
        self.0.check_doors_for(&identity.principal)?;
        self.0.check_evidence(identity)
    }
}

impl KeyAuthority for Iam {
    fn may_access_keys(&self, identity: &Identity, access: KeyAccess, range: &KeyRange) -> Result<bool, Refusal> {
        Ok(self.0.keys_refused(identity, access, |keys| keys.covers(range))?.is_none())
    }

    fn authorize_keys(&self, identity: &Identity, access: KeyAccess, range: &KeyRange) -> Result<(), Refusal> {
        let Some(reason) = self.0.keys_refused(identity, access, |keys| keys.covers(range))? else { return Ok(()) };
        Err(self.0.keys_denied(identity, access, format!("keys/{}", range.start.escape_ascii()), &reason))
    }

    fn authorize_some_key(&self, identity: &Identity, access: KeyAccess) -> Result<(), Refusal> {
        let Some(reason) = self.0.keys_refused(identity, access, |keys| !keys.is_empty())? else { return Ok(()) };
        Err(self.0.keys_denied(identity, access, ALL_KEYS.to_owned(), &reason))
    }
}

impl Inner {
    /// Why the caller may not do `access` to keys of which its rights have to be `enough`.
    fn keys_refused(
        &self,
        identity: &Identity,
        access: KeyAccess,
        enough: impl Fn(&KeyRanges) -> bool,
    ) -> Result<Option<String>, Refusal> {
        self.check_doors_for(&identity.principal)?;
        self.check_may_go_on(identity, access.action(), ALL_KEYS)?;
        let holdings = self.caller_holdings(&identity.principal)?;
        let suffices = |held: &Holdings| match access {
            KeyAccess::Read => enough(&held.keys.read),
            KeyAccess::Write => enough(&held.keys.write),
        };
        if !suffices(&holdings) {
            return Ok(Some(NO_RIGHT.to_owned()));
        }
        let narrowed = identity.narrowed_to().map(|scope| holdings.narrowed(&scope));
        if !narrowed.is_none_or(|narrowed| suffices(&narrowed)) {
            return Ok(Some(outside_scope(identity, NO_RIGHT)));
        }
        Ok(self.keys_forbidden(identity, &holdings, access)?)
    }

    fn keys_denied(&self, identity: &Identity, access: KeyAccess, resource: String, reason: &str) -> Refusal {
        self.record_denial(&Call::of(identity), access.action(), &resource, reason);
        Refusal::Denied { action: access.action().to_owned(), resource }
    }
}

impl Iam {
    /// The principal of an access key and its secret.
    pub(crate) async fn secret_principal(&self, id: &str, secret: &str, call: &Call) -> Result<PrincipalId, Error> {
        self.0.check_doors()?;
        match self.0.password(call, id, secret).await? {
            Known::Principal(principal) => Ok(principal),
            // It needs no other token, and no principal is behind it.
            Known::Bootstrap => Err(Error::Refused(Refusal::Unauthenticated)),
        }
    }
}

#[async_trait]
impl PasswordLogin for Iam {
    async fn login(&self, name: &str, password: &str, source: Option<SocketAddr>) -> Result<String, Refusal> {
        self.0.check_doors()?;
        let request_id = format!("login-{}", hex::encode(self.0.random::<8>()?));
        let call = Call::anonymous(source, request_id);
        let known = self.0.password(&call, name, password).await;
        self.0.metrics.authentication(&known);
        match known? {
            // The bootstrap token is a bearer token already.
            Known::Bootstrap => Ok(password.to_owned()),
            Known::Principal(principal) => {
                let call = Call {
                    principal: principal.to_string(),
                    authenticated_by: AuthenticatedBy::Credential.as_str(),
                    ..call
                };
                let ttl = self.0.ttl(0)?;
                let new = NewToken { principal: &principal, ttl, parent: None, scope: None, certificate: None };
                let issued = self.0.issue(&call, new).await?;
                Ok(issued.token)
            }
        }
    }

    fn revision(&self) -> u64 {
        self.applied().system_revision
    }
}

impl Inner {
    async fn establish(&self, presented: &Presented) -> Result<Identity, Refusal> {
        if let Some(token) = &presented.bearer {
            return self.bearer(token, presented).await;
        }
        if let Some((name, secret)) = &presented.basic {
            let call = Call::anonymous(presented.source, presented.request_id.clone());
            return match self.password(&call, name, secret).await? {
                Known::Bootstrap => Ok(bootstrap(presented)),
                Known::Principal(id) => self.stored(id, Evidence::AccessKey(name.clone()), presented),
            };
        }
        if !presented.certificates.is_empty() {
            let principal = self.peer(presented)?.principal.clone();
            return self.stored(principal, Evidence::Certificate(Arc::clone(&presented.certificates)), presented);
        }
        if self.lab.allow_unauthenticated {
            return Ok(admin(Caller::Anonymous, AuthenticatedBy::Nothing, presented));
        }
        Err(Refusal::Anonymous)
    }

    async fn bearer(&self, token: &str, presented: &Presented) -> Result<Identity, Refusal> {
        let checked = self.verify_token(token).and_then(|verified| {
            confirmed(&verified, &presented.certificates)?;
            Ok((self.token_principal(&verified)?, verified))
        });
        let fault = match checked {
            Ok((principal, verified)) => return self.stored(principal, Evidence::Token(verified), presented),
            Err(fault) => fault,
        };
        let call = Call::anonymous(presented.source, presented.request_id.clone());
        if let BearerFault::Token(iam_core::signing::TokenFault::Malformed) = fault {
            // Not a JWT: the bootstrap token, or a guess at it.
            self.bootstrap_token(&call, token, "").await?;
            return Ok(bootstrap(presented));
        }
        match fault.is_forgery() {
            true => self.forged(&call, "iam/tokens", &fault.reason()),
            false => self.record_denial(&call, AUTHENTICATE, "iam/tokens", &fault.reason()),
        }
        Err(fault.into())
    }

    /// Checks a secret that could be guessed.
    async fn password(&self, call: &Call, name: &str, secret: &str) -> Result<Known, Refusal> {
        if name == ADMIN && self.settings.dev {
            self.bootstrap_token(call, secret, ADMIN).await?;
            return Ok(Known::Bootstrap);
        }
        self.check_access_keys(call)?;
        let target = self.guessed_at(name)?;
        self.check_guesses(call, Some(&target))?;
        let Some(principal) = self.credential_principal(name, secret)? else {
            self.guessed(call, Some(&target), &format!("wrong access key or secret of {target}"));
            return Err(Refusal::Unauthenticated);
        };
        self.guesses.succeeded(call.source.map(|source| source.ip()), &target, self.now_ms());
        self.used(&principal, name, call.source);
        let event = Event::done(AUTHENTICATE, format!("access-key/{name}"));
        self.record(&Call { principal: principal.to_string(), authenticated_by: "credential", ..call.clone() }, event)
            .await?;
        Ok(Known::Principal(principal))
    }

    /// Every use of the bootstrap token is on disk before it has an effect.
    async fn bootstrap_token(&self, call: &Call, token: &str, name: &str) -> Result<(), Refusal> {
        self.check_guesses(call, None)?;
        let expected = self.admin_token.expose_secret().as_bytes();
        let right = iam_core::secret::equal(token.as_bytes(), expected);
        if !right {
            self.guessed(call, None, "malformed token, or a wrong bootstrap token");
            return Err(Refusal::Unauthenticated);
        }
        if !self.bootstrap_enabled()? {
            self.record_denial(call, AUTHENTICATE, "iam/bootstrap-token", "the bootstrap token is disabled");
            return Err(Refusal::Unauthenticated);
        }
        let resource = if name.is_empty() { "iam/bootstrap-token" } else { "iam/bootstrap-login" };
        let call = Call {
            principal: Caller::Bootstrap.to_string(),
            authenticated_by: AuthenticatedBy::BootstrapToken.as_str(),
            ..call.clone()
        };
        Ok(self.record(&call, Event::done(AUTHENTICATE, resource)).await?)
    }

    pub(crate) fn check_guesses(&self, call: &Call, target: Option<&Target>) -> Result<(), Refusal> {
        let Some(retry_after_s) = self.wait_s(call, target) else { return Ok(()) };
        self.record_denial(call, AUTHENTICATE, SECRETS, "not looked at, after too many failures");
        Err(Refusal::SlowDown { retry_after_s })
    }

    fn wait_s(&self, call: &Call, target: Option<&Target>) -> Option<u32> {
        self.guesses.wait_s(call.source.map(|source| source.ip()), target, self.now_ms())
    }

    /// Counts a wrong guess.
    pub(crate) fn guessed(&self, call: &Call, target: Option<&Target>, reason: &str) {
        self.count_failure(call, target, SECRETS, reason);
    }

    /// Counts a wrong proof of a kind that nobody can guess. The answer is the same each time, and a right one from the
    /// same source is never held up; who sends many has no turn at guessing secrets, and makes no more rows meanwhile.
    pub(crate) fn forged(&self, call: &Call, resource: &str, reason: &str) {
        if self.wait_s(call, None).is_none() {
            self.count_failure(call, None, resource, reason);
        }
    }

    fn count_failure(&self, call: &Call, target: Option<&Target>, resource: &str, reason: &str) {
        self.record_denial(call, AUTHENTICATE, resource, reason);
        if self.guesses.failed(call.source.map(|source| source.ip()), target, self.now_ms()) {
            self.metrics.slowed.inc();
            let whose = target.map(|target| format!(", now of {target}")).unwrap_or_default();
            self.record_denial(call, ALERT, resource, &format!("guesses secrets or forges tokens{whose}; slowed down"));
            let (source, target) = (call.source.map(|source| source.ip().to_string()), target.map(ToString::to_string));
            tracing::warn!(source, target, "somebody guesses secrets or forges tokens; they are slowed down");
        }
    }

    fn peer(&self, presented: &Presented) -> Result<Arc<Peer>, Refusal> {
        self.verify_peer(&presented.certificates)?.map_err(|fault| {
            let call = Call::anonymous(presented.source, presented.request_id.clone());
            self.record_denial(&call, AUTHENTICATE, "iam/certificates", &fault.to_string());
            Refusal::Unauthenticated
        })
    }

    /// The identity of a stored principal, if it may act.
    fn stored(&self, id: PrincipalId, evidence: Evidence, presented: &Presented) -> Result<Identity, Refusal> {
        let Some(holdings) = self.holdings(&id)? else {
            let call = Call::anonymous(presented.source, presented.request_id.clone());
            self.record_denial(&call, AUTHENTICATE, &id.to_string(), "the principal is unknown or disabled");
            return Err(Refusal::Unauthenticated);
        };
        let (authenticated_by, token_id) = match &evidence {
            Evidence::None => (AuthenticatedBy::Nothing, None),
            Evidence::Token(verified) => (AuthenticatedBy::Token, Some(verified.claims.jti.clone())),
            Evidence::AccessKey(_) => (AuthenticatedBy::Credential, None),
            Evidence::Certificate(_) => (AuthenticatedBy::Certificate, None),
        };
        let roles = match &evidence {
            Evidence::Token(verified) => roles_of(&verified.claims, &holdings),
            Evidence::None | Evidence::AccessKey(_) | Evidence::Certificate(_) => holdings.role_names(),
        };
        Ok(Identity {
            roles,
            scope: holdings.scope.clone(),
            principal: id.into(),
            authenticated_by,
            evidence,
            token_id,
            source: presented.source,
            request_id: presented.request_id.clone(),
        })
    }
}

impl Call {
    pub(crate) fn anonymous(source: Option<SocketAddr>, request_id: String) -> Self {
        Self {
            principal: Caller::Anonymous.to_string(),
            authenticated_by: AuthenticatedBy::Nothing.as_str(),
            source,
            token_id: None,
            request_id,
        }
    }
}

fn bootstrap(presented: &Presented) -> Identity {
    admin(Caller::Bootstrap, AuthenticatedBy::BootstrapToken, presented)
}

/// A caller that is an admin without being a principal.
fn admin(caller: Caller, authenticated_by: AuthenticatedBy, presented: &Presented) -> Identity {
    Identity {
        principal: caller,
        authenticated_by,
        evidence: Evidence::None,
        token_id: None,
        roles: Holdings::admin().role_names(),
        scope: Scope::System,
        source: presented.source,
        request_id: presented.request_id.clone(),
    }
}
