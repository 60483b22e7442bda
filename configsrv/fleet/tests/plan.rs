//! What is said before a publish: the same change once, an order, and what is better done in two versions.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod quay;

use configsrv_fleet::{Fleet, Payload, Plan, compile::payloads, repo::Memory};
use quay::{Quay, fleet};

fn all(fleet: &Fleet) -> Vec<Payload> {
    payloads(fleet).unwrap().into_values().collect()
}

/// The example after these edits, each `(file, from, to)`.
fn edited(quay: &Quay, edits: &[(&str, &str, &str)]) -> Memory {
    let mut files = quay.files.clone();
    for (file, from, to) in edits {
        let text = String::from_utf8(files.files[*file].clone()).unwrap();
        assert!(text.contains(from), "{file} does not contain {from:?}");
        files = files.with(file, text.replacen(from, to, 1));
    }
    files
}

fn plan(edits: &[(&str, &str, &str)]) -> Plan {
    let quay = Quay::new();
    Plan::between(&all(&quay.fleet()), &all(&fleet(&edited(&quay, edits))))
}

fn summaries(plan: &Plan) -> Vec<String> {
    plan.groups.iter().map(configsrv_fleet::plan::Group::summary).collect()
}

/// Each turn as its nodes and the first words of why.
fn turns(plan: &Plan) -> Vec<String> {
    let turn = |turn: &configsrv_fleet::plan::Turn| {
        let why: Vec<&str> = turn.why.split(' ').take(3).collect();
        let nodes: Vec<&str> = turn.nodes.iter().map(configsrv_fleet::NodeName::as_str).collect();
        format!("{}: {}", nodes.join(" "), why.join(" "))
    };
    plan.order.iter().map(turn).collect()
}

#[test]
fn each_edit_is_said_once_and_short() {
    for (file, from, to, expected) in [
        (
            "roles.yaml",
            "[shop, data, ops]",
            "[shop, data]",
            &[
                "pier2: swaps tables: -user/mira on service/shell here",
                "mira-pad: swaps tables: dials -user/mira to service/pier2/shell on pier2",
            ][..],
        ),
        (
            "users.yaml",
            "roles: [clerk]",
            "roles: [clerk, operator]",
            &[
                "hub: swaps tables: +user/tomas on service/config-publisher",
                "tomas-pad: swaps tables: dials +user/tomas to service/config-publisher on hub",
            ],
        ),
        (
            "services.yaml",
            "stock:4.2.0",
            "stock:4.3.0",
            &[
                "pier2: tells its agent: service/stock image registry.quay.test/shop/stock:4.2.0 → registry.quay.test/shop/stock:4.3.0",
            ],
        ),
        ("nodes.yaml", "tier: data", "tier: archive", &["pier3: tells its agent: label tier data → archive"]),
        (
            "services.yaml",
            "listen = \"127.0.0.1:7100\"",
            "listen = \"127.0.0.1:7101\"",
            &["pier2: writes files: file ~/etc/stock/stock.toml"],
        ),
        (
            "cluster.yaml",
            "poll_interval: 30s",
            "poll_interval: 1m",
            &["5 nodes: tells its agent: poll interval 30s → 1m"],
        ),
        (
            "cluster.yaml",
            "via: direct",
            "via: rete\n    hold: 10s",
            &["5 nodes: tells its agent: syncs via direct → rete, hold +10s"],
        ),
        (
            "services.yaml",
            "socks5_proxy: \"127.0.0.1:17100\"",
            "socks5_proxy: \"127.0.0.1:17200\"",
            &["pier2: restarts its data plane: service/stock proxy 127.0.0.1:17100 → 127.0.0.1:17200"],
        ),
        (
            "nodes.yaml",
            "203.0.113.33:4500",
            "203.0.113.33:4501",
            &[
                "2 nodes: restarts its data plane: peer pier3 at 203.0.113.33:4500 → 203.0.113.33:4501",
                "pier3: restarts its data plane: listens on 0.0.0.0:4500 → 0.0.0.0:4501",
            ],
        ),
    ] {
        let plan = plan(&[(file, from, to)]);
        assert_eq!(summaries(&plan), expected, "{from} → {to}");
        let named: usize = plan.groups.iter().map(|group| group.nodes.len()).sum();
        assert_eq!(named, plan.diff.changed.len());
        assert_eq!(plan.unchanged(), 5 - named);
    }
}

#[test]
fn nothing_is_nothing() {
    let plan = plan(&[]);
    assert!(plan.diff.is_empty() && plan.groups.is_empty() && plan.order.is_empty() && plan.two_steps.is_empty());
    assert_eq!(plan.guard(), "5 nodes adopt the number and have nothing to confirm.");
}

/// Forty nodes with a service each: one line for all of them.
#[test]
fn a_large_fleet_is_one_line() {
    let names: Vec<String> = (1..=40).map(|number| format!("shop-{number}")).collect();
    let nodes: String = (1..)
        .zip(&names)
        .map(|(number, name)| {
            format!("  {name}: {{ addresses: [{{ name: wan, udp: \"198.51.100.{number}:4500\" }}] }}\n")
        })
        .collect();
    let counter =
        format!("  till:\n    at: [{}]\n    addr: \"127.0.0.1:7200\"\n    groups: [shop]\n", names.join(", "));
    let mut quay = Quay::new();
    quay.files = quay.edited("nodes.yaml", "  mira-pad:", &format!("{nodes}  mira-pad:"));
    quay.files = quay.edited("services.yaml", "  ledger:", &format!("{counter}  ledger:"));
    let more =
        fleet(&quay.edited("users.yaml", "  tomas:", "  timo: { roles: [clerk], nodes: [tomas-pad] }\n  tomas:"));
    let plan = Plan::between(&all(&quay.fleet()), &all(&more));
    let lines = summaries(&plan);
    assert_eq!(lines[0], "40 nodes: swaps tables: +user/timo on service/till");
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert_eq!(plan.groups[0].nodes.len(), 40);
}

