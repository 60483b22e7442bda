use std::collections::BTreeSet;

use crate::{
    artifact::{Payload, Signer},
    compile::COMPILED,
    finding::{Finding, Findings, Place, Rule},
    names::NodeName,
    reserved::{CONFIG_PUBLISHER, CONFIG_SERVER},
    spiffe::{SpiffeId, Subject},
};

/// V23: what `new` would take away that cannot be given back from afar. `signer` is who signs `new`.
pub fn lockout(old: &[Payload], new: &[Payload], signer: Option<&SpiffeId>) -> Vec<Finding> {
    let mut findings = Findings::default();
    let at = Place::file(COMPILED);
    let (before, after) = (operators(old), operators(new));
    if !before.is_empty() && after.is_empty() {
        let message = format!("no operator would reach {CONFIG_PUBLISHER} any more; until now {} could", join(&before));
        findings.error(Rule::V23, &at, message);
    }
    let kept: BTreeSet<&NodeName> = new.iter().map(|payload| &payload.node).collect();
    let cut: Vec<String> = connected(old)
        .difference(&connected(new))
        .filter(|node| kept.contains(*node))
        .map(ToString::to_string)
        .collect();
    if !cut.is_empty() {
        let message = format!("these nodes would not reach {CONFIG_SERVER} any more: {}", cut.join(", "));
        findings.error(Rule::V23, &at, message);
    }
    if let Some(message) = signer.and_then(|signer| untrusted(old, new, signer)) {
        findings.error(Rule::V23, &at, message);
    }
    findings.into_sorted()
}

/// Why nodes that have `old` would refuse `new` from `signer`. Its key is the one that `new` announces for it.
fn untrusted(old: &[Payload], new: &[Payload], signer: &SpiffeId) -> Option<String> {
    let mut trusted = signers(old).peekable();
    trusted.peek()?;
    let mut keys = trusted.filter(|trusted| trusted.spiffe_id == *signer).map(|trusted| trusted.pubkey).peekable();
    if keys.peek().is_none() {
        return Some(format!(
            "the nodes do not trust {signer} yet: sign a version that adds it with a key that they trust, then switch"
        ));
    }
    let key = signers(new).find(|announced| announced.spiffe_id == *signer)?.pubkey;
    if keys.any(|trusted| trusted == key) {
        return None;
    }
    Some(format!(
        "the nodes know {signer} by another key, and would refuse what this one signs: bring the key back, or give \
         the new one a name of its own and add it with a key that they trust"
    ))
}

fn signers(payloads: &[Payload]) -> impl Iterator<Item = &Signer> {
    payloads.iter().flat_map(|payload| &payload.trust.authorized_mgmt_signers)
}

/// Users that may reach the publisher, and have a way to it.
fn operators(payloads: &[Payload]) -> BTreeSet<&SpiffeId> {
    let admitted = admitted(payloads, CONFIG_PUBLISHER);
    dialers(payloads, CONFIG_PUBLISHER)
        .map(|(_, id)| id)
        .filter(|id| matches!(id.subject(), Subject::User(_)) && admitted.contains(id))
        .collect()
}

/// Nodes that may reach the server as themselves, and have a way to it.
fn connected(payloads: &[Payload]) -> BTreeSet<&NodeName> {
    let admitted = admitted(payloads, CONFIG_SERVER);
    dialers(payloads, CONFIG_SERVER)
        .filter(|(payload, id)| payload.local_node.spiffe_id == **id && admitted.contains(id))
        .map(|(payload, _)| &payload.node)
        .collect()
}

fn admitted<'p>(payloads: &'p [Payload], service: &str) -> BTreeSet<&'p SpiffeId> {
    payloads
        .iter()
        .flat_map(|payload| &payload.ingress)
        .filter(|row| is(&row.target_spiffe_id, service))
        .flat_map(|row| &row.allow)
        .collect()
}

fn dialers<'p>(payloads: &'p [Payload], service: &'static str) -> impl Iterator<Item = (&'p Payload, &'p SpiffeId)> {
    payloads.iter().flat_map(move |payload| {
        let rows = payload.egress.iter().filter(move |row| is(&row.target_spiffe_id, service));
        rows.flat_map(move |row| row.allow.iter().map(move |id| (payload, id)))
    })
}

fn is(id: &SpiffeId, name: &str) -> bool {
    matches!(id.subject(), Subject::Service { node: None, service } if service.as_str() == name)
}

fn join(ids: &BTreeSet<&SpiffeId>) -> String {
    ids.iter().map(|id| id.subject().to_string()).collect::<Vec<_>>().join(", ")
}
