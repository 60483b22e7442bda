//! What only the lab server does: it makes its own secrets and tells tests where it listens.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use iam_core::startup::DevSecrets;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use zeroize::Zeroizing;

/// Where the doors are, as bound: `DIR/endpoints.json`.
#[derive(Debug, Serialize)]
pub(crate) struct Endpoints {
    pub(crate) api: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) sql: SocketAddr,
    pub(crate) peer: SocketAddr,
}

impl Endpoints {
    pub(crate) fn write(&self, data_dir: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        let partial = data_dir.join("endpoints.json.partial");
        fs::write(&partial, text)?;
        // Readers poll for the file, so it appears whole.
        fs::rename(partial, data_dir.join("endpoints.json"))
    }
}

/// The generated secrets, made at the first start and kept in `DIR/dev-secrets`.
pub(crate) fn secrets(data_dir: &Path) -> io::Result<DevSecrets> {
    let path = data_dir.join("dev-secrets");
    let mut entropy = Zeroizing::new([0u8; 96]);
    match fs::read(&path).map(Zeroizing::new) {
        Ok(kept) if kept.len() == entropy.len() => entropy.copy_from_slice(&kept),
        Ok(kept) => return Err(io::Error::other(format!("{} has {} bytes, not 96", path.display(), kept.len()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            getrandom::fill(entropy.as_mut_slice()).map_err(io::Error::other)?;
            write_private(&path, entropy.as_slice())?;
        }
        Err(error) => return Err(error),
    }
    Ok(DevSecrets::new(&entropy))
}

/// Puts the admin token where tests and people look for it: `DIR/admin.token`.
pub(crate) fn write_admin_token(data_dir: &Path, token: &SecretString) -> io::Result<()> {
    write_private(&data_dir.join("admin.token"), token.expose_secret().as_bytes())
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
