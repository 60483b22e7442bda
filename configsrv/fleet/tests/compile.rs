//! From the example fleet to artifacts: rows, bytes, versions.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod quay;

use std::collections::BTreeMap;

use configsrv_fleet::{
    Fleet, NodeName, Outcome, Payload, Stamp, Tree, Version, compile,
    compile::{Compiled, payloads},
    repo::Memory,
};
use proptest::prelude::*;
use quay::{NOW, Quay, fleet};
use time::Duration;

fn payload(fleet: &Fleet, node: &str) -> Payload {
    payloads(fleet).unwrap().remove(&node.parse::<NodeName>().unwrap()).unwrap()
}

/// `target <- who who`, in the order of the artifact.
fn ingress(payload: &Payload) -> Vec<String> {
    let row = |row: &configsrv_fleet::artifact::Ingress| {
        let allow: Vec<_> = row.allow.iter().map(|id| id.subject().to_string()).collect();
        format!("{} <- {}", row.target_spiffe_id.subject(), allow.join(" "))
    };
    payload.ingress.iter().map(row).collect()
}

fn egress(payload: &Payload) -> Vec<String> {
    let row = |row: &configsrv_fleet::artifact::Egress| {
        let allow: Vec<_> = row.allow.iter().map(|id| id.subject().to_string()).collect();
        let target = row.target_spiffe_id.subject();
        format!("{} -> {target} at {} {}", allow.join(" "), row.target_node, row.target_udp)
    };
    payload.egress.iter().map(row).collect()
}

#[test]
fn pier2_gets_its_own_rows_and_no_others() {
    let payload = payload(&Quay::new().fleet(), "pier2");
    assert_eq!(ingress(&payload), ["service/pier2/shell <- user/mira", "service/stock <- user/mira user/tomas"]);
    assert_eq!(
        egress(&payload),
        [
            "node/pier2 -> service/config-server at hub 203.0.113.10:4500",
            "service/stock -> service/ledger at pier3 203.0.113.33:4500",
        ]
    );
    assert_eq!(payload.listen_udp.unwrap().to_string(), "0.0.0.0:4500");
    assert_eq!(payload.local_node.socks5_proxy.to_string(), "127.0.0.1:1070");
    assert!(payload.local_users.is_empty());
}

#[test]
fn hub_admits_every_node_and_the_operators() {
    let payload = payload(&Quay::new().fleet(), "hub");
    assert_eq!(
        ingress(&payload),
        [
            "service/config-publisher <- user/mira",
            "service/config-server <- node/hub node/mira-pad node/pier2 node/pier3 node/tomas-pad",
        ]
    );
}

#[test]
fn pier3_admits_people_and_the_backend() {
    let payload = payload(&Quay::new().fleet(), "pier3");
    assert_eq!(ingress(&payload), ["service/ledger <- service/stock user/mira"]);
}

#[test]
fn a_tablet_only_initiates() {
    let payload = payload(&Quay::new().fleet(), "mira-pad");
    assert_eq!(payload.listen_udp, None);
    assert!(payload.ingress.is_empty());
    assert_eq!(
        egress(&payload),
        [
            "user/mira -> service/config-publisher at hub 203.0.113.10:4500",
            "node/mira-pad -> service/config-server at hub 203.0.113.10:4500",
            "user/mira -> service/ledger at pier3 203.0.113.33:4500",
            "user/mira -> service/pier2/shell at pier2 203.0.113.22:4500",
            "user/mira -> service/stock at pier2 203.0.113.22:4500",
        ]
    );
    assert_eq!(payload.local_users[0].socks5_proxy.to_string(), "127.0.0.1:1080");
}

#[test]
fn peers_dial_what_they_can_reach_whatever_is_listed_first() {
    let quay = Quay::new();
    let (wan, lan) = ("name: wan, udp: \"203.0.113.22:4500\"", "name: lan, udp: \"10.8.0.2:4500\"");
    let swapped = quay.edited("nodes.yaml", wan, "SWAP");
    let swapped = Quay { files: swapped, key: quay.key }.edited("nodes.yaml", lan, wan);
    let text = String::from_utf8(swapped.files["nodes.yaml"].clone()).unwrap().replace("SWAP", lan);
    for (text, expected) in [
        (text.clone(), "203.0.113.22:4500"),
        (text.replace("\"10.8.0.2:4500\"", "\"10.8.0.2:4500\", public: true"), "10.8.0.2:4500"),
    ] {
        let payload = payload(&fleet(&swapped.clone().with("nodes.yaml", text)), "mira-pad");
        assert!(egress(&payload).contains(&format!("user/mira -> service/stock at pier2 {expected}")), "{payload:?}");
    }
}

