//! Issuing, verifying and revoking tokens.

use std::{collections::HashMap, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use iam_client::{Identity, Refusal};
use iam_core::{
    Kind, PrincipalId,
    policy::Role,
    record::{RevokedKey, RevokedPrincipal, RevokedToken, key},
    signing::{Audience, Claims, Confirmation, LEEWAY_S, TokenFault, Verified, Verifier, issue},
};
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};

use crate::{
    Error, Iam,
    delegation::ADMIN,
    holdings::Holdings,
    iam::Inner,
    kept::Kept,
    receipts::Receipt,
    recorder::{Call, Event},
    records::Change,
    settings::millis,
};

/// Tokens whose signature was checked here.
const MAX_VERIFIED: usize = 10_000;
/// So long a caller may wait for the other servers.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// No token lives longer, however servers are set.
const LONGEST_LIFE_MS: u64 = 24 * 3_600_000;
/// What all tokens are called.
const TOKENS: &str = "iam/tokens";
/// Old revocations that one revocation cleans up.
const SWEEP: usize = 64;

/// What a new token is to be. Its principal must exist.
#[derive(Clone, Copy)]
pub(crate) struct NewToken<'a> {
    pub(crate) principal: &'a PrincipalId,
    pub(crate) ttl: Duration,
    /// The token of the same principal that asks for it; the new one ends with it at the latest and is revoked with it.
    pub(crate) parent: Option<&'a Claims>,
    /// The roles that it is to be narrowed to; those of its parent, if there are none.
    pub(crate) scope: Option<&'a [Role]>,
    /// The client certificate (DER) that it is to be good with only.
    pub(crate) certificate: Option<&'a [u8]>,
}

/// What a token is to be exchanged for.
pub(crate) struct Wanted {
    /// Names of roles.
    pub(crate) roles: Vec<String>,
    pub(crate) ttl_s: u64,
}

/// A token that was just issued.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) token: String,
    pub(crate) jti: String,
    pub(crate) expires_ms: u64,
}

/// Why a bearer token is nobody's; for the decision log.
pub(crate) enum BearerFault {
    Token(TokenFault),
    Revoked,
    /// It is bound to a certificate that the connection does not have.
    Unconfirmed,
    /// The subject is unknown or disabled.
    Principal(String),
    /// It says another organisation or project than its principal's.
    Scope,
    Error(Error),
}

/// What to revoke.
pub(crate) enum Revocation {
    Token(String),
    Principal(PrincipalId),
    /// What a signing key signed.
    Key(String),
}

/// Signatures that were found good, by the token's hash: checking one costs more than everything else. Whatever can
/// change (key state, epoch, time, revocation, principal) is looked at again for each call.
#[derive(Default)]
pub(crate) struct VerifiedTokens(Mutex<HashMap<[u8; 32], Arc<Verified>>>);

/// Tokens against which nothing is stored, by id.
pub(crate) type GoodTokens = Kept<String, ()>;

impl Inner {
    pub(crate) fn verify_token(&self, token: &str) -> Result<Arc<Verified>, BearerFault> {
        let hash: Option<[u8; 32]> = digest(&SHA256, token.as_bytes()).as_ref().try_into().ok();
        let known = hash.and_then(|hash| self.verified.0.lock().get(&hash).cloned());
        let verified = match known {
            Some(known) => known,
            None => {
                let (ring, now_ms) = (self.key_ring().map_err(BearerFault::Error)?, self.now_ms());
                let settings = &self.settings;
                let verifier = Verifier { ring: &ring.value, issuer: &settings.issuer, audience: &settings.audience };
                let fresh = Arc::new(verifier.verify(token, now_ms).map_err(BearerFault::Token)?);
                if let Some(hash) = hash {
                    self.verified.remember(hash, &fresh, now_ms / 1000);
                }
                fresh
            }
        };
        self.check_verified(&verified)?;
        Ok(verified)
    }

