//! Nodes come in by join token and certificate request, and renew with the certificate or at least the key they have.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chainfire_core::{AuthenticatedBy, Origin, system::Expect};
use iam_ca::{CertificateRequest, Signed};
use iam_client::{Evidence, Identity, Refusal};
use iam_core::{
    Kind, PrincipalId, Scope,
    enrol::{JoinToken, JoinTokenError, JoinTokenRecord, MAX_TTL_MS, Redemption},
    record::{Enrollment, Principal, key},
    trust::serial,
};
use zeroize::Zeroizing;

use crate::{
    Error, Iam,
    authority::AUTHENTICATE,
    iam::Inner,
    issuer::end_ms,
    recorder::Call,
    records::{Change, Listing, Versioned},
    trust::decoded,
};

/// Expired enrolments of a node that one renewal takes along, and join tokens that a new one does.
const SWEEP: usize = 32;

/// What a join token that somebody else has used is in the history.
const ALERT: &str = "iam.JoinTokenAlert";

/// A node's certificate and what it needs to trust the plane.
#[derive(Debug)]
pub(crate) struct Certified {
    /// Leaf first, DER.
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) bundle: Vec<Vec<u8>>,
    pub(crate) spiffe_id: String,
    pub(crate) expires_ms: u64,
}

/// A new join token; its text is shown once.
pub(crate) struct NewJoinToken {
    pub(crate) text: Zeroizing<String>,
    pub(crate) expires_ms: u64,
}

impl Iam {
    pub(crate) async fn create_join_token(
        &self,
        by: &Identity,
        node: PrincipalId,
        ttl_s: u64,
    ) -> Result<NewJoinToken, Error> {
        if node.kind() != Kind::Node {
            return Err(Error::Invalid("a join token is for a node".to_owned()));
        }
        self.0.authorize(by, "iam.Enroll", &node.to_string())?;
        let ttl_ms = match ttl_s.saturating_mul(1000) {
            0 => MAX_TTL_MS,
            ttl_ms if ttl_ms <= MAX_TTL_MS => ttl_ms,
            _ => return Err(Error::Invalid(format!("a join token lives at most {} s", MAX_TTL_MS / 1000))),
        };
        let authority = self.0.issuing_authority()?;
        let hash = hex::decode(&authority).ok().and_then(|hash| hash.try_into().ok());
        let hash = hash.ok_or_else(|| Error::Corrupt("an authority's id is no hash".to_owned()))?;
        let token =
            JoinToken::new(node.clone(), hash, Zeroizing::new(self.0.random()?)).map_err(|_| Error::JoinToken)?;
        let now_ms = self.0.now_ms();
        let expires_ms = now_ms + ttl_ms;
        let record = JoinTokenRecord {
            node: node.clone(),
            created_ms: now_ms,
            expires_ms,
            created_by: by.principal.to_string(),
            redeemed: None,
        };
        let mut change =
            Change::new("iam.JoinTokenCreate", node.to_string()).create(key::join_token(&token.id()), &record)?;
        let begin = key::join_token(&hex::encode(self.0.random::<3>()?));
        let some = self.0.records.some::<JoinTokenRecord>(key::JOIN_TOKENS.as_bytes(), &begin, SWEEP)?;
        for (at, _) in some.into_iter().filter(|(_, old)| old.is_over(now_ms)) {
            change = change.delete(at);
        }
        self.0.records.commit(by.origin(), change).await?;
        Ok(NewJoinToken { text: token.text(), expires_ms })
    }

