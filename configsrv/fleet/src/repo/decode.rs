use crate::{
    artifact::{DriftPolicy, Via},
    duration::Span,
    finding::{Located, Place, Rule},
    schema,
    yaml::{Fields, Items, Kind, Node},
};

use super::{
    Address, CheckSpec, Cluster, ConfigServer, Device, Named, NodeSpec, ProbeSpec, Repo, RoleSpec, Scope, ServiceSpec,
    SignerSpec, Source, UserSpec, discover::CLUSTER, file,
};

const DEFAULT_VALIDITY_DAYS: u32 = 90;

/// Adds one file to the repository.
pub(super) struct Decoder<'a> {
    pub(super) items: Items<'a>,
    pub(super) source: &'a dyn Source,
    pub(super) repo: &'a mut Repo,
    pub(super) clusters: &'a mut Vec<Place>,
}

impl Decoder<'_> {
    /// Returns whether all of the file was understood, as far as what it defines goes.
    pub(super) fn file(&mut self, root: &Node) -> bool {
        let Some(top) = self.items.fields(root, &schema::REPOSITORY, Rule::V16) else { return false };
        if let Some(node) = top.get("cluster") {
            self.clusters.push(self.items.place(node));
            let cluster = self.cluster(node);
            if self.repo.cluster.is_none() {
                self.repo.cluster = cluster;
            }
        }
        if let Some(node) = top.get("source") {
            self.source_block(node);
        }
        for (name, node) in self.collection(&top, "nodes") {
            let spec = self.node(node).unwrap_or_default();
            if let Some(name) = self.fresh(name, |repo| repo.nodes.iter().map(|known| &known.name).collect()) {
                self.repo.nodes.push(Named { name, spec });
            }
        }
        for (name, node) in self.collection(&top, "services") {
            let spec = self.service(node).unwrap_or_default();
            if let Some(name) = self.fresh(name, |repo| repo.services.iter().map(|known| &known.name).collect()) {
                self.repo.services.push(Named { name, spec });
            }
        }
        for (name, node) in self.collection(&top, "groups") {
            if !matches!(node.kind, Kind::Null) {
                let message = "a group is only a name; services say which groups they are in";
                self.items.error(Rule::V1, &name.at, message);
            }
            if let Some(name) = self.fresh(name, |repo| repo.groups.iter().collect()) {
                self.repo.groups.push(name);
            }
        }
        for (name, node) in self.collection(&top, "roles") {
            let spec = self.role(node).unwrap_or_default();
            if let Some(name) = self.fresh(name, |repo| repo.roles.iter().map(|known| &known.name).collect()) {
                self.repo.roles.push(Named { name, spec });
            }
        }
        for (name, node) in self.collection(&top, "users") {
            let spec = self.user(node).unwrap_or_default();
            if let Some(name) = self.fresh(name, |repo| repo.users.iter().map(|known| &known.name).collect()) {
                self.repo.users.push(Named { name, spec });
            }
        }
        top.whole
    }

    fn collection<'n>(&mut self, top: &Fields<'n>, name: &str) -> Vec<(Located<String>, &'n Node)> {
        top.get(name).map(|node| self.items.entries(node, name)).unwrap_or_default()
    }

    /// `name`, unless another file defined it already.
    fn fresh(
        &mut self,
        name: Located<String>,
        known: impl FnOnce(&Repo) -> Vec<&Located<String>>,
    ) -> Option<Located<String>> {
        let first = known(self.repo).into_iter().find(|known| known.value == name.value).map(|known| known.at.clone());
        match first {
            None => Some(name),
            Some(first) => {
                self.items.error(Rule::V16, &name.at, format!("\"{}\" is already defined in {first}", name.value));
                None
            }
        }
    }

    /// What it says counts before any file is chosen; here it is only checked.
    fn source_block(&mut self, node: &Node) {
        let at = self.items.place(node);
        if *at.file != *CLUSTER {
            self.items.error(Rule::V1, &at, format!("\"source\" counts in {CLUSTER} alone; move it there"));
        }
        if let Some(fields) = self.items.fields(node, &schema::SOURCE, Rule::V1) {
            self.items.texts(fields.get("include"), "globs");
            self.items.texts(fields.get("exclude"), "globs");
        }
    }

    fn cluster(&mut self, node: &Node) -> Option<Cluster> {
        let items = &mut self.items;
        let fields = items.fields(node, &schema::CLUSTER, Rule::V1)?;
        let name = items.required(&fields, "name").and_then(|node| items.text(node));
        let (mut ca_cert, mut cert_validity_days) = (None, DEFAULT_VALIDITY_DAYS);
        if let Some(crypto) =
            items.required(&fields, "crypto").and_then(|node| items.fields(node, &schema::CRYPTO, Rule::V1))
        {
            ca_cert = items.required(&crypto, "ca_cert").and_then(|node| items.text(node));
            items.word(&crypto, "signature_algorithm");
            if let Some(days) = crypto.get("cert_validity_days").and_then(|node| items.integer(node)) {
                match u32::try_from(days.value) {
                    Ok(value @ 1..=3650) => cert_validity_days = value,
                    _ => items.error(Rule::V1, &days.at, "expected 1 to 3650 days"),
                }
            }
        }
        let signers = items.required(&fields, "signers").map(|node| signers(items, node)).unwrap_or_default();
        let config_server = fields.get("config_server").and_then(|node| config_server(items, node)).unwrap_or_default();
        Some(Cluster { at: fields.at, name, ca_cert, cert_validity_days, signers, config_server })
    }

    fn node(&mut self, node: &Node) -> Option<NodeSpec> {
        let fields = self.items.fields(node, &schema::NODE, Rule::V1)?;
        let mut spec = NodeSpec::default();
        if let Some(list) = fields.get("addresses") {
            let items = &mut self.items;
            spec.addresses = items.list(list, "addresses").iter().filter_map(|node| address(items, node)).collect();
        }
        if let Some(labels) = fields.get("labels") {
            for (key, value) in self.items.entries(labels, "labels") {
                if let Some(value) = self.items.text(value) {
                    spec.labels.insert(key.value, value.value);
                }
            }
        }
        spec.socks5 = fields.get("socks5").and_then(|node| self.items.parsed(node));
        spec.files = file::read_all(&mut self.items, self.source, fields.get("files"));
        let policies = [DriftPolicy::Report, DriftPolicy::Repair, DriftPolicy::Freeze];
        spec.drift = (self.items.word(&fields, "drift"))
            .and_then(|word| policies.into_iter().find(|policy| policy.as_str() == word));
        if let Some(list) = fields.get("probes") {
            let items = &mut self.items;
            spec.probes = items.list(list, "probes").iter().filter_map(|node| probe(items, node)).collect();
        }
        Some(spec)
    }

    fn service(&mut self, node: &Node) -> Option<ServiceSpec> {
        let fields = self.items.fields(node, &schema::SERVICE, Rule::V1)?;
        let items = &mut self.items;
        let at = match items.required(&fields, "at") {
            Some(list @ Node { kind: Kind::List(_), .. }) => {
                let hosts = items.texts(Some(list), "nodes");
                if hosts.is_empty() {
                    items.error(Rule::V1, &fields.at, "\"at\" names no node");
                }
                hosts
            }
            Some(one) => items.text(one).into_iter().collect(),
            None => Vec::new(),
        };
        let addr = items.required(&fields, "addr").and_then(|node| items.parsed(node));
        let socks5_proxy = fields.get("socks5_proxy").and_then(|node| items.parsed(node));
        let groups = items.required(&fields, "groups");
        let groups = items.texts(groups, "groups");
        let roles = items.texts(fields.get("roles"), "roles");
        let scope = match items.word(&fields, "scope") {
            Some("node") => Scope::Node,
            _ => Scope::Cluster,
        };
        let image = fields.get("image").and_then(|node| items.text(node)).map(|text| text.value);
        let files = file::read_all(items, self.source, fields.get("files"));
        Some(ServiceSpec { at, addr, socks5_proxy, groups, roles, scope, image, files })
    }

    fn role(&mut self, node: &Node) -> Option<RoleSpec> {
        let fields = self.items.fields(node, &schema::ROLE, Rule::V1)?;
        let allow = self.items.required(&fields, "allow");
        Some(RoleSpec { allow: self.items.texts(allow, "groups") })
    }

    fn user(&mut self, node: &Node) -> Option<UserSpec> {
        let fields = self.items.fields(node, &schema::USER, Rule::V1)?;
        let items = &mut self.items;
        let roles = items.required(&fields, "roles");
        let roles = items.texts(roles, "roles");
        let nodes = match items.required(&fields, "nodes") {
            Some(list) => items.list(list, "nodes").iter().filter_map(|node| device(items, node)).collect(),
            None => Vec::new(),
        };
        Some(UserSpec { roles, nodes })
    }
}

