use std::collections::BTreeMap;

use crate::{
    address::HostPort,
    artifact::{DriftPolicy, File, Via},
    duration::Span,
    enrollment::Log,
    finding::{Finding, Located, Place},
    names::ProbeName,
    pki::Certificate,
    revocation::SealedRevocations,
    spiffe::SpiffeId,
};

/// A repository as it was read. What could not be read is absent here and present in `findings`.
#[derive(Clone, Debug, Default)]
pub struct Repo {
    pub cluster: Option<Cluster>,
    pub nodes: Vec<Named<NodeSpec>>,
    pub services: Vec<Named<ServiceSpec>>,
    pub groups: Vec<Located<String>>,
    pub roles: Vec<Named<RoleSpec>>,
    pub users: Vec<Named<UserSpec>>,
    /// The authority's certificate, from the file that the cluster block names.
    pub ca: Option<Certificate>,
    /// `None` if there is no enrollment.log.
    pub log: Option<Log>,
    /// The revocations that were posted last, as far as this repository knows.
    pub revocations: Option<SealedRevocations>,
    /// The first file that could not be read as a whole. What it defines is missing here, and missed by others.
    pub unread: Option<String>,
    /// What reading found.
    pub findings: Vec<Finding>,
}

#[derive(Clone, Debug)]
pub struct Named<T> {
    pub name: Located<String>,
    pub spec: T,
}

#[derive(Clone, Debug)]
pub struct Cluster {
    pub at: Place,
    pub name: Option<Located<String>>,
    pub ca_cert: Option<Located<String>>,
    /// Days that certificates of principals last.
    pub cert_validity_days: u32,
    pub signers: Vec<SignerSpec>,
    pub config_server: ConfigServer,
}

#[derive(Clone, Debug)]
pub struct SignerSpec {
    pub name: Located<String>,
    pub cert: Option<Located<String>>,
    /// The file that `cert` names, if it could be read.
    pub certificate: Option<Certificate>,
}

#[derive(Clone, Debug, Default)]
pub struct ConfigServer {
    pub via: Via,
    pub read_urls: Vec<Located<String>>,
    pub publish_url: Option<Located<String>>,
    pub poll_interval: Option<Span>,
    /// How long probes must hold before an agent confirms by itself.
    pub hold: Option<Span>,
    /// How long an artifact is fresh.
    pub expires_after: Option<Span>,
}

#[derive(Clone, Debug, Default)]
pub struct NodeSpec {
    pub addresses: Vec<Address>,
    pub labels: BTreeMap<String, String>,
    /// The listener of the node's own dial-out.
    pub socks5: Option<Located<HostPort>>,
    pub files: Vec<FileSpec>,
    pub drift: Option<DriftPolicy>,
    pub probes: Vec<ProbeSpec>,
}

#[derive(Clone, Debug)]
pub struct ProbeSpec {
    pub name: Located<ProbeName>,
    pub check: CheckSpec,
}

#[derive(Clone, Debug)]
pub enum CheckSpec {
    /// `as` is a name on the node, `target` SERVICE or NODE/SERVICE.
    Tunnel {
        initiator: Located<String>,
        target: Located<String>,
    },
    Url(Located<String>),
}

#[derive(Clone, Debug)]
pub struct Address {
    pub name: Located<String>,
    pub udp: Located<HostPort>,
    /// Declared reachable whatever the address looks like.
    pub public: Option<bool>,
}

#[derive(Clone, Debug, Default)]
pub struct ServiceSpec {
    /// The hosts; one, or several that serve the same.
    pub at: Vec<Located<String>>,
    pub addr: Option<Located<HostPort>>,
    pub socks5_proxy: Option<Located<HostPort>>,
    pub groups: Vec<Located<String>>,
    /// `None` and empty both mean that the service never initiates.
    pub roles: Vec<Located<String>>,
    pub scope: Scope,
    pub image: Option<String>,
    pub files: Vec<FileSpec>,
}

/// Whether a service is one principal in the cluster, or one for each of its nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    #[default]
    Cluster,
    Node,
}

#[derive(Clone, Debug, Default)]
pub struct RoleSpec {
    pub allow: Vec<Located<String>>,
}

#[derive(Clone, Debug, Default)]
pub struct UserSpec {
    pub roles: Vec<Located<String>>,
    pub nodes: Vec<Device>,
}

/// A node that acts as a user.
#[derive(Clone, Debug)]
pub struct Device {
    pub node: Located<String>,
    pub socks5: Option<Located<HostPort>>,
}

#[derive(Clone, Debug)]
pub struct FileSpec {
    pub at: Place,
    pub file: File,
}

impl Address {
    /// Rule V20: what the writer says, else what the address looks like.
    pub fn is_reachable(&self) -> bool {
        self.public.unwrap_or_else(|| self.udp.value.is_internet())
    }
}

impl NodeSpec {
    /// Where peers dial the node: what is declared public, else the first address that looks reachable, else the first.
    pub fn dialled(&self) -> Option<&Address> {
        let declared = self.addresses.iter().find(|address| address.public == Some(true));
        declared.or_else(|| self.addresses.iter().find(|address| address.is_reachable())).or(self.addresses.first())
    }
}

impl Repo {
    pub fn node(&self, name: &str) -> Option<&Named<NodeSpec>> {
        self.nodes.iter().find(|node| node.name.value == name)
    }

    pub fn service(&self, name: &str) -> Option<&Named<ServiceSpec>> {
        self.services.iter().find(|service| service.name.value == name)
    }

    pub fn role(&self, name: &str) -> Option<&Named<RoleSpec>> {
        self.roles.iter().find(|role| role.name.value == name)
    }

    pub fn has_group(&self, name: &str) -> bool {
        self.groups.iter().any(|group| group.value == name)
    }

    /// Whether the revocations, as far as this repository knows them, name `id`.
    pub fn is_revoked(&self, id: &SpiffeId) -> bool {
        self.revocations.as_ref().is_some_and(|lane| lane.revocations().revoked.contains(id))
    }

    /// Where to point when something is missing altogether.
    pub fn place(&self) -> Place {
        self.cluster.as_ref().map_or_else(|| Place::file("cluster.yaml"), |cluster| cluster.at.clone())
    }
}