    /// Trades a join token and a request for a certificate. The token is consumed together with the request's key.
    pub(crate) async fn enroll(&self, call: Call, join_token: &str, request: &[u8]) -> Result<Certified, Error> {
        self.0.check_doors()?;
        self.0.check_approved()?;
        self.0.check_guesses(&call, None)?;
        let request = CertificateRequest::parse(request)?;
        let refuse = |reason: &str| {
            self.0.metrics.failed.inc();
            self.0.guessed(&call, None, &format!("join token: {reason}"));
            Error::JoinToken
        };
        let token = JoinToken::parse(join_token).map_err(|error| refuse(&error.to_string()))?;
        let id = token.id();
        let stored = self.0.records.get::<JoinTokenRecord>(&key::join_token(&id))?;
        let stored = stored.ok_or_else(|| refuse("unknown"))?;
        let node = &stored.value.node;
        match stored.value.admit(&request.key_sha256, self.0.now_ms()) {
            // By the authority that the token names, also if another one issues by now: the node believes no other yet.
            Ok(None) => self.0.redeem(&call, (&id, &hex::encode(token.ca_sha256())), &stored, &request).await,
            Ok(Some(redeemed)) => self.0.repeat(node, redeemed),
            Err(error) => {
                if error == JoinTokenError::OtherKey {
                    self.0.metrics.join_token_alerts.inc();
                    // What callers without a name act upon is kept by its kind alone, so the reason names the node.
                    let reason = format!("the join token of {node} is used again with another key: it may be stolen");
                    self.0.record_denial(&call, ALERT, &node.to_string(), &reason);
                    tracing::error!(%node, "a join token is used again with another key: it may be stolen");
                }
                Err(refuse(&error.to_string()))
            }
        }
    }

    /// A new certificate for the node that calls: for any key if it shows a certificate, otherwise for one that it has.
    pub(crate) async fn renew(&self, by: &Identity, request: &[u8]) -> Result<Certified, Error> {
        let node = by.principal.principal().filter(|id| id.kind() == Kind::Node);
        let node = node.ok_or_else(|| Error::Invalid("only a node renews its certificate".to_owned()))?;
        let request = CertificateRequest::parse(request)?;
        let now_ms = self.0.now_ms();
        let of_key = self.0.certificate_for(node, &request, now_ms)?;
        if of_key.is_none() {
            // A machine goes on with its key until a restore is approved, and gets no new one.
            self.0.check_approved()?;
        }
        let parent = match &by.evidence {
            Evidence::Certificate(chain) => self.0.verify_peer(chain)?.ok().map(|peer| peer.serial.clone()),
            Evidence::None | Evidence::Token(_) | Evidence::AccessKey(_) => of_key,
        };
        let Some(parent) = parent else {
            // Whoever stole an hour of the node's identity must not get it for good.
            self.0.record_denial(&Call::of(by), "iam.CertificateRenew", &node.to_string(), "another key, by a token");
            return Err(Error::Refused(Refusal::Denied {
                action: "iam.CertificateRenew".to_owned(),
                resource: node.to_string(),
            }));
        };
        let issued = self.0.certify(node, &request, None, Some(&parent))?;
        let enrollment = enrollment(node, &request, &issued.leaf, now_ms, None);
        let mut change = Change::new("iam.CertificateRenew", node.to_string())
            .expect(key::principal(node), Expect::Present)
            .expect(key::AUTHORITIES.to_vec(), Expect::Revision(issued.trust))
            .put(key::enrollment(node, &issued.leaf.serial), &enrollment)?;
        let prefix = format!("{}{node}/", key::ENROLLMENTS);
        for old in self.0.records.list::<Enrollment>(prefix.as_bytes(), None, SWEEP)?.values {
            if old.expires_ms < now_ms {
                change = change.delete(key::enrollment(node, &old.serial));
            }
        }
        self.0.records.commit(by.origin(), change).await?;
        let chain = chain(issued.leaf.der.clone(), issued.intermediate.as_deref())?;
        self.0.certified(node, chain, end_ms(&issued.leaf))
    }

    pub(crate) fn list_enrollments(&self, after: Option<&[u8]>, limit: usize) -> Result<Listing<Enrollment>, Error> {
        self.0.records.list(key::ENROLLMENTS.as_bytes(), after, limit)
    }

    /// Why an enrolment does not count any more.
    pub(crate) fn revoked(&self, enrollment: &Enrollment) -> Result<Option<String>, Error> {
        let serial = serial(&enrollment.serial).unwrap_or_default();
        if let Some(denied) = self.0.denied(&serial)? {
            return Ok(Some(denied.reason));
        }
        let node = self.0.records.get::<Principal>(&key::principal(&enrollment.node))?;
        Ok(node.is_none_or(|node| node.value.disabled).then(|| "the node is disabled".to_owned()))
    }
}

