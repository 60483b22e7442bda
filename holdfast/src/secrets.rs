//! Gathers what IAM's start-up contract decides on: environment, the files it names, the configuration, and in the
//! lab the generated secrets.

use std::{env, fs, io, path::Path};

use iam_core::startup::{self, Config, Finding, Inputs, Secrets};

use crate::{
    config::{GivenSecrets, SecretFiles},
    dev,
};

#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretsError {
    #[error("{} problem(s) with IAM's secrets", .0.len())]
    Contract(Vec<Finding>),
    #[error("secrets cannot be kept in the data folder: {0}")]
    DataDir(#[from] io::Error),
}

/// Applies the contract; the caller prints all findings and exits with 78.
pub(crate) fn load(given: &GivenSecrets) -> Result<Secrets, SecretsError> {
    // Written after the cluster's genesis, so its presence says that the key ring exists.
    let cached = iam_server::cached_check(&given.data_dir)?;
    let config = Config {
        signing_key: given.signing_key.as_ref().map(|key| key.0.clone().into()),
        allow_unauthenticated: given.allow_unauthenticated_admin,
        random_signing_key: given.random_signing_key,
    };
    let mut inputs = Inputs::gather(
        given.dev,
        cached.is_some(),
        config,
        |name| environment(name, &given.files),
        |path: &Path| fs::read(path),
    );
    inputs.cached_check = cached;
    if given.dev {
        inputs.dev_secrets = Some(dev::secrets(&given.data_dir)?);
    }
    startup::evaluate(&inputs).map_err(SecretsError::Contract)
}

/// What the contract would say where the configuration is refused already. The lab makes up what is missing, once it
/// runs.
pub(crate) fn findings(given: &GivenSecrets) -> Vec<Finding> {
    if given.dev {
        return Vec::new();
    }
    match load(given) {
        Err(SecretsError::Contract(findings)) => findings,
        Ok(_) | Err(SecretsError::DataDir(_)) => Vec::new(),
    }
}

/// The variable, or the file that the configuration names for it. The environment wins as a whole: a file of the
/// configuration is not compared with a value from the environment.
fn environment(name: &str, files: &SecretFiles) -> Option<String> {
    if let Ok(value) = env::var(name) {
        return Some(value);
    }
    let (variable, file) = match name {
        "IAM_ADMIN_TOKEN_FILE" => (["IAM_ADMIN_TOKEN", "PHOTON_IAM_ADMIN_TOKEN"], &files.admin_token),
        "IAM_SIGNING_KEY_FILE" => (["IAM_SIGNING_KEY"; 2], &files.signing_key),
        "IAM_CRED_MASTER_KEY_FILE" => (["IAM_CRED_MASTER_KEY"; 2], &files.master_key),
        "IAM_CRED_MASTER_KEY_PREVIOUS_FILE" => (["IAM_CRED_MASTER_KEY_PREVIOUS"; 2], &files.previous_master_key),
        _ => return None,
    };
    let given = variable.iter().any(|name| env::var_os(name).is_some());
    file.as_ref().filter(|_| !given).map(|path| path.display().to_string())
}