#[test]
fn files_of_services_come_to_their_hosts() {
    let payload = payload(&Quay::new().fleet(), "pier2");
    let paths: Vec<_> = payload.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["/etc/motd", "/etc/stock/stock.toml"]);
}

#[test]
fn a_service_nobody_may_reach_still_has_its_row() {
    let quay = Quay::new();
    let payload = payload(&fleet(&quay.edited("roles.yaml", "[shop, data, ops]", "[shop, data]")), "pier2");
    assert_eq!(ingress(&payload)[0], "service/pier2/shell <- ");
}

#[test]
fn ports_skip_what_is_taken() {
    let quay = Quay::new();
    let edited =
        quay.edited("users.yaml", "nodes: [tomas-pad]", "nodes: [{ at: mira-pad, socks5: \"127.0.0.1:1080\" }]");
    let payload = payload(&fleet(&edited), "mira-pad");
    let ports: Vec<_> = payload.local_users.iter().map(|user| format!("{} {}", user.name, user.socks5_proxy)).collect();
    assert_eq!(ports, ["mira 127.0.0.1:1081", "tomas 127.0.0.1:1080"]);
}

#[test]
fn the_payload_format_is_frozen() {
    // A released format may only gain optional fields under a newer schema version.
    let mut payload = payload(&Quay::new().fleet(), "pier3");
    // The signer's key is new in each run.
    payload.trust.authorized_mgmt_signers.clear();
    let bytes = configsrv_fleet::to_canonical(&payload).unwrap();
    assert_eq!(
        String::from_utf8(bytes).unwrap(),
        concat!(
            r#"{"egress":[{"allow":["spiffe://quay.test/node/pier3"],"target_node":"hub","#,
            r#""target_spiffe_id":"spiffe://quay.test/service/config-server","target_udp":"203.0.113.10:4500"}],"#,
            r#""files":[],"ingress":[{"allow":["spiffe://quay.test/service/stock","spiffe://quay.test/user/mira"],"#,
            r#""target_spiffe_id":"spiffe://quay.test/service/ledger"}],"labels":{"site":"quay","tier":"data"},"#,
            r#""listen_udp":"0.0.0.0:4500","#,
            r#""local_node":{"socks5_proxy":"127.0.0.1:1070","spiffe_id":"spiffe://quay.test/node/pier3"},"#,
            r#""local_services":[{"name":"ledger","spiffe_id":"spiffe://quay.test/service/ledger","#,
            r#""upstream_addr":"127.0.0.1:5432"}],"local_users":[],"node":"pier3","schema_version":"1.0","#,
            r#""sync":{"config_server":"spiffe://quay.test/service/config-server","poll_interval":"30s","#,
            r#""principal":"spiffe://quay.test/node/pier3","urls":[],"via":"direct"},"#,
            r#""trust":{"authorized_mgmt_signers":[]}}"#,
        )
    );
}

/// The example with two probes on pier2, and the time that they must hold.
fn probed(quay: &Quay) -> Fleet {
    let probes = "probes: [{ name: ledger, as: stock, target: ledger }, { name: up, url: \"http://127.0.0.1:7100/\" }]";
    let files = quay.edited("nodes.yaml", "    files:\n", &format!("    {probes}\n    files:\n"));
    let text = String::from_utf8(files.files["cluster.yaml"].clone()).unwrap();
    fleet(&files.with("cluster.yaml", text.replace("poll_interval: 30s", "poll_interval: 30s\n    hold: 10s")))
}

/// Frozen like the first format: what 1.1 brought looks like this.
#[test]
fn probes_are_stamped_as_what_they_need() {
    let payload = payload(&probed(&Quay::new()), "pier2");
    let value = serde_json::to_value(&payload).unwrap();
    assert_eq!(value["schema_version"], "1.1");
    assert_eq!(value["sync"]["hold"], "10s");
    assert_eq!(
        String::from_utf8(configsrv_fleet::to_canonical(&value["probes"]).unwrap()).unwrap(),
        concat!(
            r#"[{"check":{"tunnel":{"as":"spiffe://quay.test/service/stock","#,
            r#""target":"spiffe://quay.test/service/ledger"}},"name":"ledger"},"#,
            r#"{"check":{"url":"http://127.0.0.1:7100/"},"name":"up"}]"#,
        )
    );
}

