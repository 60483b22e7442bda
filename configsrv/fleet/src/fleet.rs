//! A fleet that passed validation: typed names, every reference resolved.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    address::HostPort,
    artifact::{DriftPolicy, File, Probe, Signer, Via},
    duration::Span,
    finding::Located,
    names::{ClusterName, GroupName, NameError, NodeName, RoleName, ServiceName, UserName},
    probe,
    repo::{Repo, Scope},
    reserved::CONFIG_SERVER,
    spiffe::{SpiffeId, Subject},
};

#[derive(Clone, Debug)]
pub struct Fleet {
    pub cluster: ClusterName,
    pub signers: Vec<Signer>,
    pub distribution: Distribution,
    pub nodes: BTreeMap<NodeName, Node>,
    pub services: BTreeMap<ServiceName, Service>,
    pub users: BTreeMap<UserName, User>,
    /// Role to the groups that it allows.
    pub roles: BTreeMap<RoleName, BTreeSet<GroupName>>,
}

#[derive(Clone, Debug)]
pub struct Distribution {
    /// The service that nodes sync from through the data plane.
    pub server: SpiffeId,
    pub via: Via,
    pub urls: Vec<String>,
    pub poll_interval: Option<Span>,
    pub hold: Option<Span>,
    /// How long an artifact is fresh.
    pub expires_after: Option<Span>,
}

#[derive(Clone, Debug)]
pub struct Node {
    /// Where peers dial it, if it can be dialled.
    pub udp: Option<HostPort>,
    pub labels: BTreeMap<String, String>,
    pub socks5: Option<HostPort>,
    pub files: Vec<File>,
    pub drift: Option<DriftPolicy>,
    pub probes: Vec<Probe>,
}

#[derive(Clone, Debug)]
pub struct Service {
    pub hosts: BTreeSet<NodeName>,
    pub addr: HostPort,
    pub socks5_proxy: Option<HostPort>,
    pub groups: BTreeSet<GroupName>,
    pub roles: BTreeSet<RoleName>,
    pub per_node: bool,
    pub image: Option<String>,
    pub files: Vec<File>,
}

#[derive(Clone, Debug)]
pub struct User {
    pub roles: BTreeSet<RoleName>,
    /// Device to the listener that was asked for.
    pub devices: BTreeMap<NodeName, Option<HostPort>>,
}

/// The repository has errors; [`crate::validate`] tells which.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the repository is not valid: {0}")]
pub struct NotValid(String);

impl From<NameError> for NotValid {
    fn from(error: NameError) -> Self {
        Self(error.to_string())
    }
}

fn absent(what: impl Into<String>) -> NotValid {
    NotValid(what.into())
}

impl Fleet {
    /// Resolves a repository in which validation found no error.
    pub fn new(repo: &Repo) -> Result<Self, NotValid> {
        let spec = repo.cluster.as_ref().ok_or_else(|| absent("no cluster block"))?;
        let cluster: ClusterName = spec.name.as_ref().ok_or_else(|| absent("no cluster name"))?.value.parse()?;
        let mut signers = Vec::new();
        for key in &spec.signers {
            let certificate = key.certificate.as_ref().ok_or_else(|| absent("a signer has no certificate"))?;
            let pubkey = certificate.public_key.ok_or_else(|| absent("a signer's key is not Ed25519"))?;
            signers.push(Signer { spiffe_id: SpiffeId::signer(&cluster, &key.name.value.parse()?), pubkey });
        }
        signers.sort_by(|a, b| a.spiffe_id.cmp(&b.spiffe_id));
        let fleet = Self {
            signers,
            distribution: distribution(repo, &cluster)?,
            nodes: nodes(repo, &cluster)?,
            services: services(repo)?,
            users: users(repo)?,
            roles: repo
                .roles
                .iter()
                .map(|role| Ok((role.name.value.parse()?, set(&role.spec.allow)?)))
                .collect::<Result<_, NotValid>>()?,
            cluster,
        };
        fleet.resolve()?;
        Ok(fleet)
    }

