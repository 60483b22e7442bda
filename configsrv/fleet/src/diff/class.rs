use std::fmt;

use serde::{Deserialize, Serialize};

use crate::artifact::{Egress, LocalService, Payload};

/// What a node has to do to get from one payload to another, from the least to the most. Each class includes those
/// before it: a structural change also writes files, swaps tables and adopts trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Equal payloads: adopt the version's number.
    Noop,
    /// Only the agent itself is concerned: trusted signers, where to sync, probes, labels, images. The data plane stays.
    TrustOnly,
    /// Only who may reach what: swap the tables, no connection drops.
    AclOnly,
    /// Files to write, programs to reload.
    Files,
    /// Listeners, sockets or peers' addresses: restart the data plane.
    Structural,
}

/// A class and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub class: Class,
    /// One sentence for each thing that changed, in the order of the payload's fields.
    pub reasons: Vec<String>,
}

impl Class {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Noop => "noop",
            Self::TrustOnly => "trust-only",
            Self::AclOnly => "acl-only",
            Self::Files => "files",
            Self::Structural => "structural",
        }
    }

    /// Whether connections of the data plane end.
    pub fn restarts(self) -> bool {
        self == Self::Structural
    }
}

impl fmt::Display for Class {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Compares field by field, and fails towards the restart: whatever is not known to be harmless is structural.
pub fn classify(old: &Payload, new: &Payload) -> Change {
    let mut change = Change { class: Class::Noop, reasons: Vec::new() };
    let Payload {
        schema_version,
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
    change.note(*node != old.node, Class::Structural, "the payload is for another node");
    change.note(schema_version.major != old.schema_version.major, Class::Structural, "the payload's schema changed");
    change.note(*labels != old.labels, Class::TrustOnly, "labels changed");
    change.note(*listen_udp != old.listen_udp, Class::Structural, "the node listens elsewhere");
    change.note(*local_node != old.local_node, Class::Structural, "the node's own identity or proxy changed");
    change.note(*local_users != old.local_users, Class::Structural, "the users at this node changed");
    change.services(&old.local_services, local_services);
    change.note(*ingress != old.ingress, Class::AclOnly, "who may reach local services changed");
    change.egress(&old.egress, egress);
    change.note(*files != old.files, Class::Files, "files changed");
    change.note(*drift != old.drift, Class::TrustOnly, "what is done about changed files changed");
    change.note(*probes != old.probes, Class::TrustOnly, "what must hold before a confirmation changed");
    change.note(*trust != old.trust, Class::TrustOnly, "trusted signers changed");
    change.note(*sync != old.sync, Class::TrustOnly, "where to sync from changed");
    change
}

impl Change {
    fn note(&mut self, differs: bool, class: Class, reason: impl Into<String>) {
        if differs {
            self.class = self.class.max(class);
            self.reasons.push(reason.into());
        }
    }

    fn services(&mut self, old: &[LocalService], new: &[LocalService]) {
        for service in new {
            match old.iter().find(|before| before.spiffe_id == service.spiffe_id) {
                None => self.note(true, Class::Structural, format!("service {} is new", service.name)),
                Some(before) => self.service(before, service),
            }
        }
        for gone in old.iter().filter(|before| new.iter().all(|service| service.spiffe_id != before.spiffe_id)) {
            self.note(true, Class::Structural, format!("service {} is gone", gone.name));
        }
    }

    fn service(&mut self, old: &LocalService, new: &LocalService) {
        let LocalService { name, spiffe_id: _, upstream_addr, socks5_proxy, image } = new;
        self.note(
            *upstream_addr != old.upstream_addr,
            Class::Structural,
            format!("service {name} moved to {upstream_addr}"),
        );
        self.note(*socks5_proxy != old.socks5_proxy, Class::Structural, format!("the proxy of service {name} changed"));
        self.note(*image != old.image, Class::TrustOnly, format!("the image of service {name} changed"));
    }

    /// A dial row for an address that was known before is only a permission, and so is a row that goes. A new or moved
    /// address means another session.
    fn egress(&mut self, old: &[Egress], new: &[Egress]) {
        let known = |row: &Egress| {
            old.iter().any(|before| before.target_node == row.target_node && before.target_udp == row.target_udp)
        };
        let mut permissions = false;
        for row in new {
            let before = old.iter().find(|before| {
                before.target_spiffe_id == row.target_spiffe_id && before.target_node == row.target_node
            });
            let target = row.target_spiffe_id.subject();
            match before {
                Some(before) if before.target_udp != row.target_udp => {
                    let reason = format!("{target} on {} moved to {}", row.target_node, row.target_udp);
                    self.note(true, Class::Structural, reason);
                }
                Some(before) => permissions |= before.allow != row.allow,
                None if known(row) => permissions = true,
                None => self.note(true, Class::Structural, format!("{target} on {} is a new peer", row.target_node)),
            }
        }
        permissions |= old.iter().any(|before| {
            new.iter()
                .all(|row| row.target_spiffe_id != before.target_spiffe_id || row.target_node != before.target_node)
        });
        self.note(permissions, Class::AclOnly, "what local principals may dial changed");
    }
}
