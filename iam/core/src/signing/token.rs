use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Header, Validation, decode, decode_header, encode, errors::ErrorKind};
use serde::{Deserialize, Serialize};

use super::{Confirmation, KeyError, KeyRing, PublicKey, SigningKey, provider};
use crate::Scope;

/// How far clocks may differ.
pub const LEEWAY_S: u64 = 30;
/// No token of ours is nearly as long; longer ones are refused before they are parsed.
pub const MAX_TOKEN: usize = 8 * 1024;
/// A client assertion lives shorter than this.
const MAX_ASSERTION_S: u64 = 60;
/// Certificates in an assertion's header.
const MAX_CHAIN: usize = 4;

/// What a token says. Times are Unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    /// SPIFFE id of the principal.
    pub sub: String,
    pub aud: Audience,
    pub iat: u64,
    pub nbf: u64,
    pub exp: u64,
    pub jti: String,
    /// For verifiers outside of the plane; the plane itself reads bindings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// `jti` of the first token of a chain of exchanges and renewals.
    pub lin: String,
    pub epoch: u64,
    /// The revision of the plane's records at which it was issued: clocks may differ, this does not. Absent in tokens of
    /// others, and of releases that do not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rev: Option<u64>,
    /// The roles (RFC 6749 §3.3) to which an exchange has narrowed it; all of its principal's rights, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Whoever shows the token must confirm this; anybody may who has it, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
    /// Where its principal is: the claims `org` and `project`.
    #[serde(flatten)]
    pub within: Scope,
}

impl Claims {
    /// Whether another token of the same principal issued it.
    pub fn is_derived(&self) -> bool {
        self.lin != self.jti
    }

    /// The names of the roles that it is narrowed to.
    pub fn narrowed_to(&self) -> Option<Vec<&str>> {
        self.scope.as_ref().map(|scope| scope.split_ascii_whitespace().collect())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    One(String),
    Many(Vec<String>),
}

/// A token that this plane signed and that is valid now, apart from revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub claims: Claims,
    pub kid: String,
}

/// The precise reason for the audit log; callers never see it. Nothing of a forged token is in its text, so that
/// forgeries are counted together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    #[error("malformed")]
    Malformed,
    #[error("algorithm not allowed for this key")]
    Algorithm,
    #[error("no key id")]
    NoKey,
    #[error("unknown key")]
    UnknownKey,
    #[error("key {0:?} is retired")]
    RetiredKey(String),
    #[error("critical header that is not understood")]
    Critical,
    #[error("bad signature")]
    Signature,
    #[error("wrong issuer")]
    Issuer,
    #[error("wrong audience")]
    Audience,
    #[error("expired")]
    Expired,
    #[error("not valid yet")]
    Early,
    #[error("issued before the last restore")]
    Epoch,
    #[error("claim missing: {0}")]
    Missing(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the key did not sign")]
    Sign,
}

/// Signs `claims` as a compact JWT whose header names the key.
pub fn issue(key: &SigningKey, claims: &Claims) -> Result<String, IssueError> {
    provider::install();
    let mut header = Header::new(key.public().algorithm.jwt());
    header.kid = Some(key.public().kid()?);
    encode(&header, claims, &key.encoding_key()).map_err(|_| IssueError::Sign)
}

/// What a token must agree with.
#[derive(Clone, Copy, Debug)]
pub struct Verifier<'a> {
    pub ring: &'a KeyRing,
    pub issuer: &'a str,
    pub audience: &'a str,
}

impl Verifier<'_> {
    /// Checks everything but revocation. The algorithm comes from the key that the ring holds, never from the token.
    pub fn verify(&self, token: &str, now_ms: u64) -> Result<Verified, TokenFault> {
        provider::install();
        let header = header(token)?;
        let kid = header.kid.ok_or(TokenFault::NoKey)?;
        let key = self.ring.key(&kid).ok_or(TokenFault::UnknownKey)?;
        if !key.state.verifies() {
            return Err(TokenFault::RetiredKey(kid));
        }
        let claims: Claims = checked(token, &key.value, self.issuer, self.audience)?;
        in_time(claims.nbf, claims.exp, now_ms / 1000)?;
        if claims.epoch != self.ring.epoch {
            return Err(TokenFault::Epoch);
        }
        Ok(Verified { claims, kid })
    }
}