/// Frozen, too: what 1.2 brought, and only on the node that uses it.
#[test]
fn a_policy_for_drift_is_stamped_as_what_it_needs() {
    let quay = Quay::new();
    let drifting = fleet(&quay.edited("nodes.yaml", "    files:\n", "    drift: freeze\n    files:\n"));
    let value = serde_json::to_value(payload(&drifting, "pier2")).unwrap();
    assert_eq!((&value["schema_version"], &value["drift"]), (&"1.2".into(), &"freeze".into()));
    assert_eq!(payload(&drifting, "pier3"), payload(&quay.fleet(), "pier3"));
}

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

fn build(fleet: &Fleet, previous: Option<&Tree>, stamp: &Stamp<'_>) -> Compiled {
    compile(fleet, previous, stamp).unwrap()
}

#[test]
fn the_previous_tree_is_the_ledger_of_versions() {
    let quay = Quay::new();
    let first = build(&quay.fleet(), None, &quay.stamp());
    assert_eq!((first.outcome, first.tree.version()), (Outcome::Stamped, version(1)));
    assert_eq!(first.changed.len(), 5);

    let later = Stamp { generated_at: NOW + Duration::days(1), ..quay.stamp() };
    let again = build(&quay.fleet(), Some(&first.tree), &later);
    assert_eq!(again.outcome, Outcome::Unchanged);
    assert_eq!(again.tree, first.tree, "byte for byte, also on another day");

    let edited = fleet(&quay.edited("roles.yaml", "clerk: { allow: [shop] }", "clerk: { allow: [shop, data] }"));
    let second = build(&edited, Some(&first.tree), &later);
    assert_eq!((second.outcome, second.tree.version()), (Outcome::Stamped, version(2)));
    let changed: Vec<_> = second.changed.iter().map(NodeName::as_str).collect();
    assert_eq!(changed, ["pier3", "tomas-pad"]);
    let stamped = second.tree.artifacts().values().all(|artifact| artifact.version() == version(2));
    assert!(stamped, "one number for the whole cluster");
    let hub: NodeName = "hub".parse().unwrap();
    assert_eq!(
        second.tree.artifacts()[&hub].payload_digest(),
        first.tree.artifacts()[&hub].payload_digest(),
        "an unchanged node has an unchanged digest"
    );

    let rebased = build(&edited, Some(&second.tree), &Stamp { above: version(7), ..later });
    assert_eq!((rebased.outcome, rebased.tree.version()), (Outcome::Stamped, version(8)));
}

#[test]
fn artifacts_are_made_anew_before_they_lapse() {
    let quay = Quay::new();
    let fresh_for = |span: &str| {
        let text = format!("poll_interval: 30s\n    expires_after: {span}");
        fleet(&quay.edited("cluster.yaml", "poll_interval: 30s", &text))
    };
    let on = |day: i64| Stamp { generated_at: NOW + Duration::days(day), ..quay.stamp() };
    let monthly = fresh_for("30d");
    let first = build(&monthly, None, &on(0));
    let envelope = first.tree.artifacts().values().next().unwrap().open().unwrap();
    assert_eq!(envelope.expires_at, Some(NOW + Duration::days(30)));
    assert_eq!(envelope.schema_version, envelope.lowest_schema());
    assert_eq!(build(&monthly, Some(&first.tree), &on(15)).outcome, Outcome::Unchanged);
    let second = build(&monthly, Some(&first.tree), &on(16));
    assert_eq!((second.outcome, second.tree.version()), (Outcome::Stamped, version(2)));
    assert!(second.changed.is_empty(), "nobody restarts for it");
    assert_eq!(first.tree.manifest().unwrap().nodes, second.tree.manifest().unwrap().nodes);
    // Another time, and none at all, count at once.
    assert_eq!(build(&fresh_for("10d"), Some(&second.tree), &on(16)).outcome, Outcome::Stamped);
    let without = build(&quay.fleet(), Some(&second.tree), &on(16));
    assert_eq!(without.outcome, Outcome::Stamped);
    assert_eq!(build(&quay.fleet(), Some(&without.tree), &on(99)).outcome, Outcome::Unchanged);
}

#[test]
fn a_node_that_is_gone_is_a_change() {
    let quay = Quay::new();
    let first = build(&quay.fleet(), None, &quay.stamp());
    let users = quay.edited("users.yaml", "nodes: [tomas-pad]", "nodes: [mira-pad]");
    let fewer = Quay { files: users, key: quay.key }.edited("nodes.yaml", "  tomas-pad:\n", "");
    let second =
        compile(&fleet(&fewer), Some(&first.tree), &Stamp { key: None, generated_at: NOW, above: Version::NONE });
    let second = second.unwrap();
    assert_eq!(second.removed, ["tomas-pad".parse().unwrap()]);
    assert!(!second.tree.is_signed());
}

