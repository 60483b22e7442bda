//! The start-up contract, row by row.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::{collections::BTreeMap, io, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use iam_core::{
    seal::MasterKey,
    startup::{Config, DevSecrets, Inputs, Lab, Secrets, evaluate},
};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

const TOKEN: &str = "0123456789abcdefghijklmnopqrstuv";
const OTHER_TOKEN: &str = "0123456789abcdefghijklmnopqrstuvw";
const MASTER: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const MASTER_BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const ED25519: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
const RSA_LIKE: &str = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";

/// An environment and files; a path is a key of `files`.
#[derive(Clone)]
struct Case {
    environment: BTreeMap<String, String>,
    files: BTreeMap<String, Vec<u8>>,
    config: Config,
    dev: bool,
    has_genesis: bool,
    cached_check: Option<String>,
    dev_secrets: bool,
}

impl Case {
    fn good() -> Self {
        let environment = [("IAM_ADMIN_TOKEN", TOKEN), ("IAM_SIGNING_KEY", ED25519), ("IAM_CRED_MASTER_KEY", MASTER)];
        Self {
            environment: environment.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            files: BTreeMap::new(),
            config: Config::default(),
            dev: false,
            has_genesis: false,
            cached_check: None,
            dev_secrets: false,
        }
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    fn unset(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    fn file(mut self, name: &str, content: &[u8]) -> Self {
        let path = format!("/secrets/{name}");
        self.files.insert(path.clone(), content.to_vec());
        self.set(&format!("{name}_FILE"), &path)
    }

    fn run(&self) -> Result<Secrets, Vec<String>> {
        let environment = |name: &str| self.environment.get(name).cloned();
        let read = |path: &Path| {
            let content = self.files.get(&path.display().to_string());
            content.cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        };
        let mut inputs = Inputs::gather(self.dev, self.has_genesis, self.config.clone(), environment, read);
        inputs.cached_check.clone_from(&self.cached_check);
        inputs.dev_secrets = self.dev_secrets.then(|| DevSecrets::new(&Zeroizing::new([7; 96])));
        evaluate(&inputs).map_err(|findings| findings.iter().map(ToString::to_string).collect())
    }

    #[track_caller]
    fn accepted(&self) -> Secrets {
        self.run().unwrap_or_else(|findings| panic!("{findings:#?}"))
    }

    /// The only finding, which must speak of `item` and contain `text`.
    #[track_caller]
    fn refused(&self, item: &str, text: &str) {
        let findings = self.run().expect_err("must be refused");
        assert_eq!(findings.len(), 1, "{findings:#?}");
        assert!(findings[0].starts_with(&format!("{item}: ")) && findings[0].contains(text), "{findings:#?}");
        assert!(!findings[0].contains(TOKEN) && !findings[0].contains(MASTER));
    }
}

#[test]
fn a_complete_environment_is_accepted() {
    let secrets = Case::good().accepted();
    assert_eq!(secrets.admin_token.expose_secret(), TOKEN);
    assert!(secrets.signing_key.is_some());
    assert_eq!(secrets.lab, Lab::default());
    let shown = format!("{secrets:?}");
    assert!(!shown.contains(TOKEN) && !shown.contains("nWGx"), "{shown}");
}

#[test]
fn everything_that_is_missing_is_listed_at_once() {
    let mut case = Case::good().set("IAM_ALLOW_UNAUTHENTICATED_ADMIN", "true");
    for name in ["IAM_ADMIN_TOKEN", "IAM_SIGNING_KEY", "IAM_CRED_MASTER_KEY"] {
        case = case.unset(name);
    }
    let findings = case.run().unwrap_err();
    assert_eq!(findings.len(), 4, "{findings:#?}");
    assert!(findings.iter().all(|finding| finding.contains("; ")), "each names its fix: {findings:#?}");
}

#[test]
fn admin_token() {
    let item = "IAM_ADMIN_TOKEN";
    let photon = "PHOTON_IAM_ADMIN_TOKEN";
    Case::good().unset(item).set(photon, TOKEN).accepted();
    Case::good().set(photon, TOKEN).accepted();
    Case::good().unset(item).file(item, format!("{TOKEN}\n").as_bytes()).accepted();
    Case::good().unset(item).file(photon, format!("{TOKEN}\r\n").as_bytes()).accepted();
    Case::good().set(photon, OTHER_TOKEN).refused(item, "different values");
    Case::good().file(item, OTHER_TOKEN.as_bytes()).refused(item, "different values");
    Case::good().unset(item).refused(item, "missing");
    Case::good().set(item, "").refused(item, "missing");
    Case::good().set(item, &TOKEN[..31]).refused(item, "31 characters");
    Case::good().set(item, &"abcdefghi".repeat(5)).refused(item, "9 distinct");
    Case::good().set(item, &"abcdefghij".repeat(4)).accepted();
    Case::good().set(item, &format!("{TOKEN} x")).refused(item, "header");
    Case::good().unset(item).set("IAM_ADMIN_TOKEN_FILE", "/absent").refused(item, "/absent cannot be read");
}

#[test]
fn signing_key() {
    let (item, name) = ("authn.internal_token.signing_key", "IAM_SIGNING_KEY");
    Case::good().unset(name).file(name, ED25519.as_bytes()).accepted();
    let mut configured = Case::good().unset(name);
    configured.config.signing_key = Some(SecretString::from(ED25519));
    configured.accepted();
    configured.config.signing_key = Some(SecretString::from(RSA_LIKE));
    configured.refused(item, "neither");
    configured.clone().set(name, ED25519).accepted();
    Case::good().set(name, "a secret").refused(item, "not a PEM");
    Case::good().unset(name).refused(item, "no key ring yet");
    let later = Case { has_genesis: true, ..Case::good().unset(name) };
    assert!(later.accepted().signing_key.is_none());
}

#[test]
fn master_key() {
    let item = "IAM_CRED_MASTER_KEY";
    let raw: Vec<u8> = (0..32).collect();
    let expected = Case::good().accepted().master_keys.current().check();
    for case in [
        Case::good().set(item, MASTER_BASE64),
        Case::good().set(item, &MASTER.to_uppercase()),
        Case::good().unset(item).file(item, &raw),
        Case::good().unset(item).file(item, format!("{MASTER}\n").as_bytes()),
        Case::good().file(item, &raw),
    ] {
        assert_eq!(case.accepted().master_keys.current().check(), expected);
    }
    for length in [31, 33] {
        let raw: Vec<u8> = (0..length).collect();
        Case::good().unset(item).file(item, &raw).refused(item, "not exactly 32 bytes");
        for text in [hex::encode(&raw), STANDARD.encode(&raw)] {
            Case::good().set(item, &text).refused(item, "not exactly 32 bytes");
            Case::good().unset(item).file(item, format!("{text}\n").as_bytes()).refused(item, "not exactly 32 bytes");
        }
    }
    Case::good().set(item, &"z".repeat(64)).refused(item, "not exactly 32 bytes");
    Case::good().unset(item).refused(item, "missing");
    Case::good().file(item, &[9; 32]).refused(item, "different values");
    let cached = Case { cached_check: Some(expected.clone()), ..Case::good() };
    cached.accepted();
    cached.set(item, &hex::encode([9; 32])).refused(item, "sealed with");
}

#[test]
fn the_master_key_before() {
    let (item, previous) = ("IAM_CRED_MASTER_KEY", "IAM_CRED_MASTER_KEY_PREVIOUS");
    let other = hex::encode([9; 32]);
    let checks = |case: Case| case.accepted().master_keys.iter().map(MasterKey::check).collect::<Vec<_>>();
    let [old] = checks(Case::good()).try_into().unwrap();
    let rotating = Case::good().set(item, &other).set(previous, MASTER);
    let [new, before] = checks(rotating.clone()).try_into().unwrap();
    assert!(before == old && new != old);
    assert_eq!(
        checks(Case::good().set(item, &other).file(previous, MASTER_BASE64.as_bytes())),
        [new.clone(), old.clone()]
    );
    assert_eq!(checks(Case::good().set(previous, "")), std::slice::from_ref(&old));

    Case::good().set(previous, MASTER_BASE64).refused(previous, "the same key as IAM_CRED_MASTER_KEY");
    Case::good().set(previous, &MASTER[1..]).refused(previous, "not exactly 32 bytes");
    Case::good().set(previous, &other).file(previous, MASTER.as_bytes()).refused(previous, "different values");
    Case::good().set("IAM_CRED_MASTER_KEY_PREVIOUS_FILE", "/absent").refused(previous, "/absent cannot be read");
    let both = Case::good().unset(item).set(previous, "x").run().unwrap_err();
    assert_eq!(both.len(), 2, "each is listed: {both:#?}");

    // What the data folder knows is the key that seals.
    let cached = |check: &str, case: Case| Case { cached_check: Some(check.to_owned()), ..case };
    for check in [&old, &new] {
        cached(check, rotating.clone()).accepted();
    }
    cached(&new, Case::good()).refused(item, "one that was replaced");
    cached(&old, Case::good().set(item, &other)).refused(item, "IAM_CRED_MASTER_KEY_PREVIOUS");
}

#[test]
fn laboratory_settings_need_dev() {
    let name = "IAM_ALLOW_UNAUTHENTICATED_ADMIN";
    for on in ["true", "1", "YES"] {
        Case::good().set(name, on).refused(name, "--dev");
        assert!(Case { dev: true, ..Case::good().set(name, on) }.accepted().lab.allow_unauthenticated);
    }
    assert!(!Case::good().set(name, "false").accepted().lab.allow_unauthenticated);
    Case::good().set(name, "maybe").refused(name, "neither true nor false");
    let mut configured = Case::good();
    configured.config.allow_unauthenticated = true;
    configured.refused("admin.allow_unauthenticated", "--dev");
    let mut configured = Case::good();
    configured.config.random_signing_key = true;
    configured.refused("authn.internal_token.random_signing_key", "--dev");
}

#[test]
fn made_up_secrets_stand_in_only_with_dev() {
    let mut case = Case { dev_secrets: true, ..Case::good() };
    case.environment.clear();
    assert_eq!(case.run().unwrap_err().len(), 3);
    case.dev = true;
    let secrets = case.accepted();
    assert!(secrets.lab.random_secrets && secrets.signing_key.is_some());
    let given = case.set("IAM_ADMIN_TOKEN", TOKEN).accepted();
    assert_eq!(given.admin_token.expose_secret(), TOKEN);
}
