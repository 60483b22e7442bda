//! The start-up contract. Production is the default; only `--dev` is lax. Every problem is listed at once, each with
//! its fix; the caller prints them and exits with [`EXIT`].

mod inputs;
mod rules;

use std::fmt;

use secrecy::SecretString;

pub use inputs::{Config, DevSecrets, Inputs};

use crate::{master::MasterKeys, signing::SigningKey};

/// `EX_CONFIG`.
pub const EXIT: i32 = 78;

/// Every variable that the contract reads; each but the last has a `_FILE` variant.
pub const VARIABLES: [&str; 6] = [
    "IAM_ADMIN_TOKEN",
    "PHOTON_IAM_ADMIN_TOKEN",
    "IAM_SIGNING_KEY",
    "IAM_CRED_MASTER_KEY",
    "IAM_CRED_MASTER_KEY_PREVIOUS",
    "IAM_ALLOW_UNAUTHENTICATED_ADMIN",
];

/// What IAM runs with.
#[derive(Debug)]
pub struct Secrets {
    pub admin_token: SecretString,
    /// May be absent once the cluster has its key ring.
    pub signing_key: Option<SigningKey>,
    pub master_keys: MasterKeys,
    pub lab: Lab,
}

/// Laxness that only `--dev` allows; shown in `status`, in the log at start and as a metric while on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lab {
    pub allow_unauthenticated: bool,
    /// Some secret was made up at the first start instead of being given.
    pub random_secrets: bool,
}

/// One missing or bad item. It never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub item: &'static str,
    pub problem: String,
    pub fix: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}; {}", self.item, self.problem, self.fix)
    }
}

/// Applies the contract.
pub fn evaluate(inputs: &Inputs) -> Result<Secrets, Vec<Finding>> {
    let (lab, lab_findings) = rules::lab(inputs);
    let token = rules::admin_token(inputs);
    let signing = rules::signing_key(inputs);
    let master = rules::master_keys(inputs);
    match (token, signing, master) {
        (Ok(admin_token), Ok(signing_key), Ok(master_keys)) if lab_findings.is_empty() => {
            Ok(Secrets { admin_token, signing_key, master_keys, lab })
        }
        (token, signing, master) => {
            let master = master.err().unwrap_or_default();
            Err(lab_findings.into_iter().chain(token.err()).chain(signing.err()).chain(master).collect())
        }
    }
}