fn signers(items: &mut Items<'_>, node: &Node) -> Vec<SignerSpec> {
    let Some(fields) = items.fields(node, &schema::SIGNERS, Rule::V1) else { return Vec::new() };
    let Some(fields) = items.required(&fields, "mgmt").and_then(|node| items.fields(node, &schema::MGMT, Rule::V1))
    else {
        return Vec::new();
    };
    let Some(keys) = items.required(&fields, "keys") else { return Vec::new() };
    let mut signers = Vec::new();
    for key in items.list(keys, "signers") {
        let Some(fields) = items.fields(key, &schema::KEY, Rule::V1) else { continue };
        let cert = items.required(&fields, "cert").and_then(|node| items.text(node));
        if let Some(name) = items.required(&fields, "name").and_then(|node| items.text(node)) {
            signers.push(SignerSpec { name, cert, certificate: None });
        }
    }
    signers
}

fn config_server(items: &mut Items<'_>, node: &Node) -> Option<ConfigServer> {
    let fields = items.fields(node, &schema::CONFIG_SERVER, Rule::V1)?;
    let via = match items.word(&fields, "via") {
        Some("rete") => Via::Rete,
        _ => Via::Direct,
    };
    let read_urls = match fields.get("read_url") {
        Some(list @ Node { kind: Kind::List(_), .. }) => items.texts(Some(list), "URLs"),
        Some(one) => items.text(one).into_iter().collect(),
        None => Vec::new(),
    };
    let publish_url = fields.get("publish_url").and_then(|node| items.text(node));
    for url in read_urls.iter().chain(&publish_url) {
        if !(url.value.starts_with("https://") || url.value.starts_with("http://")) {
            items.error(Rule::V1, &url.at, format!("\"{}\" is not an http:// or https:// URL", url.value));
        }
    }
    let mut span = |name| fields.get(name).and_then(|node| items.parsed::<Span>(node));
    let (poll_interval, hold, expires_after) = (span("poll_interval"), span("hold"), span("expires_after"));
    if let Some(never) = expires_after.as_ref().filter(|span| span.value.is_zero()) {
        items.error(Rule::V1, &never.at, "artifacts that are never fresh raise an alarm for ever");
    }
    let value = |span: Option<Located<Span>>| span.map(|span| span.value);
    let (poll_interval, hold, expires_after) = (value(poll_interval), value(hold), value(expires_after));
    Some(ConfigServer { via, read_urls, publish_url, poll_interval, hold, expires_after })
}

