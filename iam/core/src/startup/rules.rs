//! One rule for each row of the contract.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::{Finding, Inputs, Lab};
use crate::{
    master::MasterKeys,
    seal::{MASTER_KEY, MasterKey},
    secret,
    signing::SigningKey,
};

const MIN_TOKEN: usize = 32;
const MIN_DISTINCT: usize = 10;

const TOKEN_FIX: &str = "set IAM_ADMIN_TOKEN or PHOTON_IAM_ADMIN_TOKEN (or …_FILE) to at least 32 random characters, \
    for example from `openssl rand -hex 32`";
const SIGNING_FIX: &str = "set authn.internal_token.signing_key in the configuration, or IAM_SIGNING_KEY or \
    IAM_SIGNING_KEY_FILE, to a PKCS#8 PEM, for example from `openssl genpkey -algorithm ed25519`";
const MASTER_FIX: &str = "set IAM_CRED_MASTER_KEY to 64 hex digits or 44 base64 characters, or IAM_CRED_MASTER_KEY_FILE \
    to a file with these or with 32 raw bytes, for example from `openssl rand -hex 32`";

const MASTER: &str = "IAM_CRED_MASTER_KEY";
const PREVIOUS: &str = "IAM_CRED_MASTER_KEY_PREVIOUS";
const PREVIOUS_FIX: &str = "while the master key is rotated, set it to the key before, as IAM_CRED_MASTER_KEY is set to the \
    new one; otherwise remove it";

pub(super) fn admin_token(inputs: &Inputs) -> Result<SecretString, Finding> {
    let item = "IAM_ADMIN_TOKEN";
    let bad = |problem: String| Finding { item, problem, fix: TOKEN_FIX.to_owned() };
    let mut found: Option<Zeroizing<Vec<u8>>> = None;
    for name in ["IAM_ADMIN_TOKEN", "PHOTON_IAM_ADMIN_TOKEN"] {
        for given in given(inputs, name) {
            let given = given.map_err(bad)?;
            match &found {
                Some(earlier) if !secret::equal(&given, earlier) => {
                    return Err(bad("it is given more than once, with different values".to_owned()));
                }
                _ => found = Some(given),
            }
        }
    }
    let Some(found) = found else {
        let dev = inputs.dev_secrets.as_ref().filter(|_| inputs.dev);
        return dev.map(|dev| dev.admin_token.clone()).ok_or_else(|| bad("it is missing".to_owned()));
    };
    let text = std::str::from_utf8(&found).map_err(|_| bad("it is not text".to_owned()))?;
    let characters = text.chars().count();
    if characters < MIN_TOKEN {
        return Err(bad(format!("it has {characters} characters, fewer than {MIN_TOKEN}")));
    }
    let distinct = text.chars().collect::<BTreeSet<_>>().len();
    if distinct < MIN_DISTINCT {
        return Err(bad(format!("it has {distinct} distinct characters, fewer than {MIN_DISTINCT}")));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad("it has characters that an HTTP header cannot carry".to_owned()));
    }
    Ok(SecretString::from(text))
}

/// Environment and file beat the configuration.
pub(super) fn signing_key(inputs: &Inputs) -> Result<Option<SigningKey>, Finding> {
    let bad =
        |problem: String| Finding { item: "authn.internal_token.signing_key", problem, fix: SIGNING_FIX.to_owned() };
    let mut found: Option<SigningKey> = None;
    for given in given(inputs, "IAM_SIGNING_KEY") {
        let key = SigningKey::from_pem(&given.map_err(bad)?).map_err(|error| bad(error.to_string()))?;
        match &found {
            Some(earlier) if earlier.public() != key.public() => {
                return Err(bad("it is given more than once, with different values".to_owned()));
            }
            _ => found = Some(key),
        }
    }
    if found.is_some() {
        return Ok(found);
    }
    if let Some(pem) = &inputs.config.signing_key {
        return SigningKey::from_pem(pem.expose_secret().as_bytes()).map(Some).map_err(|error| bad(error.to_string()));
    }
    if let Some(dev) = inputs.dev_secrets.as_ref().filter(|_| inputs.dev) {
        return SigningKey::from_seed(&dev.signing_seed).map(Some).map_err(|error| bad(error.to_string()));
    }
    if inputs.has_genesis {
        return Ok(None);
    }
    Err(bad("it is missing, and the cluster has no key ring yet".to_owned()))
}

