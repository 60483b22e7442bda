use std::{net::SocketAddr, path::PathBuf, time::Duration};

use holdfast_rpc::TlsFiles;
use holdfast_telemetry::Format;

use super::fragment::SecretText;

/// Everything the server needs to know, validated.
#[derive(Clone, Debug)]
pub struct Settings {
    pub dev: bool,
    pub data_dir: PathBuf,
    pub name: String,
    pub members: Vec<Member>,
    pub doors: Doors,
    pub tls: Option<TlsFiles>,
    pub peer_tls: Option<PeerTls>,
    pub secret_files: SecretFiles,
    pub signing_key: Option<SecretText>,
    pub allow_unauthenticated_admin: bool,
    pub issuer: Option<String>,
    pub trust_domain: String,
    pub fleetlock_auth: FleetLockAuth,
    pub fleetlock_slots: u32,
    pub timing: Timing,
    pub log: Log,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub peer: String,
}

/// Where the four doors listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doors {
    pub api: SocketAddr,
    pub http: SocketAddr,
    pub sql: SocketAddr,
    pub peer: SocketAddr,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerTls {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub ca: PathBuf,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretFiles {
    pub admin_token: Option<PathBuf>,
    pub signing_key: Option<PathBuf>,
    pub master_key: Option<PathBuf>,
}

/// How FleetLock clients prove themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FleetLockAuth {
    None,
    Basic,
    Token,
    Mtls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    pub heartbeat: Duration,
    pub election: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub filter: String,
    pub format: Format,
}