fn address(items: &mut Items<'_>, node: &Node) -> Option<Address> {
    let fields = items.fields(node, &schema::ADDRESS, Rule::V1)?;
    let name = items.required(&fields, "name").and_then(|node| items.text(node));
    let udp = items.required(&fields, "udp").and_then(|node| items.parsed(node));
    let public = fields.get("public").and_then(|node| items.flag(node));
    Some(Address { name: name?, udp: udp?, public })
}

/// `{name: ledger, as: stock, target: ledger}`, or `{name: shop, url: "http://127.0.0.1:7100/healthz"}`.
fn probe(items: &mut Items<'_>, node: &Node) -> Option<ProbeSpec> {
    let fields = items.fields(node, &schema::PROBE, Rule::V1)?;
    let name = items.required(&fields, "name").and_then(|node| items.parsed(node));
    let mut text = |name| fields.get(name).and_then(|node| items.text(node));
    let check = match (text("as"), text("target"), text("url")) {
        (Some(initiator), Some(target), None) => CheckSpec::Tunnel { initiator, target },
        (None, None, Some(url)) => {
            if !url.value.starts_with("http://") {
                items.error(Rule::V1, &url.at, format!("\"{}\" is not an http:// URL", url.value));
            }
            CheckSpec::Url(url)
        }
        _ => {
            items.error(Rule::V1, &fields.at, "a probe has either \"as\" and \"target\", or \"url\"");
            return None;
        }
    };
    Some(ProbeSpec { name: name?, check })
}

/// `pier2`, or `{at: pier2, socks5: 127.0.0.1:1085}`.
fn device(items: &mut Items<'_>, node: &Node) -> Option<Device> {
    if let Kind::Map(_) = node.kind {
        let fields = items.fields(node, &schema::DEVICE, Rule::V1)?;
        let name = items.required(&fields, "at").and_then(|node| items.text(node))?;
        let socks5 = fields.get("socks5").and_then(|node| items.parsed(node));
        return Some(Device { node: name, socks5 });
    }
    Some(Device { node: items.text(node)?, socks5: None })
}
