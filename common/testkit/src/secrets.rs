//! The secrets that the servers of a cluster share, made anew for each.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// What stands in front of the 32 bytes of an Ed25519 private key in PKCS#8 (RFC 8410).
const ED25519_PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// Files as the configuration names them, readable by their owner only.
#[derive(Clone, Debug)]
pub(crate) struct Secrets {
    pub(crate) admin_token: PathBuf,
    pub(crate) signing_key: PathBuf,
    pub(crate) master_key: PathBuf,
}

impl Secrets {
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let secrets = Self {
            admin_token: folder.join("admin.token"),
            signing_key: folder.join("signing-key.pem"),
            master_key: folder.join("master.key"),
        };
        write(&secrets.admin_token, &STANDARD.encode(random()?))?;
        let key = [ED25519_PKCS8.as_slice(), &random()?].concat();
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(key));
        write(&secrets.signing_key, &pem)?;
        write(&secrets.master_key, &STANDARD.encode(random()?))?;
        Ok(secrets)
    }
}

fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    Ok(bytes)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