    /// Whether a token whose signature was found good counts now.
    pub(crate) fn check_verified(&self, verified: &Verified) -> Result<(), BearerFault> {
        if verified.claims.exp.saturating_add(LEEWAY_S) <= self.now_ms() / 1000 {
            return Err(BearerFault::Token(TokenFault::Expired));
        }
        // It is taken first: what is read then may only be newer.
        let revision = self.records.applied().system_revision;
        if self.good.get(&verified.claims.jti, revision).is_some() {
            return Ok(());
        }
        self.check_records(verified)?;
        self.good.note(verified.claims.jti.clone(), revision, ());
        Ok(())
    }

    /// Whether nothing that is stored speaks against a token.
    fn check_records(&self, verified: &Verified) -> Result<(), BearerFault> {
        let ring = self.key_ring().map_err(BearerFault::Error)?;
        if !ring.value.key(&verified.kid).is_some_and(|key| key.state.verifies()) {
            return Err(BearerFault::Token(TokenFault::RetiredKey(verified.kid.clone())));
        }
        if verified.claims.epoch != ring.value.epoch {
            return Err(BearerFault::Token(TokenFault::Epoch));
        }
        if self.is_revoked(verified).map_err(BearerFault::Error)? {
            return Err(BearerFault::Revoked);
        }
        let principal = self.settings.trust_domain.principal(&verified.claims.sub);
        let held = principal.map(|principal| self.holdings_of_any(&principal)).transpose();
        match held.map_err(BearerFault::Error)?.flatten() {
            Some(held) if held.scope != verified.claims.within => Err(BearerFault::Scope),
            _ => Ok(()),
        }
    }

    pub(crate) fn token_principal(&self, verified: &Verified) -> Result<PrincipalId, BearerFault> {
        let subject = &verified.claims.sub;
        let principal = self.settings.trust_domain.principal(subject);
        let principal = principal.ok_or_else(|| BearerFault::Principal(subject.clone()))?;
        match self.holdings(&principal).map_err(BearerFault::Error)? {
            Some(_) => Ok(principal),
            None => Err(BearerFault::Principal(subject.clone())),
        }
    }

    fn is_revoked(&self, verified: &Verified) -> Result<bool, Error> {
        let claims = &verified.claims;
        let revoked = self.records.get::<RevokedKey>(&key::revoked_key(&verified.kid))?;
        if revoked.is_some_and(|revoked| is_older(claims, revoked.value.not_before_ms, revoked.revision)) {
            return Ok(true);
        }
        let lineage = Some(&claims.lin).filter(|lin| **lin != claims.jti);
        for id in std::iter::once(&claims.jti).chain(lineage) {
            if !is_token_id(id) || self.records.exists(&key::revoked_token(id))? {
                return Ok(true);
            }
        }
        let Some(principal) = self.settings.trust_domain.principal(&claims.sub) else { return Ok(false) };
        let revoked = self.records.get::<RevokedPrincipal>(&key::revoked_principal(&principal))?;
        Ok(revoked.is_some_and(|revoked| is_older(claims, revoked.value.not_before_ms, revoked.revision)))
    }