/// The key to use, and the one before while that takes its place.
pub(super) fn master_keys(inputs: &Inputs) -> Result<MasterKeys, Vec<Finding>> {
    let current = master_key(inputs, MASTER, MASTER_FIX).and_then(|given| {
        let dev = inputs.dev_secrets.as_ref().filter(|_| inputs.dev).map(|dev| MasterKey::new(*dev.master_key));
        let missing = || finding(MASTER, "it is missing", MASTER_FIX);
        given.or(dev).ok_or_else(missing)
    });
    let previous = match inputs.value(PREVIOUS).is_some_and(|value| value.is_empty()) {
        true => Ok(None),
        false => master_key(inputs, PREVIOUS, PREVIOUS_FIX),
    };
    let (current, previous) = match (current, previous) {
        (Ok(current), Ok(previous)) => (current, previous),
        (current, previous) => return Err(current.err().into_iter().chain(previous.err()).collect()),
    };
    if previous.as_ref().is_some_and(|previous| previous.check() == current.check()) {
        return Err(vec![finding(PREVIOUS, "it is the same key as IAM_CRED_MASTER_KEY", PREVIOUS_FIX)]);
    }
    let keys = MasterKeys::new(current, previous);
    let known = |check: &String| keys.iter().any(|key| secret::equal(key.check().as_bytes(), check.as_bytes()));
    match &inputs.cached_check {
        Some(check) if !known(check) => Err(vec![finding(
            MASTER,
            "it is not the key that this server's data was sealed with last: it is another one, or one that was replaced",
            "give this server the master key that the other servers have, and during a rotation the one before as \
             IAM_CRED_MASTER_KEY_PREVIOUS",
        )]),
        _ => Ok(keys),
    }
}

fn master_key(inputs: &Inputs, item: &'static str, fix: &str) -> Result<Option<MasterKey>, Finding> {
    let bad = |problem: String| finding(item, problem, fix);
    let mut found: Option<MasterKey> = None;
    if let Some(value) = inputs.value(item) {
        found = Some(master_text(value).ok_or_else(|| bad(wrong_length(value, "")))?);
    }
    if let Some(file) = inputs.file(item) {
        let content = file.as_ref().map_err(|problem| bad(problem.clone()))?;
        let raw = <[u8; MASTER_KEY]>::try_from(content.as_slice()).ok().map(MasterKey::new);
        let key =
            raw.or_else(|| master_text(trimmed(content))).ok_or_else(|| bad(wrong_length(content, " in the file")))?;
        if found.as_ref().is_some_and(|earlier| earlier.check() != key.check()) {
            return Err(bad("it is given more than once, with different values".to_owned()));
        }
        found = Some(key);
    }
    Ok(found)
}

fn finding(item: &'static str, problem: impl Into<String>, fix: &str) -> Finding {
    Finding { item, problem: problem.into(), fix: fix.to_owned() }
}

pub(super) fn lab(inputs: &Inputs) -> (Lab, Vec<Finding>) {
    let only_dev = "it is allowed only with --dev; remove it";
    let mut findings = Vec::new();
    let mut refuse = |item, problem: &str, fix: &str| {
        findings.push(Finding { item, problem: problem.to_owned(), fix: fix.to_owned() });
    };
    let variable = match inputs.value("IAM_ALLOW_UNAUTHENTICATED_ADMIN").map(|value| flag(value)) {
        None => false,
        Some(Some(on)) => on,
        Some(None) => {
            refuse("IAM_ALLOW_UNAUTHENTICATED_ADMIN", "it is neither true nor false", "set it to false or remove it");
            false
        }
    };
    if !inputs.dev {
        for (on, item) in [
            (variable, "IAM_ALLOW_UNAUTHENTICATED_ADMIN"),
            (inputs.config.allow_unauthenticated, "admin.allow_unauthenticated"),
            (inputs.config.random_signing_key, "authn.internal_token.random_signing_key"),
        ] {
            if on {
                refuse(item, "it is a laboratory setting", only_dev);
            }
        }
    }
    let lab = Lab {
        allow_unauthenticated: variable || inputs.config.allow_unauthenticated,
        random_secrets: inputs.dev && inputs.dev_secrets.is_some(),
    };
    (lab, findings)
}

/// The values under `name` and in the file that `<name>_FILE` names. An empty value counts as not given: unset
/// variables often arrive as empty ones.
fn given(inputs: &Inputs, name: &str) -> impl Iterator<Item = Result<Zeroizing<Vec<u8>>, String>> {
    let value = inputs.value(name).filter(|value| !value.is_empty()).map(|value| Ok(value.clone()));
    let file = inputs.file(name).map(|file| match file {
        Ok(content) => Ok(Zeroizing::new(trimmed(content).to_vec())),
        Err(problem) => Err(problem.clone()),
    });
    value.into_iter().chain(file)
}

/// Without the line end that editors and `echo` leave.
fn trimmed(content: &[u8]) -> &[u8] {
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    content.strip_suffix(b"\r").unwrap_or(content)
}

fn master_text(text: &[u8]) -> Option<MasterKey> {
    let bytes = match text.len() {
        64 => Zeroizing::new(hex::decode(text).ok()?),
        44 => Zeroizing::new(STANDARD.decode(text).ok()?),
        _ => return None,
    };
    <[u8; MASTER_KEY]>::try_from(bytes.as_slice()).ok().map(MasterKey::new)
}

fn wrong_length(value: &[u8], place: &str) -> String {
    format!("it is not exactly {MASTER_KEY} bytes: {} characters{place}", value.len())
}

fn flag(value: &[u8]) -> Option<bool> {
    match value.to_ascii_lowercase().as_slice() {
        b"true" | b"1" | b"yes" | b"on" => Some(true),
        b"" | b"false" | b"0" | b"no" | b"off" => Some(false),
        _ => None,
    }
}
