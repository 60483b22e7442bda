use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize, Serializer};

/// The configuration file as written. Every field may be missing; validation knows which are needed.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Fragment {
    /// This server's name in `members`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// All servers, the same list in the same order on each of them.
    pub(crate) members: Vec<MemberFragment>,
    pub(crate) listen: ListenFragment,
    /// Certificate of the API, HTTP and SQL doors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<TlsFragment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer_tls: Option<PeerTlsFragment>,
    pub(crate) secrets: SecretsFragment,
    pub(crate) authn: AuthnFragment,
    pub(crate) admin: AdminFragment,
    pub(crate) iam: IamFragment,
    pub(crate) configsrv: ConfigsrvFragment,
    pub(crate) fleetlock: FleetLockFragment,
    pub(crate) chainfire: ChainfireFragment,
    pub(crate) raft: RaftFragment,
    pub(crate) log: LogFragment,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemberFragment {
    pub(crate) name: String,
    /// `host:port` that the other servers dial.
    pub(crate) peer: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ListenFragment {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sql: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<String>,
    /// `host:port` that etcd clients are told to dial; without it where the API door listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) advertise_api: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsFragment {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// Roots that client certificates must chain to at the handshake. Without it any certificate may be shown, and
    /// IAM alone decides who it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_ca: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PeerTlsFragment {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) ca: PathBuf,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SecretsFragment {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) admin_token_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signing_key_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) master_key_file: Option<PathBuf>,
    /// While the master key is rotated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) previous_master_key_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AuthnFragment {
    pub(crate) internal_token: InternalTokenFragment,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct InternalTokenFragment {
    /// PKCS#8 PEM of the first signing key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signing_key: Option<SecretText>,
    /// Only with `--dev`, which makes one up anyway where none is given.
    pub(crate) random_signing_key: bool,
}

/// A secret in the file; its printed forms hide it.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct SecretText(pub(crate) String);

impl std::fmt::Debug for SecretText {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("(hidden)")
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(hidden)")
    }
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AdminFragment {
    /// Only with `--dev`.
    pub(crate) allow_unauthenticated: bool,
}

/// Whose signatures together open a server in an emergency.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BreakGlassFragment {
    /// Files with the operators' public keys, PEM.
    pub(crate) keys: Vec<PathBuf>,
    /// So many of them have to sign.
    pub(crate) threshold: usize,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct IamFragment {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) break_glass: Option<BreakGlassFragment>,
    /// `iss` of the tokens: the URL of the HTTP door as clients reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) issuer: Option<String>,
    /// SPIFFE trust domain of nodes and users; the cluster's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trust_domain: Option<String>,
    /// Seconds that a token lives, unless it was asked for otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_ttl_s: Option<u64>,
    /// Seconds that a token may be asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_token_ttl_s: Option<u64>,
    /// Seconds that a node's certificate lives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate_ttl_s: Option<u64>,
    /// Seconds that verifiers may keep the published keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jwks_cache_s: Option<u64>,
    /// Seconds that a server answers about identity without contact to a quorum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stale_limit_s: Option<u64>,
    /// Seconds that a retired signing key is kept before it may be purged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_retirement_s: Option<u64>,
}

/// How long nodes are waited for.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ConfigsrvFragment {
    /// Seconds until a node has fetched what is published for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fetch_within_s: Option<u64>,
    /// Seconds until a node says what became of what it fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) report_within_s: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FleetLockFragment {
    /// `none`, `basic`, `token` or `mtls`; must be chosen outside `--dev`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_auth: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) default_slots: Option<u32>,
    /// Slots of the groups that are listed.
    pub(crate) groups: BTreeMap<String, u32>,
    /// Whether machines of other groups get no slot.
    pub(crate) listed_only: bool,
}

/// The store behind etcd's API.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ChainfireFragment {
    /// Of the user keyspace, old versions included; 0 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) quota_bytes: Option<u64>,
    /// Takes the alarm back once a tenth of the quota is free again.
    pub(crate) quota_auto_disarm: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_request_bytes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_txn_ops: Option<u32>,
    /// Seconds between two comparisons of all members' whole stores; 0 for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) integrity_check_s: Option<u64>,
    /// Seconds between two progress notifications of an idle watcher.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) watch_progress_s: Option<u64>,
    /// Writes down what long leases have left, for the next leader.
    pub(crate) lease_checkpoints: bool,
    pub(crate) auto_compaction: AutoCompactionFragment,
}

/// What is kept of the keys' history; at most one of the two, and everything without either.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AutoCompactionFragment {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep_revisions: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep_hours: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RaftFragment {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) heartbeat_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) election_ms: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogFragment {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) filter: Option<String>,
    /// `text` or `json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) format: Option<String>,
}
