use std::{collections::BTreeMap, fmt::Write as _, io, path::Path};

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::VARIABLES;
use crate::seal::MASTER_KEY;

/// Bytes as they were found; nothing is decided yet.
pub struct Inputs {
    pub dev: bool,
    /// The cluster has an IAM genesis, as far as this server's data folder knows.
    pub has_genesis: bool,
    pub config: Config,
    /// What this server's data folder says about the master key: [`crate::seal::MasterKey::check`] of earlier starts.
    pub cached_check: Option<String>,
    /// Stands in for what was not given; only with `--dev`.
    pub dev_secrets: Option<DevSecrets>,
    values: BTreeMap<&'static str, Zeroizing<Vec<u8>>>,
    /// Content of the file that `<name>_FILE` points to, or why it could not be read.
    files: BTreeMap<&'static str, Result<Zeroizing<Vec<u8>>, String>>,
}

/// The settings of the configuration file that take part.
#[derive(Clone, Default)]
pub struct Config {
    /// `authn.internal_token.signing_key`: PEM.
    pub signing_key: Option<SecretString>,
    /// `admin.allow_unauthenticated`.
    pub allow_unauthenticated: bool,
    /// `authn.internal_token.random_signing_key`.
    pub random_signing_key: bool,
}

/// Secrets that `--dev` makes up at its first start and keeps in the data folder.
#[derive(Clone)]
pub struct DevSecrets {
    pub admin_token: SecretString,
    /// 32 bytes that become an Ed25519 key.
    pub signing_seed: Zeroizing<[u8; 32]>,
    pub master_key: Zeroizing<[u8; MASTER_KEY]>,
}

impl Inputs {
    /// Collects the environment and the files that it names. `environment` and `read` are the process's own, or a
    /// test's.
    pub fn gather(
        dev: bool,
        has_genesis: bool,
        config: Config,
        environment: impl Fn(&str) -> Option<String>,
        read: impl Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Self {
        let mut inputs = Self {
            dev,
            has_genesis,
            config,
            cached_check: None,
            dev_secrets: None,
            values: BTreeMap::new(),
            files: BTreeMap::new(),
        };
        for name in VARIABLES {
            if let Some(value) = environment(name) {
                inputs.values.insert(name, Zeroizing::new(value.into_bytes()));
            }
            if let Some(path) = environment(&format!("{name}_FILE")) {
                let content = read(Path::new(&path)).map(Zeroizing::new);
                inputs.files.insert(name, content.map_err(|error| format!("{path} cannot be read: {error}")));
            }
        }
        inputs
    }

    pub(super) fn value(&self, name: &str) -> Option<&Zeroizing<Vec<u8>>> {
        self.values.get(name)
    }

    pub(super) fn file(&self, name: &str) -> Option<&Result<Zeroizing<Vec<u8>>, String>> {
        self.files.get(name)
    }
}

impl DevSecrets {
    /// From fresh entropy.
    pub fn new(entropy: &Zeroizing<[u8; 96]>) -> Self {
        let (token, rest) = entropy.split_at(32);
        let (seed, master) = rest.split_at(32);
        let mut text = Zeroizing::new(String::with_capacity(64));
        for byte in token {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        let mut secrets = Self {
            admin_token: SecretString::from(text.as_str()),
            signing_seed: Zeroizing::new([0; 32]),
            master_key: Zeroizing::new([0; MASTER_KEY]),
        };
        secrets.signing_seed.copy_from_slice(seed);
        secrets.master_key.copy_from_slice(master);
        secrets
    }
}