    /// Signs a token and records it before anybody has it.
    pub(crate) async fn issue(&self, call: &Call, new: NewToken<'_>) -> Result<Issued, Error> {
        let NewToken { principal, ttl, parent, scope, certificate } = new;
        if principal.kind() != Kind::Node {
            self.check_approved()?;
        }
        // It is taken first: what is read then may only be newer, and so may only be revoked too eagerly.
        let revision = self.records.applied().system_revision;
        let holdings = self.holdings(principal)?.ok_or_else(|| Error::NotFound(principal.to_string()))?;
        let now_s = self.now_ms() / 1000;
        let exp = parent.map_or(u64::MAX, |parent| parent.exp).min(now_s + ttl.as_secs());
        let (signer, ring) = self.signer(exp * 1000)?;
        let jti = URL_SAFE_NO_PAD.encode(self.random::<16>()?);
        let scope = match scope {
            Some(roles) => Some(roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
            None => parent.and_then(|parent| parent.scope.clone()),
        };
        let mut claims = Claims {
            iss: self.settings.issuer.clone(),
            sub: self.settings.trust_domain.spiffe_id(principal),
            aud: Audience::One(self.settings.audience.clone()),
            iat: now_s,
            nbf: now_s,
            exp,
            lin: parent.map_or_else(|| jti.clone(), |parent| parent.lin.clone()),
            jti: jti.clone(),
            roles: holdings.role_names(),
            epoch: ring.value.epoch,
            rev: Some(revision),
            scope,
            cnf: certificate.map(Confirmation::certificate),
            within: holdings.scope.clone(),
        };
        if let Some(scope) = &claims.scope {
            claims.roles.retain(|role| scope.split(' ').any(|name| name == role));
        }
        let token = issue(&signer, &claims)?;
        let event = Event::done("iam.TokenIssue", principal.to_string()).token(&jti);
        let event = match descent(call, parent, &claims) {
            Some(descent) => event.because(&descent),
            None => event,
        };
        self.record(call, event).await?;
        self.metrics.issued.inc();
        Ok(Issued { token, jti, expires_ms: claims.exp * 1000 })
    }

    /// The roles of these names, all of which `principal` has, and a token that is narrowed already may hand on.
    pub(crate) fn narrowed(
        &self,
        within: Option<&[&str]>,
        principal: &PrincipalId,
        names: &[String],
    ) -> Result<Vec<Role>, Error> {
        if principal.kind() == Kind::Node {
            return Err(Error::Invalid("a node's token is for the node alone".to_owned()));
        }
        if names.is_empty() {
            return Err(Error::Invalid("name the roles that the new token is to have".to_owned()));
        }
        let held = self.holdings(principal)?.unwrap_or_default();
        let role = |name: &String| {
            let role = held.all_roles().find(|role| role.as_str() == name);
            let role = role.filter(|_| within.is_none_or(|within| within.contains(&name.as_str())));
            role.ok_or_else(|| Error::RoleNotHeld(name.clone()))
        };
        names.iter().map(role).collect()
    }

    /// The life that a caller asked for, within the limits.
    pub(crate) fn ttl(&self, seconds: u64) -> Result<Duration, Error> {
        let (default, max) = (self.settings.lifetimes.token, self.settings.lifetimes.longest_token);
        match Duration::from_secs(seconds) {
            Duration::ZERO => Ok(default.min(max)),
            ttl if ttl <= max => Ok(ttl),
            _ => Err(Error::Invalid(format!("a token lives at most {} s", max.as_secs()))),
        }
    }
}

/// What a token comes from, for the history: with it everything that came from a stolen one is found.
fn descent(call: &Call, parent: Option<&Claims>, claims: &Claims) -> Option<String> {
    let by = call.token_id.as_ref().map(|jti| format!("by token {jti}"));
    let lineage = parent.map(|parent| format!("lin {}", parent.lin));
    let scope = claims.scope.as_ref().map(|scope| format!("scope {scope}"));
    let said: Vec<_> = [by, lineage, scope].into_iter().flatten().collect();
    (!said.is_empty()).then(|| said.join(", "))
}

/// The roles that a token has of what its owner holds.
pub(crate) fn roles_of(claims: &Claims, holdings: &Holdings) -> Vec<String> {
    claims.narrowed_to().map_or_else(|| holdings.role_names(), |scope| holdings.narrowed(&scope).role_names())
}

/// Whether a token was issued before everything of its kind was revoked, at `revision`.
fn is_older(claims: &Claims, not_before_ms: u64, revision: u64) -> bool {
    claims.rev.map_or(claims.iat <= not_before_ms / 1000, |issued| issued < revision)
}

impl Iam {
    /// For the caller itself, bound to the client certificate that it shows, if any; or for somebody else, who has
    /// another certificate or none, if the caller may issue tokens.
    pub(crate) async fn issue_token(
        &self,
        by: &Identity,
        principal: &PrincipalId,
        ttl_s: u64,
        shown: &[Arc<[u8]>],
    ) -> Result<Issued, Error> {
        let own = by.is_itself(principal);
        let parent = by.claims().filter(|_| own);
        // One generation: what a token in the middle had issued would outlive it, since all carry the first one's id.
        if !own || parent.is_some_and(Claims::is_derived) {
            self.0.authorize(by, "iam.IssueToken", &principal.to_string())?;
        }
        let ttl = self.0.ttl(ttl_s)?;
        let new = NewToken {
            principal,
            ttl,
            parent,
            scope: None,
            certificate: shown.first().filter(|_| own).map(AsRef::as_ref),
        };
        self.0.issue(&Call::of(by), new).await
    }

