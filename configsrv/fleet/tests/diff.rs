//! What an edit of the repository means for nodes and for people.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod quay;

use configsrv_fleet::{Class, Payload, TreeDiff, compile::payloads};
use quay::{Quay, fleet};

fn all(fleet: &configsrv_fleet::Fleet) -> Vec<Payload> {
    payloads(fleet).unwrap().into_values().collect()
}

fn diff(file: &str, from: &str, to: &str) -> TreeDiff {
    let quay = Quay::new();
    TreeDiff::between(&all(&quay.fleet()), &all(&fleet(&quay.edited(file, from, to))))
}

/// The class of each changed node, as `node class`.
fn classes(diff: &TreeDiff) -> Vec<String> {
    diff.changed.iter().map(|(node, change)| format!("{node} {}", change.class)).collect()
}

#[test]
fn nothing_is_nothing() {
    let diff = diff("users.yaml", "# People", "# Persons");
    assert!(diff.is_empty());
    assert_eq!(diff.access.to_string(), "nobody gains or loses access\n");
}

#[test]
fn taking_a_permission_only_changes_tables() {
    let diff = diff("roles.yaml", "[shop, data, ops]", "[shop, data]");
    assert_eq!(classes(&diff), ["mira-pad acl-only", "pier2 acl-only"]);
    assert_eq!(diff.restarts().count(), 0);
    assert_eq!(diff.access.to_string(), "- user/mira loses service/pier2/shell on pier2\n");
}

#[test]
fn giving_one_only_changes_tables_where_the_peer_is_known() {
    let diff = diff("users.yaml", "roles: [clerk]", "roles: [clerk, operator]");
    // tomas-pad knows the hub already, because every node syncs from it.
    assert_eq!(classes(&diff), ["hub acl-only", "tomas-pad acl-only"]);
    assert_eq!(diff.access.to_string(), "+ user/tomas gains service/config-publisher on hub\n");
}

#[test]
fn a_new_peer_is_structural_for_the_one_who_dials() {
    let diff = diff("roles.yaml", "clerk: { allow: [shop] }", "clerk: { allow: [shop, data] }");
    assert_eq!(classes(&diff), ["pier3 acl-only", "tomas-pad structural"]);
    assert_eq!(diff.access.to_string(), "+ user/tomas gains service/ledger on pier3\n");
}

#[test]
fn sockets_and_addresses_are_structural() {
    for (file, from, to, expected) in [
        ("services.yaml", "127.0.0.1:7100\"\n    groups", "127.0.0.1:7200\"\n    groups", &["pier2 structural"][..]),
        (
            "services.yaml",
            "socks5_proxy: \"127.0.0.1:17100\"",
            "socks5_proxy: \"127.0.0.1:17200\"",
            &["pier2 structural"],
        ),
        (
            "nodes.yaml",
            "203.0.113.33:4500",
            "203.0.113.33:4501",
            &["mira-pad structural", "pier2 structural", "pier3 structural"],
        ),
        ("users.yaml", "nodes: [tomas-pad]", "nodes: [mira-pad]", &["mira-pad structural", "tomas-pad structural"]),
    ] {
        assert_eq!(classes(&diff(file, from, to)), expected, "{from}");
    }
}

#[test]
fn files_are_a_class_of_their_own() {
    let diff = diff("services.yaml", "listen = \"127.0.0.1:7100\"", "listen = \"127.0.0.1:7101\"");
    assert_eq!(classes(&diff), ["pier2 files"]);
}

#[test]
fn what_only_the_agent_reads_is_the_least() {
    for (file, from, to) in
        [("nodes.yaml", "tier: data", "tier: archive"), ("services.yaml", "stock:4.2.0", "stock:4.3.0")]
    {
        let diff = diff(file, from, to);
        assert_eq!(diff.changed.len(), 1);
        assert!(diff.changed.values().all(|change| change.class == Class::TrustOnly), "{:?}", diff.changed);
    }
    let held = diff("cluster.yaml", "via: direct", "via: direct\n    hold: 30s");
    assert!(held.changed.values().all(|change| change.class == Class::TrustOnly), "{:?}", held.changed);
    let diff = diff("cluster.yaml", "via: direct", "via: rete");
    assert_eq!(diff.changed.len(), 5);
    assert!(diff.changed.values().all(|change| change.class == Class::TrustOnly));
}

#[test]
fn nodes_come_and_go() {
    let diff = diff("nodes.yaml", "  tomas-pad:", "  tomas-pad:\n  spare-pad:");
    assert_eq!(diff.added, ["spare-pad".parse().unwrap()]);
    assert_eq!(classes(&diff), ["hub acl-only"]);
    assert_eq!(diff.access.to_string(), "+ node/spare-pad gains service/config-server on hub\n");
}