#[test]
fn an_unsigned_tree_is_signed_later_under_its_number() {
    let quay = Quay::new();
    let unsigned = build(&quay.fleet(), None, &Stamp { key: None, ..quay.stamp() });
    let signed = build(&quay.fleet(), Some(&unsigned.tree), &quay.stamp());
    assert_eq!((signed.outcome, signed.tree.version()), (Outcome::Signed, version(1)));
    assert_eq!(signed.tree.signer(), Some(quay.key.id()));
}

#[test]
fn a_tree_survives_its_folder_and_notices_tampering() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join(".flor/compiled");
    assert_eq!(Tree::read(&folder).unwrap(), None);
    let quay = Quay::new();
    let tree = build(&quay.fleet(), None, &quay.stamp()).tree;
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("gone.json"), "{}").unwrap();
    tree.write(&folder).unwrap();
    assert!(!folder.join("gone.json").exists(), "files of nodes that are gone are removed");
    assert_eq!(Tree::read(&folder).unwrap(), Some(tree));

    let path = folder.join("hub.json");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.ends_with("}\n"));
    std::fs::write(&path, text.replace("user/mira", "user/tomas")).unwrap();
    assert!(Tree::read(&folder).unwrap_err().to_string().contains("payload_digest"));
    std::fs::remove_file(&path).unwrap();
    assert!(Tree::read(&folder).unwrap_err().to_string().contains("it lists hub, and there is no such artifact"));
    std::fs::write(&path, &text).unwrap();
    let manifest = folder.join("manifest.json");
    let listing = std::fs::read_to_string(&manifest).unwrap();
    for (from, to, said) in [
        ("\"hub\":", "\"tub\":", "it lists tub, and there is no such artifact"),
        ("\"version\":1", "\"version\":2", "it is of version 2, the artifacts beside it of version 1"),
    ] {
        assert!(listing.contains(from), "{listing}");
        std::fs::write(&manifest, listing.replacen(from, to, 1)).unwrap();
        let error = Tree::read(&folder).unwrap_err();
        assert!(matches!(error, compile::TreeError::Mismatch { .. }), "{error:?}");
        assert!(error.to_string().contains(said), "{error}");
    }
    std::fs::write(&manifest, listing).unwrap();
    std::fs::copy(&path, folder.join("tub.json")).unwrap();
    assert!(Tree::read(&folder).unwrap_err().to_string().contains("is for node hub"));
}

/// The example with its lines of each map in another order, and spread over other files.
fn shuffled(files: &Memory, seed: &[u8]) -> Memory {
    let mut out = Memory::default();
    for (path, bytes) in &files.files {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let name = path.strip_suffix(".yaml").filter(|name| *name != "cluster");
        match name {
            None => out.files.insert(path.clone(), bytes.clone()),
            Some(name) => {
                let head = format!("{name}:\n");
                let body = text.split_once(&head).unwrap().1;
                let mut entries: Vec<String> = Vec::new();
                for line in body.lines() {
                    match entries.last_mut() {
                        Some(last) if line.starts_with("   ") => *last += &format!("{line}\n"),
                        _ => entries.push(format!("{line}\n")),
                    }
                }
                let mut keyed: BTreeMap<(u8, usize), String> = BTreeMap::new();
                for (at, entry) in entries.into_iter().enumerate() {
                    keyed.insert((seed[at % seed.len()].wrapping_mul(31).wrapping_add(at as u8), at), entry);
                }
                let half = keyed.len() / 2;
                let entries: Vec<String> = keyed.into_values().collect();
                out.files.insert(format!("a/{name}.yml"), (head.clone() + &entries[..half].concat()).into_bytes());
                out.files.insert(format!("b/{name}.yaml"), (head + &entries[half..].concat()).into_bytes())
            }
        };
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn the_same_fleet_gives_the_same_bytes_however_it_is_written(seed in prop::collection::vec(any::<u8>(), 1..16)) {
        let quay = Quay::new();
        let one = build(&quay.fleet(), None, &quay.stamp()).tree;
        let two = build(&fleet(&shuffled(&quay.files, &seed)), None, &quay.stamp()).tree;
        prop_assert_eq!(one, two);
    }
}