impl Inner {
    /// The serial number of a certificate of `node` that is in force and for the key that signed `request`.
    fn certificate_for(
        &self,
        node: &PrincipalId,
        request: &CertificateRequest,
        now_ms: u64,
    ) -> Result<Option<String>, Error> {
        let prefix = format!("{}{node}/", key::ENROLLMENTS);
        let mut after = None;
        loop {
            let page = self.records.list::<Enrollment>(prefix.as_bytes(), after.as_deref(), SWEEP)?;
            let mut in_force = page.values.into_iter().filter(|one| one.expires_ms >= now_ms);
            if let Some(found) = in_force.find(|one| one.key_sha256 == request.key_sha256) {
                return Ok(serial(&found.serial));
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(None),
            }
        }
    }

    async fn redeem(
        &self,
        call: &Call,
        (id, authority): (&str, &str),
        stored: &Versioned<JoinTokenRecord>,
        request: &CertificateRequest,
    ) -> Result<Certified, Error> {
        let node = &stored.value.node;
        let now_ms = self.now_ms();
        let issued = self.certify(node, request, Some(authority), None)?;
        let redeemed = Redemption {
            key_sha256: request.key_sha256.clone(),
            at_ms: now_ms,
            certificate: STANDARD.encode(&issued.leaf.der),
            intermediate: issued.intermediate.clone(),
        };
        let record = JoinTokenRecord { redeemed: Some(redeemed), ..stored.value.clone() };
        let change =
            Change::new("iam.Enroll", node.to_string()).replace(key::join_token(id), stored.revision, &record)?.put(
                key::enrollment(node, &issued.leaf.serial),
                &enrollment(node, request, &issued.leaf, now_ms, Some(id.to_owned())),
            )?;
        let change = change.expect(key::AUTHORITIES.to_vec(), Expect::Revision(issued.trust));
        let at = key::principal(node);
        let change = match self.records.get::<Principal>(&at)? {
            // A disabled node stays out, whoever still has a join token for it.
            Some(principal) if principal.value.disabled => {
                self.metrics.failed.inc();
                self.record_denial(call, AUTHENTICATE, &node.to_string(), "join token: the node is disabled");
                return Err(Error::JoinToken);
            }
            Some(principal) => change.expect(at, Expect::Revision(principal.revision)),
            None => {
                let principal = Principal {
                    id: node.clone(),
                    display_name: String::new(),
                    created_ms: now_ms,
                    disabled: false,
                    scope: Scope::System,
                };
                change.create(at, &principal)?
            }
        };
        let origin = Origin {
            principal: node.to_string(),
            authenticated_by: AuthenticatedBy::JoinToken,
            source: call.source.map(|source| source.to_string()),
            token_id: None,
            request_id: call.request_id.clone(),
        };
        self.records.commit(origin, change).await?;
        let chain = chain(issued.leaf.der.clone(), issued.intermediate.as_deref())?;
        self.certified(node, chain, end_ms(&issued.leaf))
    }

    /// The certificate of the first answer, which may have been lost on the way.
    fn repeat(&self, node: &PrincipalId, redeemed: &Redemption) -> Result<Certified, Error> {
        let chain = chain(decoded(&redeemed.certificate)?, redeemed.intermediate.as_deref())?;
        let peer = self.verify_peer(&chain.iter().map(|der| Arc::from(der.as_slice())).collect())?;
        let peer = peer.map_err(|fault| Error::Corrupt(fault.to_string()))?;
        self.certified(node, chain, peer.expires_ms)
    }

    fn certified(&self, node: &PrincipalId, chain: Vec<Vec<u8>>, expires_ms: u64) -> Result<Certified, Error> {
        let spiffe_id = self.settings.trust_domain.spiffe_id(node);
        Ok(Certified { chain, bundle: self.roots()?, spiffe_id, expires_ms })
    }
}

/// What a node shows: its certificate, and the authority between it and the root, if there is one.
fn chain(leaf: Vec<u8>, intermediate: Option<&str>) -> Result<Vec<Vec<u8>>, Error> {
    let intermediate = intermediate.map(decoded).transpose()?;
    Ok([leaf].into_iter().chain(intermediate).collect())
}

fn enrollment(
    node: &PrincipalId,
    request: &CertificateRequest,
    issued: &Signed,
    now_ms: u64,
    join_token_id: Option<String>,
) -> Enrollment {
    Enrollment {
        node: node.clone(),
        serial: issued.serial.clone(),
        key_sha256: request.key_sha256.clone(),
        enrolled_ms: now_ms,
        expires_ms: end_ms(issued),
        join_token_id,
    }
}
