use std::{path::PathBuf, time::Duration};

use holdfast_rpc::Rate;
use iam_core::{TrustDomain, rotation::Windows, signing::LEEWAY_S};

use crate::BreakGlass;

/// The name of a server that is the only one.
const ALONE: &str = "holdfast";

/// How IAM runs on this server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `iss` of every token, and the base of the discovery document.
    pub issuer: String,
    pub audience: String,
    pub trust_domain: TrustDomain,
    /// This server's name.
    pub member: String,
    /// All servers' names.
    pub members: Vec<String>,
    /// Development: `admin` may log in with the bootstrap token where a password is asked for.
    pub dev: bool,
    /// What else this server is lax about, for its status.
    pub warnings: Vec<String>,
    /// Gets `decisions/`, `master-key.check` and `iam-ca.pem`.
    pub data: PathBuf,
    pub lifetimes: Lifetimes,
    /// Absent where no grant of operators opens this server.
    pub break_glass: Option<BreakGlass>,
    /// How often each client may ask about tokens.
    pub introspections: Rate,
    /// Bytes on disk for logins, issues and secret reads that are not shipped yet.
    pub decision_budget: u64,
    /// Bytes on disk for denials that are not shipped yet.
    pub denial_budget: u64,
}

/// How long things are good for. All servers should agree; guards of rotations count with the server's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of a token that did not ask for another.
    pub token: Duration,
    /// Of any token.
    pub longest_token: Duration,
    pub certificate: Duration,
    /// How long verifiers may keep the published keys.
    pub jwks_cache: Duration,
    /// How long this server answers without contact to a quorum.
    pub stale_limit: Duration,
    /// How long a retired signing key is kept before it may be purged.
    pub retirement: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            token: Duration::from_secs(3600),
            longest_token: Duration::from_secs(24 * 3600),
            certificate: Duration::from_secs(24 * 3600),
            jwks_cache: Duration::from_secs(300),
            stale_limit: Duration::from_secs(300),
            retirement: Duration::from_secs(24 * 3600),
        }
    }
}

impl Settings {
    pub fn new(issuer: impl Into<String>, trust_domain: TrustDomain, data: impl Into<PathBuf>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: "holdfast".to_owned(),
            trust_domain,
            member: ALONE.to_owned(),
            members: vec![ALONE.to_owned()],
            dev: false,
            warnings: Vec::new(),
            data: data.into(),
            lifetimes: Lifetimes::default(),
            break_glass: None,
            introspections: Rate { per_second: 100, burst: 200 },
            decision_budget: 64 << 20,
            denial_budget: 8 << 20,
        }
    }

    /// The guards of signing-key rotation.
    pub(crate) fn key_windows(&self) -> Windows {
        Windows {
            cache_ms: millis(self.lifetimes.jwks_cache),
            life_ms: millis(self.lifetimes.longest_token),
            stale_ms: millis(self.lifetimes.stale_limit),
            leeway_ms: LEEWAY_S * 1000,
            retirement_ms: millis(self.lifetimes.retirement),
        }
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