#[test]
fn targets_come_before_those_who_dial_them() {
    for (edits, expected) in [
        // Gains: who lets in, then who dials.
        (
            &[("roles.yaml", "clerk: { allow: [shop] }", "clerk: { allow: [shop, data] }")][..],
            &["pier3: they let in", "tomas-pad: they dial what"][..],
        ),
        // Losses go last, after gains of others.
        (
            &[
                ("roles.yaml", "clerk: { allow: [shop] }", "clerk: { allow: [shop, data] }"),
                ("roles.yaml", "[shop, data, ops]", "[shop, data]"),
            ],
            &["pier3: they let in", "tomas-pad: they dial what", "mira-pad pier2: they only lose"],
        ),
        // The node that everybody syncs from is alone; first if somebody gains there, last if not.
        (
            &[("users.yaml", "roles: [clerk]", "roles: [clerk, operator]")],
            &["hub: it has the", "tomas-pad: they dial what"],
        ),
        (
            &[("nodes.yaml", "tier: control", "tier: hub"), ("nodes.yaml", "tier: data", "tier: archive")],
            &["pier3: in any order", "hub: it has the"],
        ),
        // A new node dials what the hub lets it.
        (
            &[("nodes.yaml", "  tomas-pad:", "  tomas-pad:\n  spare-pad:")],
            &["hub: it has the", "spare-pad: they dial what"],
        ),
    ] {
        assert_eq!(turns(&plan(edits)), expected, "{edits:?}");
    }
}

#[test]
fn what_moves_takes_two_versions() {
    let ledger = ("services.yaml", "at: pier3", "at: pier2");
    let moved = plan(&[ledger]);
    let [steps] = moved.two_steps.as_slice() else { panic!("{:?}", moved.two_steps) };
    assert_eq!(steps.what, "service/ledger moves from pier3 to pier2");
    assert_eq!(
        steps.expand,
        "publish it on both (at: [pier2, pier3]); sync pier2 first, then those who dial it (mira-pad)"
    );
    assert_eq!(steps.contract, "publish it on pier2 alone (at: [pier2]); sync those who dial it before pier3");

    // The two steps themselves are harmless.
    let quay = Quay::new();
    let both = edited(&quay, &[("services.yaml", "at: pier3", "at: [pier2, pier3]")]);
    let expand = Plan::between(&all(&quay.fleet()), &all(&fleet(&both)));
    let contract = Plan::between(&all(&fleet(&both)), &all(&fleet(&edited(&quay, &[ledger]))));
    assert!(expand.two_steps.is_empty() && contract.two_steps.is_empty());

    // So is one that ends altogether.
    let gone =
        plan(&[("services.yaml", "  ledger:\n    at: pier3\n    addr: \"127.0.0.1:5432\"\n    groups: [data]\n", "")]);
    assert!(gone.two_steps.is_empty(), "{:?}", gone.two_steps);
}

#[test]
fn a_new_address_is_said_with_who_dials_it() {
    for (to, what, expand) in [
        (
            "203.0.113.34:4500",
            "pier3 is dialled at 203.0.113.34:4500 instead of 203.0.113.33:4500",
            "let the machine have both addresses, it listens on port 4500 of each; publish, and sync mira-pad, pier2",
        ),
        (
            "203.0.113.33:4501",
            "pier3 listens on port 4501 instead of 4500",
            "it listens on one port at a time, so that nothing reaches it between its sync and those of mira-pad, pier2: \
             publish a second node for its services (ledger) first, and sync everybody",
        ),
    ] {
        let plan = plan(&[("nodes.yaml", "203.0.113.33:4500", to)]);
        let [steps] = plan.two_steps.as_slice() else { panic!("{:?}", plan.two_steps) };
        assert_eq!((steps.what.as_str(), steps.expand.as_str()), (what, expand));
    }
}

/// Nobody syncs a node that the same version takes away.
#[test]
fn who_is_gone_is_told_to_do_nothing() {
    let moved = ("nodes.yaml", "203.0.113.33:4500", "203.0.113.34:4500");
    let gone = [("nodes.yaml", "  mira-pad:\n", ""), ("users.yaml", "nodes: [mira-pad]", "nodes: [tomas-pad]")];
    let steps = plan(&[moved, gone[0], gone[1]]).two_steps;
    let [steps] = steps.as_slice() else { panic!("{steps:?}") };
    assert!(steps.expand.ends_with("publish, and sync pier2"), "{steps:?}");
    let ledger = ("services.yaml", "at: pier3", "at: pier2");
    let pier3 = (
        "nodes.yaml",
        "  pier3:\n    addresses: [{ name: wan, udp: \"203.0.113.33:4500\" }]\n    labels: { site: quay, tier: data }\n",
        "",
    );
    let steps = plan(&[ledger, pier3]).two_steps;
    let [steps] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!(steps.contract, "publish it on pier2 alone (at: [pier2]); sync those who dial it");
}

#[test]
fn it_is_said_when_nodes_go_back() {
    let one = plan(&[("nodes.yaml", "tier: data", "tier: archive")]).guard();
    assert!(one.starts_with("If nobody confirms the version on a node within 5m"), "{one}");
    assert!(one.contains("that node rolls back by itself"), "{one}");
    assert!(one.ends_with("4 nodes adopt the number and have nothing to confirm."), "{one}");
    let new = plan(&[("nodes.yaml", "  tomas-pad:", "  tomas-pad:\n  spare-pad:")]).guard();
    assert!(new.contains("A new node goes back to having no configuration."), "{new}");
}
