use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use chainfire_server::{AutoCompaction, Limits};
use configsrv_server::Waits;
use holdfast_rpc::TlsFiles;
use holdfast_telemetry::Format;
use iam_server::{BreakGlass, Lifetimes};

use super::{
    Flags, Fragment,
    fragment::{BreakGlassFragment, SecretText},
};

/// Everything the server needs to know, validated.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) dev: bool,
    pub(crate) data_dir: PathBuf,
    /// Its data is lost, and it asks the others for its place; never in the file, because it is for one start.
    pub(crate) rejoin_wiped: bool,
    pub(crate) name: String,
    pub(crate) members: Vec<Member>,
    pub(crate) doors: Doors,
    /// `host:port` of the API door as clients are told to dial it; none for the address it listens on.
    pub(crate) advertise_api: Option<String>,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) peer_tls: Option<PeerTls>,
    /// `iss` of all tokens; none on a server alone, which takes the URL of its HTTP door.
    pub(crate) issuer: Option<String>,
    pub(crate) trust_domain: String,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) break_glass: Option<BreakGlass>,
    /// The files that it was read from.
    pub(crate) break_glass_files: Option<BreakGlassFragment>,
    pub(crate) waits: Waits,
    pub(crate) fleetlock: FleetLock,
    pub(crate) chainfire: Chainfire,
    pub(crate) timing: Timing,
    pub(crate) log: Log,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) peer: String,
}

/// Who may take a reboot lock, and how many machines may at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FleetLock {
    pub(crate) auth: FleetLockAuth,
    /// Slots of a group that is not listed.
    pub(crate) default_slots: u32,
    pub(crate) groups: BTreeMap<String, u32>,
    pub(crate) listed_only: bool,
}

/// How the store behind etcd's API runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chainfire {
    pub(crate) limits: Limits,
    pub(crate) quota_auto_disarm: bool,
    /// Between two comparisons of all members' whole stores.
    pub(crate) integrity_check: Option<Duration>,
    pub(crate) watch_progress: Duration,
    pub(crate) lease_checkpoints: bool,
    pub(crate) auto_compaction: Option<AutoCompaction>,
}

/// Where the four doors listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doors {
    pub(crate) api: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) sql: SocketAddr,
    pub(crate) peer: SocketAddr,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerTls {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) ca: PathBuf,
}

/// What flags and file say about secrets. It is not judged here: IAM's start-up contract does that.
#[derive(Clone, Debug)]
pub(crate) struct GivenSecrets {
    pub(crate) dev: bool,
    pub(crate) data_dir: PathBuf,
    pub(crate) files: SecretFiles,
    pub(crate) signing_key: Option<SecretText>,
    pub(crate) random_signing_key: bool,
    pub(crate) allow_unauthenticated_admin: bool,
}

impl GivenSecrets {
    pub(crate) fn new(flags: &Flags, file: &Fragment) -> Self {
        let files = &file.secrets;
        Self {
            dev: flags.dev,
            data_dir: flags.data_dir.clone(),
            files: SecretFiles {
                admin_token: files.admin_token_file.clone(),
                signing_key: files.signing_key_file.clone(),
                master_key: files.master_key_file.clone(),
                previous_master_key: files.previous_master_key_file.clone(),
            },
            signing_key: file.authn.internal_token.signing_key.clone(),
            random_signing_key: file.authn.internal_token.random_signing_key,
            allow_unauthenticated_admin: file.admin.allow_unauthenticated,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SecretFiles {
    pub(crate) admin_token: Option<PathBuf>,
    pub(crate) signing_key: Option<PathBuf>,
    pub(crate) master_key: Option<PathBuf>,
    pub(crate) previous_master_key: Option<PathBuf>,
}

/// How FleetLock clients prove themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FleetLockAuth {
    None,
    Basic,
    Token,
    Mtls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    pub(crate) heartbeat: Duration,
    pub(crate) election: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) filter: String,
    pub(crate) format: Format,
}
