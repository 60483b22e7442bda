use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use crate::{
    artifact::{DriftPolicy, Egress, File, Ingress, LocalService, LocalUser, Payload, Probe, Sync, Trust},
    names::NodeName,
    spiffe::{SpiffeId, Subject},
};

/// What differs between two payloads of a node, one short text each. The node itself is called so instead of by its name,
/// so that nodes on which the same changes have the same texts.
pub(super) fn edits(old: &Payload, new: &Payload) -> Vec<String> {
    let Payload {
        // Follows from what is used.
        schema_version: _,
        node,
        labels,
        listen_udp,
        local_node,
        local_users,
        local_services,
        ingress,
        egress,
        files,
        drift,
        probes,
        trust,
        sync,
    } = new;
    let mut edits = Edits { node, out: Vec::new() };
    edits.labels(&old.labels, labels);
    edits.moved("listens on", old.listen_udp.as_ref(), listen_udp.as_ref());
    edits.moved("own proxy", Some(&old.local_node.socks5_proxy), Some(&local_node.socks5_proxy));
    edits.users(&old.local_users, local_users);
    edits.services(&old.local_services, local_services);
    edits.ingress(&old.ingress, ingress);
    edits.egress(&old.egress, egress);
    edits.keyed("file", &old.files, files, |file: &File| file.path.clone());
    let policy = |policy: Option<DriftPolicy>| policy.map(DriftPolicy::as_str);
    edits.moved("drift", policy(old.drift).as_ref(), policy(*drift).as_ref());
    edits.keyed("probe", &old.probes, probes, |probe: &Probe| probe.name.to_string());
    edits.trust(&old.trust, trust);
    edits.sync(&old.sync, sync);
    edits.out
}

struct Edits<'n> {
    node: &'n NodeName,
    out: Vec<String>,
}