/// A client's proof that it holds the key of its certificate (RFC 7523 with the chain in `x5c`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    /// Leaf first, DER; not verified yet.
    pub chain: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct AssertionClaims {
    iss: String,
    sub: String,
    exp: u64,
    #[serde(default)]
    nbf: u64,
    jti: String,
}

/// Why a client assertion proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssertionFault {
    #[error(transparent)]
    Token(#[from] TokenFault),
    #[error("no certificate chain in x5c, or more than {MAX_CHAIN} certificates")]
    Chain,
    #[error("iss and sub must both be {0}")]
    Subject(String),
    #[error("lives longer than {MAX_ASSERTION_S} s")]
    TooLong,
}

impl Assertion {
    pub fn parse(assertion: &str) -> Result<Self, AssertionFault> {
        let header = header(assertion)?;
        let chain = header.x5c.unwrap_or_default();
        if chain.is_empty() || chain.len() > MAX_CHAIN {
            return Err(AssertionFault::Chain);
        }
        let chain = chain.iter().map(|certificate| STANDARD.decode(certificate));
        Ok(Self { chain: chain.collect::<Result<_, _>>().map_err(|_| AssertionFault::Chain)? })
    }
}

/// Checks an assertion against the key of its (verified) leaf certificate, and returns its `jti` and expiry in Unix
/// seconds, so that the caller can refuse a second use.
pub fn verify_assertion(
    assertion: &str,
    leaf: &PublicKey,
    subject: &str,
    audience: &str,
    now_ms: u64,
) -> Result<(String, u64), AssertionFault> {
    provider::install();
    let claims: AssertionClaims = checked(assertion, leaf, subject, audience)?;
    if claims.iss != subject || claims.sub != subject {
        return Err(AssertionFault::Subject(subject.to_owned()));
    }
    let now_s = now_ms / 1000;
    in_time(claims.nbf, claims.exp, now_s)?;
    if claims.exp > now_s + MAX_ASSERTION_S + LEEWAY_S {
        return Err(AssertionFault::TooLong);
    }
    Ok((claims.jti, claims.exp))
}

fn header(token: &str) -> Result<Header, TokenFault> {
    if token.len() > MAX_TOKEN {
        return Err(TokenFault::Malformed);
    }
    let header = decode_header(token).map_err(|error| match fault(error.into_kind()) {
        TokenFault::Malformed if names_algorithm(token) => TokenFault::Algorithm,
        fault => fault,
    })?;
    if header.crit.is_some() {
        return Err(TokenFault::Critical);
    }
    Ok(header)
}

/// Whether it has the header of a token, with an algorithm that is none of those that there are.
fn names_algorithm(token: &str) -> bool {
    let header = token.split('.').next().and_then(|header| URL_SAFE_NO_PAD.decode(header).ok());
    let header = header.and_then(|header| serde_json::from_slice::<serde_json::Value>(&header).ok());
    header.is_some_and(|header| {
        let algorithm = header["alg"].as_str();
        algorithm.is_some_and(|name| name.parse::<jsonwebtoken::Algorithm>().is_err())
    })
}

/// Signature, algorithm, issuer, audience and the presence of claims; time is the caller's.
fn checked<T: serde::de::DeserializeOwned>(
    token: &str,
    key: &PublicKey,
    issuer: &str,
    audience: &str,
) -> Result<T, TokenFault> {
    let mut validation = Validation::new(key.algorithm.jwt());
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    // The library would ask the system's clock.
    validation.validate_exp = false;
    let key = key.decoding_key().map_err(|_| TokenFault::Algorithm)?;
    let data = decode::<T>(token, &key, &validation).map_err(|error| fault(error.into_kind()))?;
    Ok(data.claims)
}

fn in_time(nbf: u64, exp: u64, now_s: u64) -> Result<(), TokenFault> {
    if exp.saturating_add(LEEWAY_S) <= now_s {
        return Err(TokenFault::Expired);
    }
    if nbf > now_s.saturating_add(LEEWAY_S) {
        return Err(TokenFault::Early);
    }
    Ok(())
}

fn fault(kind: ErrorKind) -> TokenFault {
    match kind {
        ErrorKind::InvalidSignature => TokenFault::Signature,
        ErrorKind::InvalidIssuer => TokenFault::Issuer,
        ErrorKind::InvalidAudience => TokenFault::Audience,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName | ErrorKind::UnsupportedAlgorithm => {
            TokenFault::Algorithm
        }
        ErrorKind::MissingRequiredClaim(claim) => TokenFault::Missing(claim),
        _ => TokenFault::Malformed,
    }
}