    /// A token for less, for the owner of `parent`: it has no more roles, ends no later, and is revoked with it.
    pub(crate) async fn exchange(&self, by: &Identity, wanted: Wanted, shown: &[Arc<[u8]>]) -> Result<Issued, Error> {
        let (Some(principal), Some(parent)) = (by.principal.principal(), by.claims()) else {
            return Err(Error::Invalid("only a token is exchanged for a narrower one".to_owned()));
        };
        let scope = self.0.narrowed(by.narrowed_to().as_deref(), principal, &wanted.roles)?;
        if parent.is_derived() {
            // As for any token that a derived one asks for.
            self.0.authorize(by, "iam.IssueToken", &principal.to_string())?;
        }
        let ttl = self.0.ttl(wanted.ttl_s)?;
        let certificate = shown.first().map(AsRef::as_ref);
        let new = NewToken { principal, ttl, parent: Some(parent), scope: Some(&scope), certificate };
        self.0.issue(&Call::of(by), new).await
    }

    /// Revokes the caller's own tokens, or for an admin anybody's, on every server, and the access keys that they made
    /// for their own principal; waits at most `wait` for all servers to enforce it.
    pub(crate) async fn revoke(&self, by: &Identity, what: Revocation, wait: Duration) -> Result<Receipt, Error> {
        if wait > LONGEST_WAIT {
            return Err(Error::Invalid(format!("the wait is at most {} s", LONGEST_WAIT.as_secs())));
        }
        let own = match &what {
            Revocation::Token(jti) => by.token_id.as_ref() == Some(jti),
            Revocation::Principal(principal) => by.is_itself(principal),
            Revocation::Key(_) => false,
        };
        match &what {
            _ if own => {}
            Revocation::Principal(principal) => self.0.authorize_over(by, TOKENS, principal)?,
            Revocation::Token(_) | Revocation::Key(_) => self.0.authorize(by, ADMIN, TOKENS)?,
        }
        let now_ms = self.0.now_ms();
        let change = match &what {
            Revocation::Token(jti) => {
                if !is_token_id(jti) {
                    return Err(Error::Invalid("a token is named by its jti".to_owned()));
                }
                // Not what is set now: the token may be of a time when more was.
                let until_ms = now_ms + LONGEST_LIFE_MS + LEEWAY_S * 1000;
                let change = Change::new("iam.TokenRevoke", format!("token/{jti}"));
                let change = change.put(key::revoked_token(jti), &RevokedToken { revoked_ms: now_ms, until_ms })?;
                self.revoke_made_by(change, jti, now_ms)?
            }
            Revocation::Principal(principal) => {
                let change = Change::new("iam.TokenRevoke", principal.to_string());
                let revoked = RevokedPrincipal { not_before_ms: now_ms };
                let change = change.put(key::revoked_principal(principal), &revoked)?;
                self.revoke_all_made(change, principal, now_ms)?
            }
            Revocation::Key(kid) => {
                let ring = self.0.key_ring()?;
                ring.value.key(kid).ok_or_else(|| Error::NotFound(format!("signing key {kid}")))?;
                Change::new("iam.TokenRevoke", format!("signing-key/{kid}"))
                    .put(key::revoked_key(kid), &RevokedKey { not_before_ms: now_ms })?
            }
        };
        let revision = self.0.records.commit(by.origin(), self.sweep(change, now_ms)?).await?;
        let worst_ms = now_ms + millis(self.0.settings.lifetimes.longest_token);
        let ends_ms = match &what {
            Revocation::Token(jti) => by.claims().filter(|own| own.jti == *jti).map(|own| own.exp * 1000),
            Revocation::Principal(_) | Revocation::Key(_) => None,
        };
        self.0.receipt(revision, ends_ms.unwrap_or(worst_ms) + LEEWAY_S * 1000, wait).await
    }