impl Edits<'_> {
    fn say(&mut self, text: String) {
        self.out.push(text);
    }

    /// A value that is there, or another, or none.
    fn moved<T: Display + PartialEq>(&mut self, what: &str, old: Option<&T>, new: Option<&T>) {
        match (old, new) {
            (Some(old), Some(new)) if old != new => self.say(format!("{what} {old} → {new}")),
            (None, Some(new)) => self.say(format!("{what} +{new}")),
            (Some(old), None) => self.say(format!("{what} -{old}")),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    /// Things with a name: `file +/etc/motd`, `~` for those that stay and differ.
    fn keyed<T: PartialEq>(&mut self, what: &str, old: &[T], new: &[T], name: fn(&T) -> String) {
        let (old, new): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (old.iter().map(|item| (name(item), item)).collect(), new.iter().map(|item| (name(item), item)).collect());
        for name in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            match (old.get(name), new.get(name)) {
                (None, Some(_)) => self.say(format!("{what} +{name}")),
                (Some(_), None) => self.say(format!("{what} -{name}")),
                (Some(old), Some(new)) if old != new => self.say(format!("{what} ~{name}")),
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
    }

    fn labels(&mut self, old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) {
        for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            self.moved(&format!("label {key}"), old.get(key), new.get(key));
        }
    }

    fn users(&mut self, old: &[LocalUser], new: &[LocalUser]) {
        self.keyed("user", old, new, |user| user.name.to_string());
    }

    fn services(&mut self, old: &[LocalService], new: &[LocalService]) {
        let known: BTreeMap<_, _> = old.iter().map(|service| (&service.name, service)).collect();
        for service in new {
            let Some(before) = known.get(&service.name) else {
                self.say(format!("+service/{}", service.name));
                continue;
            };
            let LocalService { name, spiffe_id, upstream_addr, socks5_proxy, image } = service;
            let what = |part: &str| format!("service/{name} {part}");
            self.moved(&what("id"), Some(&before.spiffe_id), Some(spiffe_id));
            self.moved(&what("at"), Some(&before.upstream_addr), Some(upstream_addr));
            self.moved(&what("proxy"), before.socks5_proxy.as_ref(), socks5_proxy.as_ref());
            self.moved(&what("image"), before.image.as_ref(), image.as_ref());
        }
        for gone in old.iter().filter(|before| new.iter().all(|service| service.name != before.name)) {
            self.say(format!("-service/{}", gone.name));
        }
    }

    /// `+user/mira on service/stock`.
    fn ingress(&mut self, old: &[Ingress], new: &[Ingress]) {
        let pairs = |rows: &[Ingress]| -> BTreeSet<(SpiffeId, SpiffeId)> {
            let pair = |row: &Ingress, who: &SpiffeId| (who.clone(), row.target_spiffe_id.clone());
            rows.iter().flat_map(|row| row.allow.iter().map(move |who| pair(row, who))).collect()
        };
        let (old, new) = (pairs(old), pairs(new));
        for (sign, these) in [('+', new.difference(&old)), ('-', old.difference(&new))] {
            for (who, target) in these {
                let text = format!("{sign}{} on {}", self.called(who), self.called(target));
                self.say(text);
            }
        }
    }

    /// `dials +user/mira to service/ledger on pier3`, and peers that are somewhere else.
    fn egress(&mut self, old: &[Egress], new: &[Egress]) {
        let addresses = |rows: &[Egress]| -> BTreeMap<NodeName, String> {
            rows.iter().map(|row| (row.target_node.clone(), row.target_udp.to_string())).collect()
        };
        let (before, after) = (addresses(old), addresses(new));
        for (peer, address) in &after {
            match before.get(peer) {
                None => self.say(format!("peer +{peer} at {address}")),
                Some(old) if old != address => self.say(format!("peer {peer} at {old} → {address}")),
                Some(_) => {}
            }
        }
        for peer in before.keys().filter(|peer| !after.contains_key(*peer)) {
            self.say(format!("peer -{peer}"));
        }
        let pairs = |rows: &[Egress]| -> BTreeSet<(SpiffeId, SpiffeId, NodeName)> {
            rows.iter()
                .flat_map(|row| {
                    row.allow.iter().map(|who| (who.clone(), row.target_spiffe_id.clone(), row.target_node.clone()))
                })
                .collect()
        };
        let (old, new) = (pairs(old), pairs(new));
        for (sign, these) in [('+', new.difference(&old)), ('-', old.difference(&new))] {
            for (who, target, node) in these {
                let text = format!("dials {sign}{} to {} on {node}", self.called(who), target.subject());
                self.say(text);
            }
        }
    }

    fn trust(&mut self, old: &Trust, new: &Trust) {
        let (Trust { authorized_mgmt_signers: old }, Trust { authorized_mgmt_signers: new }) = (old, new);
        self.keyed("signer", old, new, |signer| signer.spiffe_id.subject().to_string());
    }

    fn sync(&mut self, old: &Sync, new: &Sync) {
        // Whom to ask as, and whom to ask, follow from names.
        let Sync { via, principal: _, config_server: _, urls, poll_interval, hold } = new;
        if *via != old.via {
            self.say(format!("syncs via {} → {}", old.via.as_str(), via.as_str()));
        }
        if *urls != old.urls {
            self.say(format!("servers {}", urls.join(", ")));
        }
        self.moved("poll interval", old.poll_interval.as_ref(), poll_interval.as_ref());
        self.moved("hold", old.hold.as_ref(), hold.as_ref());
    }

    fn called(&self, id: &SpiffeId) -> String {
        match id.subject() {
            Subject::Node(node) if node == self.node => "this node".to_owned(),
            Subject::Service { node: Some(node), service } if node == self.node => format!("service/{service} here"),
            subject @ (Subject::User(_) | Subject::Service { .. } | Subject::Node(_) | Subject::Signer(_)) => {
                subject.to_string()
            }
        }
    }
}
