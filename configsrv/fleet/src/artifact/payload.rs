use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    address::HostPort,
    digest::Digest,
    duration::Span,
    names::{ClusterName, NodeName, ProbeName, ServiceName, UserName},
    spiffe::SpiffeId,
};

use super::{ArtifactError, PublicKey, SchemaVersion, to_canonical};

/// What one node is to be: its own identities, who may reach its services, where its callers find theirs. It holds
/// nothing secret and names no file of the node except those that it writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    pub schema_version: SchemaVersion,
    pub node: NodeName,
    pub labels: BTreeMap<String, String>,
    /// Where the node accepts tunnels; absent on a node that only initiates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_udp: Option<HostPort>,
    pub local_node: LocalNode,
    pub local_users: Vec<LocalUser>,
    pub local_services: Vec<LocalService>,
    /// The gate: one row for every local service, also when nobody may reach it.
    pub ingress: Vec<Ingress>,
    /// The dial table of this node's principals.
    pub egress: Vec<Egress>,
    pub files: Vec<File>,
    /// What the agent does about files that somebody else changed; to report them if absent. Since 1.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftPolicy>,
    /// What must hold before the agent confirms a version by itself. Since 1.1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<Probe>,
    pub trust: Trust,
    pub sync: Sync,
}

/// The node's own way out: what the agent itself dials through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalNode {
    pub spiffe_id: SpiffeId,
    pub socks5_proxy: HostPort,
}

/// A person at this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalUser {
    pub name: UserName,
    pub spiffe_id: SpiffeId,
    pub socks5_proxy: HostPort,
}

/// A service on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalService {
    pub name: ServiceName,
    pub spiffe_id: SpiffeId,
    /// Where the agent connects for it.
    pub upstream_addr: HostPort,
    /// Its own way out, if it initiates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socks5_proxy: Option<HostPort>,
    /// An OCI reference, carried through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

/// Who may reach one local service. Sorted, without repeats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingress {
    pub target_spiffe_id: SpiffeId,
    pub allow: Vec<SpiffeId>,
}

/// Where a target is, and which of this node's principals may dial it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Egress {
    pub target_spiffe_id: SpiffeId,
    pub target_node: NodeName,
    pub target_udp: HostPort,
    pub allow: Vec<SpiffeId>,
}

/// A file that the agent writes, and what it does afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Absolute, without `.` and `..`.
    pub path: String,
    /// Four octal digits.
    pub mode: String,
    /// `user` or `user:group`; the agent's own user if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    pub content: Content,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activate: Option<Activation>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    Text(String),
    /// Standard base64, for bytes that are not UTF-8.
    Base64(String),
}

/// What makes a program see its new file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `systemctl reload UNIT`.
    Reload(String),
    /// `systemctl restart UNIT`.
    Restart(String),
    /// A program and its arguments; no shell.
    Run(Vec<String>),
}

/// What becomes of files that an activation wrote and somebody else changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftPolicy {
    /// Whoever asks is told.
    #[default]
    Report,
    /// They are written again, and their programs told.
    Repair,
    /// Nothing newer is taken until somebody has decided.
    Freeze,
}

impl DriftPolicy {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Repair => "repair",
            Self::Freeze => "freeze",
        }
    }
}

impl fmt::Display for DriftPolicy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Something that holds on a node that is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    pub name: ProbeName,
    pub check: Check,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Check {
    /// One of this node's principals gets a connection to a service through the data plane.
    Tunnel {
        #[serde(rename = "as")]
        initiator: SpiffeId,
        target: SpiffeId,
    },
    /// A GET is answered with success.
    Url(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// Whose signatures count on the next artifact.
    pub authorized_mgmt_signers: Vec<Signer>,
}

/// A key that signs artifacts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signer {
    pub spiffe_id: SpiffeId,
    pub pubkey: PublicKey,
}

/// How the agent finds the next artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sync {
    pub via: Via,
    /// As whom the agent asks.
    pub principal: SpiffeId,
    /// Whom it asks through the data plane.
    pub config_server: SpiffeId,
    /// The servers' URLs for `direct`; empty means those that enrolment gave.
    pub urls: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll_interval: Option<Span>,
    /// How long all probes must hold before the agent confirms by itself. Since 1.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Span>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// The servers' own HTTPS.
    #[default]
    Direct,
    /// The service `config-server` through the node's own tables.
    Rete,
}

impl Via {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Rete => "rete",
        }
    }
}

impl Payload {
    /// The oldest schema that has every field which is used here: what a writer stamps, so that nodes of an earlier
    /// release read what they can understand.
    pub fn lowest_schema(&self) -> SchemaVersion {
        let Sync { via: _, principal: _, config_server: _, urls: _, poll_interval: _, hold } = &self.sync;
        if self.drift.is_some() {
            SchemaVersion::V1_2
        } else if !self.probes.is_empty() || hold.is_some() {
            SchemaVersion::V1_1
        } else {
            SchemaVersion::V1_0
        }
    }

    /// SHA-256 of the RFC 8785 form: equal exactly if the payloads are.
    pub fn digest(&self) -> Result<Digest, ArtifactError> {
        Ok(Digest::of(&to_canonical(self)?))
    }

    /// Every id in the payload, in no particular order.
    pub fn spiffe_ids(&self) -> impl Iterator<Item = &SpiffeId> {
        let rows = self.ingress.iter().flat_map(|row| std::iter::once(&row.target_spiffe_id).chain(&row.allow));
        let dials = self.egress.iter().flat_map(|row| std::iter::once(&row.target_spiffe_id).chain(&row.allow));
        std::iter::once(&self.local_node.spiffe_id)
            .chain(self.local_users.iter().map(|user| &user.spiffe_id))
            .chain(self.local_services.iter().map(|service| &service.spiffe_id))
            .chain(rows)
            .chain(dials)
            .chain(self.trust.authorized_mgmt_signers.iter().map(|signer| &signer.spiffe_id))
            .chain([&self.sync.principal, &self.sync.config_server])
            .chain(self.probes.iter().flat_map(Probe::spiffe_ids))
    }

    /// Refuses ids of another trust domain.
    pub(super) fn check_cluster(&self, cluster: &ClusterName) -> Result<(), ArtifactError> {
        match self.spiffe_ids().find(|id| id.cluster() != cluster) {
            None => Ok(()),
            Some(id) => Err(ArtifactError::WrongCluster { id: id.clone(), cluster: cluster.clone() }),
        }
    }
}

impl Probe {
    fn spiffe_ids(&self) -> impl Iterator<Item = &SpiffeId> {
        let ids = match &self.check {
            Check::Tunnel { initiator, target } => [Some(initiator), Some(target)],
            Check::Url(_) => [None, None],
        };
        ids.into_iter().flatten()
    }
}