    /// Takes along revocations of tokens that are expired anyway, so that their number stays bounded.
    fn sweep(&self, mut change: Change, now_ms: u64) -> Result<Change, Error> {
        let begin = key::revoked_token(&URL_SAFE_NO_PAD.encode(self.0.random::<3>()?));
        let some = self.0.records.some::<RevokedToken>(key::REVOKED_TOKENS.as_bytes(), &begin, SWEEP)?;
        for (at, _) in some.into_iter().filter(|(_, revoked)| revoked.until_ms < now_ms) {
            change = change.delete(at);
        }
        Ok(change)
    }

    /// The token's claims and principal if it is valid now.
    pub(crate) fn introspect(&self, token: &str) -> Result<Option<(Arc<Verified>, PrincipalId)>, Error> {
        let checked = self.0.verify_token(token);
        match checked.and_then(|verified| Ok((self.0.token_principal(&verified)?, verified))) {
            Ok((principal, verified)) => Ok(Some((verified, principal))),
            Err(BearerFault::Error(error)) => Err(error),
            Err(
                BearerFault::Token(_)
                | BearerFault::Revoked
                | BearerFault::Unconfirmed
                | BearerFault::Principal(_)
                | BearerFault::Scope,
            ) => Ok(None),
        }
    }
}

impl VerifiedTokens {
    fn remember(&self, hash: [u8; 32], verified: &Arc<Verified>, now_s: u64) {
        let mut tokens = self.0.lock();
        if tokens.len() >= MAX_VERIFIED {
            tokens.retain(|_, verified| verified.claims.exp > now_s);
            if tokens.len() >= MAX_VERIFIED {
                tokens.clear();
            }
        }
        tokens.insert(hash, Arc::clone(verified));
    }
}

/// A token that is bound to a certificate is a bearer token only on connections with that certificate.
pub(crate) fn confirmed(verified: &Verified, certificates: &[Arc<[u8]>]) -> Result<(), BearerFault> {
    match &verified.claims.cnf {
        Some(bound) if !bound.holds(certificates.first().map(AsRef::as_ref)) => Err(BearerFault::Unconfirmed),
        _ => Ok(()),
    }
}

impl BearerFault {
    /// Not ours, as opposed to a token that was good once: its holder may not know yet.
    pub(crate) fn is_forgery(&self) -> bool {
        match self {
            Self::Token(TokenFault::Expired | TokenFault::Early | TokenFault::Epoch | TokenFault::RetiredKey(_))
            | Self::Revoked
            | Self::Unconfirmed
            | Self::Principal(_)
            | Self::Scope
            | Self::Error(_) => false,
            Self::Token(_) => true,
        }
    }

    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Token(fault) => fault.to_string(),
            Self::Revoked => "revoked".to_owned(),
            Self::Unconfirmed => "bound to a certificate that the connection does not have".to_owned(),
            Self::Principal(subject) => format!("{subject} is unknown or disabled"),
            Self::Scope => "of another organisation or project than its principal's".to_owned(),
            Self::Error(error) => error.to_string(),
        }
    }
}

impl From<BearerFault> for Refusal {
    fn from(fault: BearerFault) -> Self {
        match fault {
            BearerFault::Error(error) => error.into(),
            BearerFault::Token(_)
            | BearerFault::Revoked
            | BearerFault::Unconfirmed
            | BearerFault::Principal(_)
            | BearerFault::Scope => Self::Unauthenticated,
        }
    }
}

/// Token ids are parts of keys.
fn is_token_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}