    fn resolve(&self) -> Result<(), NotValid> {
        let hosts = self.services.values().flat_map(|service| &service.hosts);
        let devices = self.users.values().flat_map(|user| user.devices.keys());
        if let Some(node) = hosts.chain(devices).find(|node| !self.nodes.contains_key(*node)) {
            return Err(absent(format!("there is no node \"{node}\"")));
        }
        let held = self.users.values().flat_map(|user| &user.roles);
        let roles = held.chain(self.services.values().flat_map(|service| &service.roles));
        match roles.into_iter().find(|role| !self.roles.contains_key(*role)) {
            Some(role) => Err(absent(format!("there is no role \"{role}\""))),
            None => Ok(()),
        }
    }
}

fn distribution(repo: &Repo, cluster: &ClusterName) -> Result<Distribution, NotValid> {
    let service = repo.service(CONFIG_SERVER).ok_or_else(|| absent(format!("there is no service {CONFIG_SERVER}")))?;
    let spec = repo.cluster.as_ref().map(|cluster| cluster.config_server.clone()).unwrap_or_default();
    Ok(Distribution {
        server: SpiffeId::new(cluster, Subject::Service { node: None, service: service.name.value.parse()? }),
        via: spec.via,
        urls: spec.read_urls.into_iter().map(|url| url.value).collect(),
        poll_interval: spec.poll_interval,
        hold: spec.hold,
        expires_after: spec.expires_after,
    })
}

fn nodes(repo: &Repo, cluster: &ClusterName) -> Result<BTreeMap<NodeName, Node>, NotValid> {
    let mut out = BTreeMap::new();
    for node in &repo.nodes {
        let spec = Node {
            udp: node.spec.dialled().map(|address| address.udp.value.clone()),
            labels: node.spec.labels.clone(),
            socks5: node.spec.socks5.as_ref().map(|proxy| proxy.value.clone()),
            files: node.spec.files.iter().map(|spec| spec.file.clone()).collect(),
            drift: node.spec.drift,
            probes: node
                .spec
                .probes
                .iter()
                .map(|probe| probe::resolve(repo, cluster, node, probe).map_err(|fault| absent(fault.why)))
                .collect::<Result<_, _>>()?,
        };
        out.insert(node.name.value.parse()?, spec);
    }
    Ok(out)
}

fn services(repo: &Repo) -> Result<BTreeMap<ServiceName, Service>, NotValid> {
    let mut out = BTreeMap::new();
    for service in &repo.services {
        let spec = &service.spec;
        let addr = spec.addr.as_ref().ok_or_else(|| absent("a service has no addr"))?;
        let resolved = Service {
            hosts: set(&spec.at)?,
            addr: addr.value.clone(),
            socks5_proxy: spec.socks5_proxy.as_ref().map(|proxy| proxy.value.clone()),
            groups: set(&spec.groups)?,
            roles: set(&spec.roles)?,
            per_node: spec.scope == Scope::Node,
            image: spec.image.clone(),
            files: spec.files.iter().map(|spec| spec.file.clone()).collect(),
        };
        out.insert(service.name.value.parse()?, resolved);
    }
    Ok(out)
}

fn users(repo: &Repo) -> Result<BTreeMap<UserName, User>, NotValid> {
    let mut out = BTreeMap::new();
    for user in &repo.users {
        let mut devices = BTreeMap::new();
        for device in &user.spec.nodes {
            devices.insert(device.node.value.parse()?, device.socks5.as_ref().map(|proxy| proxy.value.clone()));
        }
        out.insert(user.name.value.parse()?, User { roles: set(&user.spec.roles)?, devices });
    }
    Ok(out)
}

fn set<T: std::str::FromStr<Err = NameError> + Ord>(names: &[Located<String>]) -> Result<BTreeSet<T>, NotValid> {
    names.iter().map(|name| name.value.parse().map_err(NotValid::from)).collect()
}
