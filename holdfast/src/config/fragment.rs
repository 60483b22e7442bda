use std::path::PathBuf;

use serde::Deserialize;

/// The configuration file as written. Every field may be missing; validation knows which are needed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Fragment {
    /// This server's name in `members`.
    pub(crate) name: Option<String>,
    /// All servers, the same list in the same order on each of them.
    pub(crate) members: Vec<MemberFragment>,
    pub(crate) listen: ListenFragment,
    /// Certificate of the API, HTTP and SQL doors.
    pub(crate) tls: Option<TlsFragment>,
    pub(crate) peer_tls: Option<PeerTlsFragment>,
    pub(crate) secrets: SecretsFragment,
    pub(crate) authn: AuthnFragment,
    pub(crate) admin: AdminFragment,
    pub(crate) iam: IamFragment,
    pub(crate) fleetlock: FleetLockFragment,
    pub(crate) raft: RaftFragment,
    pub(crate) log: LogFragment,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemberFragment {
    pub(crate) name: String,
    /// `host:port` that the other servers dial.
    pub(crate) peer: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ListenFragment {
    pub(crate) api: Option<String>,
    pub(crate) http: Option<String>,
    pub(crate) sql: Option<String>,
    pub(crate) peer: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsFragment {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// Roots that client certificates must chain to at the handshake. Without it any certificate may be shown, and
    /// IAM alone decides who it is.
    pub(crate) client_ca: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PeerTlsFragment {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) ca: PathBuf,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SecretsFragment {
    pub(crate) admin_token_file: Option<PathBuf>,
    pub(crate) signing_key_file: Option<PathBuf>,
    pub(crate) master_key_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AuthnFragment {
    pub(crate) internal_token: InternalTokenFragment,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct InternalTokenFragment {
    /// PKCS#8 PEM of the first signing key.
    pub(crate) signing_key: Option<SecretText>,
}

/// A secret in the file; its `Debug` form hides it.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct SecretText(pub(crate) String);

impl std::fmt::Debug for SecretText {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("(hidden)")
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AdminFragment {
    /// Only with `--dev`.
    pub(crate) allow_unauthenticated: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct IamFragment {
    /// `iss` of the tokens: the URL of the HTTP door as clients reach it.
    pub(crate) issuer: Option<String>,
    /// SPIFFE trust domain of nodes and users; the cluster's name.
    pub(crate) trust_domain: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FleetLockFragment {
    /// `none`, `basic`, `token` or `mtls`; must be chosen outside `--dev`.
    pub(crate) client_auth: Option<String>,
    pub(crate) default_slots: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RaftFragment {
    pub(crate) heartbeat_ms: Option<u64>,
    pub(crate) election_ms: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogFragment {
    pub(crate) filter: Option<String>,
    /// `text` or `json`.
    pub(crate) format: Option<String>,
}
