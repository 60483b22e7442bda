use std::path::PathBuf;

use serde::Deserialize;

/// The configuration file as written. Every field may be missing; validation knows which are needed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fragment {
    /// This server's name in `members`.
    pub name: Option<String>,
    /// All servers, the same list in the same order on each of them.
    pub members: Vec<MemberFragment>,
    pub listen: ListenFragment,
    /// Certificate of the API, HTTP and SQL doors.
    pub tls: Option<TlsFragment>,
    pub peer_tls: Option<PeerTlsFragment>,
    pub secrets: SecretsFragment,
    pub authn: AuthnFragment,
    pub admin: AdminFragment,
    pub iam: IamFragment,
    pub fleetlock: FleetLockFragment,
    pub raft: RaftFragment,
    pub log: LogFragment,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberFragment {
    pub name: String,
    /// `host:port` that the other servers dial.
    pub peer: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenFragment {
    pub api: Option<String>,
    pub http: Option<String>,
    pub sql: Option<String>,
    pub peer: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFragment {
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Roots for client certificates; without it the doors ask for none.
    pub client_ca: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerTlsFragment {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub ca: PathBuf,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecretsFragment {
    pub admin_token_file: Option<PathBuf>,
    pub signing_key_file: Option<PathBuf>,
    pub master_key_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthnFragment {
    pub internal_token: InternalTokenFragment,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InternalTokenFragment {
    /// PKCS#8 PEM of the first signing key.
    pub signing_key: Option<SecretText>,
}

/// A secret in the file; its `Debug` form hides it.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct SecretText(pub String);

impl std::fmt::Debug for SecretText {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("(hidden)")
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminFragment {
    /// Only with `--dev`.
    pub allow_unauthenticated: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IamFragment {
    /// `iss` of the tokens: the URL of the HTTP door as clients reach it.
    pub issuer: Option<String>,
    /// SPIFFE trust domain of nodes and users; the cluster's name.
    pub trust_domain: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FleetLockFragment {
    /// `none`, `basic`, `token` or `mtls`; must be chosen outside `--dev`.
    pub client_auth: Option<String>,
    pub default_slots: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RaftFragment {
    pub heartbeat_ms: Option<u64>,
    pub election_ms: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogFragment {
    pub filter: Option<String>,
    /// `text` or `json`.
    pub format: Option<String>,
}
