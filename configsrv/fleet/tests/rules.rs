//! A broken repository for every rule, and where the finding points.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod quay;

use configsrv_fleet::{
    Finding, Revocations, SigningKey, Version, ca::Authority, compile, provision::issue_missing, repo::Memory,
};
use quay::{NOW, Quay, example, findings};
use time::Duration;

/// The findings as `rule file: what is written at that place`, warnings with a `?` behind the rule.
fn places(files: &Memory, findings: &[Finding]) -> Vec<String> {
    findings
        .iter()
        .map(|finding| {
            let mark = if finding.is_error() { "" } else { "?" };
            let text = files.files.get(&finding.file).map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default();
            let line = text.lines().nth((finding.line as usize).wrapping_sub(1)).unwrap_or_default();
            let there: String = line.chars().skip((finding.column as usize).saturating_sub(1)).collect();
            format!("{}{mark} {}: {there}", finding.rule, finding.file)
        })
        .collect()
}

/// Demands a finding whose place begins with what is expected there.
#[track_caller]
fn expect(files: &Memory, expected: &str) {
    let found = findings(files);
    let places = places(files, &found);
    assert!(places.iter().any(|place| place.starts_with(expected)), "missing {expected:?} in {places:#?} {found:#?}");
}

#[test]
fn the_example_is_clean_but_for_its_emergency_shell() {
    let quay = Quay::new();
    let found = findings(&quay.files);
    assert_eq!(places(&quay.files, &found), ["V19? services.yaml: \"0.0.0.0:22\""], "{found:#?}");
    assert_eq!(
        found[0].to_string(),
        "services.yaml:34:11: warning[V19]: 0.0.0.0:22 is open to the network beside the data plane"
    );
}

#[test]
fn every_rule_has_its_place() {
    let quay = Quay::new();
    for (file, from, to, expected) in [
        // V1: schema
        ("nodes.yaml", "labels: { site: quay, tier: control }", "label: {}", "V1 nodes.yaml: label"),
        ("nodes.yaml", "203.0.113.33:4500", "203.0.113.33", "V1 nodes.yaml: \"203.0.113.33\""),
        ("services.yaml", "groups: [shop]", "group: shop", "V1 services.yaml: group: shop"),
        ("services.yaml", "groups: [shop]", "", "V1 services.yaml: at: pier2"),
        ("services.yaml", "at: pier3", "at: 3", "V1 services.yaml: 3"),
        ("services.yaml", "scope: node", "scope: rack", "V1 services.yaml: rack"),
        ("services.yaml", "mode: \"0640\"", "mode: \"4755\"", "V1 services.yaml: \"4755\""),
        ("services.yaml", "path: /etc/stock/stock.toml", "path: ../stock.toml", "V1 services.yaml: ../stock"),
        ("services.yaml", "reload: stock", "kill: stock", "V1 services.yaml: kill"),
        ("cluster.yaml", "signature_algorithm: ed25519", "signature_algorithm: rsa", "V1 cluster.yaml: rsa"),
        ("nodes.yaml", "    files:\n", "    drift: heal\n    files:\n", "V1 nodes.yaml: heal"),
        ("cluster.yaml", "poll_interval: 30s", "poll_interval: soon", "V1 cluster.yaml: soon"),
        ("cluster.yaml", "poll_interval: 30s", "expires_after: 0", "V1 cluster.yaml: 0"),
        ("groups.yaml", "shop:", "shop: [stock]", "V1 groups.yaml: shop"),
        ("users.yaml", "tomas:", "*tomas:", "V1 users.yaml: *tomas"),
        // V2: files
        ("nodes.yaml", "from: files/motd", "from: files/none", "V2 nodes.yaml: files/none"),
        ("cluster.yaml", "ca_cert: ca.crt", "ca_cert: cb.crt", "V2 cluster.yaml: cb.crt"),
        // V3, V15: one namespace
        ("users.yaml", "tomas:", "stock:", "V3 users.yaml: stock"),
        ("services.yaml", "ledger:", "pier3:", "V15 services.yaml: pier3:"),
        // V5, V10: references
        ("services.yaml", "at: pier3", "at: pier4", "V5 services.yaml: pier4"),
        ("users.yaml", "[tomas-pad]", "[tomas-phone]", "V5 users.yaml: tomas-phone"),
        ("roles.yaml", "clerk: { allow: [shop]", "clerk: { allow: [shops]", "V10 roles.yaml: shops"),
        ("users.yaml", "[clerk]", "[baker]", "V10 users.yaml: baker"),
        ("services.yaml", "groups: [data]", "groups: [dater]", "V10 services.yaml: dater"),
        // V6, V7, V8: reserved content
        ("services.yaml", "config-publisher:", "config-writer:", "V6 cluster.yaml: name: quay.test"),
        ("services.yaml", "groups: [config-read]", "groups: [config-write]", "V6 services.yaml: config-server:"),
        (
            "services.yaml",
            "at: hub\n    addr: \"127.0.0.1:9001",
            "at: pier3\n    addr: \"127.0.0.1:9001",
            "V6 services.yaml: config-publisher:",
        ),
        ("services.yaml", "at: hub", "at: hub\n    scope: node", "V6 services.yaml: config-server:"),
        ("nodes.yaml", "203.0.113.10:4500", "10.0.0.1:4500", "V6 services.yaml: config-server:"),
        ("roles.yaml", "node: { allow: [config-read] }", "node: { allow: [config-read, shop] }", "V7 roles.yaml: node"),
        ("groups.yaml", "  config-write:\n", "", "V7 cluster.yaml: name: quay.test"),
        ("users.yaml", "[operator, harbourmaster]", "[harbourmaster]", "V8 cluster.yaml: name: quay.test"),
        // V9, V20: reachability
        ("nodes.yaml", "203.0.113.33:4500", "10.0.0.3:4500", "V9 services.yaml: pier3"),
        ("services.yaml", "at: pier3", "at: mira-pad", "V9 services.yaml: mira-pad"),
        ("services.yaml", "at: hub", "at: [hub, mira-pad]", "V9 services.yaml: mira-pad]"),
        ("nodes.yaml", "203.0.113.33:4500", "[::ffff:10.0.0.3]:4500", "V9 services.yaml: pier3"),
        ("nodes.yaml", "203.0.113.33:4500", "240.0.0.1:4500", "V9 services.yaml: pier3"),
        ("nodes.yaml", "203.0.113.33:4500", "0.0.0.0:4500", "V20 nodes.yaml: \"0.0.0.0:4500\""),
        ("nodes.yaml", "\"10.8.0.2:4500\"", "\"10.8.0.2:4500\", public: true", "V20? nodes.yaml: \"10.8.0.2"),
        // V11: initiating
        ("services.yaml", "    socks5_proxy: \"127.0.0.1:17100\"\n", "", "V11 services.yaml: stock-backend"),
        ("services.yaml", "    roles: [stock-backend]\n", "", "V11 services.yaml: \"127.0.0.1:17100\""),
        // V13, V14: names
        ("users.yaml", "tomas:", "node:", "V13 users.yaml: node"),
        ("nodes.yaml", "  pier3:", "  manifest:", "V13 nodes.yaml: manifest"),
        ("nodes.yaml", "  mira-pad:", "  Mira_Pad:", "V14 nodes.yaml: Mira_Pad"),
        ("nodes.yaml", "  mira-pad:", "  nul:", "V14 nodes.yaml: nul"),
        ("nodes.yaml", "  mira-pad:", "  7:", "V1 nodes.yaml: 7"),
        ("nodes.yaml", "  mira-pad:", "  PIER3:", "V14 nodes.yaml: PIER3"),
        ("cluster.yaml", "name: quay.test", "name: Quay Test", "V14 cluster.yaml: Quay Test"),
        // V16: once, and known
        ("users.yaml", "  tomas:", "  mira:", "V16 users.yaml: mira: { roles: [clerk]"),
        ("users.yaml", "users:", "user:", "V16 users.yaml: user:"),
        ("users.yaml", "users:", "nodes: { hub: }\nusers:", "V16 users.yaml: hub: }"),
        ("users.yaml", "users:", "cluster: { name: x }\nusers:", "V16 users.yaml: { name: x }"),
        ("services.yaml", "at: pier3", "at: pier3\n    at: pier2", "V16 services.yaml: at: pier2"),
        ("users.yaml", "[clerk]", "[clerk, clerk]", "V16 users.yaml: clerk]"),
        // V17: one port
        ("nodes.yaml", "10.8.0.2:4500", "10.8.0.2:4501", "V17? nodes.yaml: \"10.8.0.2:4501\""),
        // V18: files
        (
            "nodes.yaml",
            "path: /etc/motd",
            "path: /etc/stock/stock.toml",
            "V18 services.yaml: path: /etc/stock/stock.toml",
        ),
        ("nodes.yaml", "path: /etc/motd", "path: /etc/stock", "V18 services.yaml: path: /etc/stock/stock.toml"),
        ("nodes.yaml", "path: /etc/motd", "path: /var/lib/flor/x", "V18 nodes.yaml: path: /var/lib/flor/x"),
        // V18, V19: listeners
        ("services.yaml", "127.0.0.1:17100", "127.0.0.1:22", "V18 services.yaml: \"0.0.0.0:22\""),
        ("services.yaml", "127.0.0.1:17100", "localhost:7100", "V18 services.yaml: \"localhost:7100\""),
        ("services.yaml", "127.0.0.1:9001", "127.0.0.1:9000", "V18? services.yaml: \"127.0.0.1:9000\""),
        ("nodes.yaml", "203.0.113.33:4500", "203.0.113.22:4500", "V18 nodes.yaml: \"203.0.113.22:4500\" }]"),
        ("services.yaml", "127.0.0.1:17100", "10.8.0.2:17100", "V19 services.yaml: \"10.8.0.2:17100\""),
        ("services.yaml", "127.0.0.1:5432", "10.8.0.3:5432", "V19 services.yaml: \"10.8.0.3:5432\""),
        (
            "users.yaml",
            "[tomas-pad]",
            "[tomas-pad, { at: pier2, socks5: \"127.0.0.1:7100\" }]",
            "V18 users.yaml: \"127.0.0.1:7100\"",
        ),
        (
            "users.yaml",
            "[tomas-pad]",
            "[{ at: tomas-pad, socks5: \"10.8.0.9:1080\" }]",
            "V19 users.yaml: \"10.8.0.9:1080\"",
        ),
        (
            "nodes.yaml",
            "labels: { site: quay, tier: data }",
            "socks5: \"127.0.0.1:5432\"",
            "V18 nodes.yaml: \"127.0.0.1:5432\"",
        ),
        ("nodes.yaml", "  tomas-pad:", "  tomas-pad: { socks5: \"0.0.0.0:1070\" }", "V19 nodes.yaml: \"0.0.0.0:1070\""),
        // V21: unused
        ("users.yaml", "[clerk]", "[harbourmaster]", "V21? roles.yaml: clerk"),
        ("groups.yaml", "  ops:", "  ops:\n  spare:", "V21? groups.yaml: spare"),
        ("users.yaml", "[tomas-pad]", "[]", "V21? users.yaml: tomas"),
        ("roles.yaml", "[shop, data, ops]", "[shop, data]", "V21? groups.yaml: ops"),
        // V24: probes that could never hold
        (
            "nodes.yaml",
            "labels: { site: quay, tier: shop }",
            "probes: [{ name: a, as: tomas, target: stock }]",
            "V24 nodes.yaml: tomas",
        ),
        (
            "nodes.yaml",
            "labels: { site: quay, tier: shop }",
            "probes: [{ name: a, as: stock, target: stack }]",
            "V24 nodes.yaml: stack",
        ),
        (
            "nodes.yaml",
            "labels: { site: quay, tier: shop }",
            "probes: [{ name: a, as: stock, target: stock }]",
            "V24 nodes.yaml: stock }",
        ),
        (
            "nodes.yaml",
            "labels: { site: quay, tier: shop }",
            "probes: [{ name: a, as: pier2, target: shell }]",
            "V24 nodes.yaml: shell",
        ),
        (
            "nodes.yaml",
            "labels: { site: quay, tier: shop }",
            "probes: [{ name: a, as: stock }]",
            "V1 nodes.yaml: { name: a",
        ),
        (
            "nodes.yaml",
            "labels: { site: quay, tier: shop }",
            "probes: [{ name: a, url: \"ftp://x\" }]",
            "V1 nodes.yaml: \"ftp",
        ),
        // S1: secrets
        ("services.yaml", "listen = ", "-----BEGIN PRIVATE KEY-----", "S1 services.yaml: -----BEGIN"),
    ] {
        eprintln!("{file}: {from} -> {to}");
        expect(&quay.edited(file, from, to), expected);
    }
}

/// What validate lets through can be compiled: peers dial every host of a service.
#[test]
fn every_host_has_an_address() {
    let quay = Quay::new();
    let quay = Quay { files: quay.edited("services.yaml", "at: hub", "at: [hub, mira-pad]"), key: quay.key };
    let errors = |files: &Memory| findings(files).into_iter().filter(Finding::is_error).collect::<Vec<_>>();
    let found = errors(&quay.files);
    assert!(found.len() == 1 && found[0].to_string().starts_with("services.yaml:4:15: error[V9]"), "{found:#?}");
    // One host that the Internet reaches is enough for the distribution.
    let lan =
        quay.edited("nodes.yaml", "  mira-pad:", "  mira-pad: { addresses: [{ name: lan, udp: \"10.8.0.9:4500\" }] }");
    assert_eq!(errors(&lan), []);
    compile(&quay::fleet(&lan), None, &quay.stamp()).unwrap();
}

#[test]
fn all_mistakes_are_found_at_once() {
    let quay = Quay::new();
    let quay = Quay { files: quay.edited("users.yaml", "[clerk]", "[baker]"), key: quay.key };
    let quay = Quay { files: quay.edited("services.yaml", "at: pier3", "at: pier4"), key: quay.key };
    let rules = |files: &Memory| -> Vec<String> {
        let found = findings(files);
        found.iter().filter(|finding| finding.is_error()).map(|finding| finding.rule.to_string()).collect()
    };
    let all = quay.edited("nodes.yaml", "labels: { site: quay, tier: control }", "label: {}");
    assert_eq!(rules(&all), ["V1", "V5", "V10"]);
}

/// What a file would have defined is not missed a hundred times.
#[test]
fn a_mistake_is_not_buried_in_what_follows_from_it() {
    let quay = Quay::new();
    for (file, from, to, expected) in [
        ("nodes.yaml", "nodes:", "nodes: [", "V1 nodes.yaml: "),
        ("nodes.yaml", "nodes:", "node:", "V16 nodes.yaml: node:"),
        ("groups.yaml", "groups:", "<<<<<<< HEAD\ngroups:", "V1 groups.yaml: "),
        ("cluster.yaml", "\ncluster:", "\nclusters:", "V16 cluster.yaml: clusters:"),
        ("roles.yaml", "roles:", "roles: {}\nroles:", "V16 roles.yaml: roles:"),
    ] {
        let files = quay.edited(file, from, to);
        let found = findings(&files);
        let places = places(&files, &found);
        let errors: Vec<_> = found.iter().zip(&places).filter(|(finding, _)| finding.is_error()).collect();
        let [(_, only)] = errors.as_slice() else { panic!("{file}: {found:#?}") };
        assert!(only.starts_with(expected), "{only}");
        let said = found.iter().filter(|finding| finding.message.contains("until all of this file")).count();
        assert_eq!(said, 1, "{found:#?}");
    }
}

#[test]
fn enrollment_is_checked_against_the_names() {
    expect(&example(), "V4 enrollment.log: ");
    let quay = Quay::new();
    // Somebody new has no certificate yet.
    expect(&quay.edited("users.yaml", "tomas:", "timo:"), "V4 users.yaml: timo");
    // A service that becomes one for each node is another principal.
    expect(
        &quay.edited("services.yaml", "    at: pier3", "    scope: node\n    at: pier3"),
        "V4 services.yaml: ledger",
    );
    // The chain.
    let log = String::from_utf8(quay.files.files["enrollment.log"].clone()).unwrap();
    let without_second: String =
        log.lines().enumerate().filter(|(at, _)| *at != 1).map(|(_, line)| format!("{line}\n")).collect();
    expect(&quay.files.clone().with("enrollment.log", without_second), "V4 enrollment.log: {\"seq\":3");
}

#[test]
fn certificates_near_their_end_are_mentioned() {
    let quay = Quay::new();
    let later = configsrv_fleet::validate(&quay::repo(&quay.files), NOW + Duration::days(50));
    assert!(places(&quay.files, &later).iter().any(|place| place.starts_with("V22? users.yaml: tomas")), "{later:#?}");
    assert!(later.iter().all(|finding| !finding.is_error()));
    let said = |findings: &[Finding], words: &str| findings.iter().any(|finding| finding.message.contains(words));
    assert!(said(&later, "`florctl ca issue --kind service --name shell --on pier2` renews it"), "{later:#?}");
    let ended = configsrv_fleet::validate(&quay::repo(&quay.files), NOW + Duration::days(70));
    assert!(said(&ended, "user/tomas has expired; `florctl ca issue --missing` renews it"), "{ended:#?}");
}

#[test]
fn what_has_ended_is_missing_and_who_is_revoked_gets_nothing() {
    let mut files = example();
    let (authority, root) = Authority::create(&"quay.test".parse().unwrap(), NOW, 3650).unwrap();
    files = files.with("ca.crt", root.certificate_pem);
    let issue = |files: &Memory, now| {
        let made = issue_missing(&quay::repo(files), &authority, now, "mira", |_| Ok(None)).unwrap();
        let of: Vec<String> = made.holders.iter().map(|holder| holder.subject.to_string()).collect();
        (made, of)
    };
    let (first, everybody) = issue(&files, NOW);
    assert_eq!((everybody.len(), everybody[0].as_str()), (13, "management-plane/primary"));
    let signer = &first.holders[0];
    files = files
        .with(signer.repository_path.as_deref().unwrap(), signer.issued.certificate_pem.clone())
        .with("enrollment.log", first.log_lines);
    assert!(issue(&files, NOW + Duration::days(59)).1.is_empty());
    // Principals have 60 days, the signer a year; no node would trust a signer's new key.
    assert_eq!(issue(&files, NOW + Duration::days(61)).1, everybody[1..]);
    assert_eq!(issue(&files, NOW + Duration::days(400)).1, everybody[1..]);

    let key = SigningKey::from_pem(signer.issued.certificate.spiffe_id().unwrap(), &signer.issued.key_pem).unwrap();
    let cluster = authority.cluster();
    let mut lane = Revocations::following(None, cluster, Version::NONE, NOW, "stolen".into()).unwrap();
    lane.revoke("spiffe://quay.test/user/tomas".parse().unwrap());
    files = files.with(".flor/revocations.json", lane.seal(&key).unwrap().bytes());
    let (made, of) = issue(&files, NOW + Duration::days(61));
    assert_eq!((made.revoked.len(), made.revoked[0].to_string(), of.len()), (1, "user/tomas".to_owned(), 11));
    let later = configsrv_fleet::validate(&quay::repo(&files), NOW + Duration::days(61));
    let about: Vec<_> = later.iter().filter(|finding| finding.message.contains("user/tomas")).collect();
    assert_eq!(about.iter().map(|finding| finding.rule.to_string()).collect::<Vec<_>>(), ["V25"], "{about:#?}");
}

#[test]
fn signers_are_certified_by_the_authority() {
    let quay = Quay::new();
    let path = "certs/management-planes/primary.crt";
    let at = "V12 cluster.yaml: certs/management-planes/primary.crt";
    // Of another authority, of another name, no certificate.
    expect(&quay.files.clone().with(path, Quay::new().files.files[path].clone()), at);
    expect(&quay.edited("cluster.yaml", "name: primary", "name: second"), at);
    expect(&quay.files.clone().with(path, "garbage"), at);
    // Elsewhere, none at all.
    expect(&quay.edited("cluster.yaml", path, "ca.crt"), "V12 cluster.yaml: ca.crt");
    let line = format!("- {{ name: primary, cert: {path} }}");
    expect(&quay.edited("cluster.yaml", &line, "[]"), "V12 cluster.yaml: name: quay.test");
}

/// Nodes and servers go by the key, so that nobody is kept from publishing by the end of a certificate.
#[test]
fn an_end_of_a_signer_or_of_the_authority_is_a_warning() {
    let quay = Quay::new();
    let signer = "V22? cluster.yaml: certs/management-planes/primary.crt";
    let authority = "V22? cluster.yaml: ca.crt";
    let after = |days| {
        let found = configsrv_fleet::validate(&quay::repo(&quay.files), NOW + Duration::days(days));
        assert!(found.iter().all(|finding| !finding.is_error()), "{found:#?}");
        let said = |at: &str, words: &str| {
            let places = places(&quay.files, &found);
            let mut all = places.iter().zip(&found);
            all.any(|(place, finding)| place.starts_with(at) && finding.message.contains(words))
        };
        let signer_says = |words: &str| said(signer, words);
        let authority_says = |words: &str| said(authority, words);
        (
            [signer_says(""), signer_says("ends in 13 days"), signer_says("has expired")],
            [authority_says(""), authority_says("ends in 179 days"), authority_says("has expired")],
            signer_says("`florctl ca issue --kind signer --name primary` renews it for the same key"),
        )
    };
    assert_eq!(after(300), ([false; 3], [false; 3], false));
    assert_eq!(after(365 - 13), ([true, true, false], [false; 3], true));
    assert_eq!(after(365), ([true, false, true], [false; 3], true));
    assert_eq!(after(3650 - 179), ([true, false, true], [true, true, false], true));
    assert_eq!(after(3650), ([true, false, true], [true, false, true], true));
}

/// Nobody is left out because a link was skipped.
#[cfg(unix)]
#[test]
fn links_that_lead_nowhere_or_to_folders_are_found() {
    use std::{fs, os::unix::fs::symlink};

    let dir = tempfile::tempdir().unwrap();
    let (root, elsewhere) = (dir.path().join("repo"), dir.path().join("elsewhere"));
    for (path, bytes) in Quay::new().files.files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    fs::create_dir_all(&elsewhere).unwrap();
    let errors = || -> Vec<(String, String)> {
        let repo = configsrv_fleet::load(&root).unwrap();
        let found = configsrv_fleet::validate(&repo, NOW);
        let errors = found.into_iter().filter(Finding::is_error);
        errors.map(|finding| (finding.file.clone(), finding.to_string())).collect()
    };
    symlink(&elsewhere, root.join("shared")).unwrap();
    assert_eq!(errors(), [], "what has no YAML in it may be a link");
    fs::write(elsewhere.join("users.yaml"), "users: {}\n").unwrap();
    let found = errors();
    assert!(found.len() == 1 && found[0].0 == "shared" && found[0].1.contains("error[V1]"), "{found:?}");
    fs::remove_file(root.join("shared")).unwrap();
    symlink("none.yaml", root.join("more.yaml")).unwrap();
    let found = errors();
    assert!(found.len() == 1 && found[0].0 == "more.yaml" && found[0].1.contains("leads to no file"), "{found:?}");
    fs::remove_file(root.join("more.yaml")).unwrap();

    let cluster = fs::read_to_string(root.join("cluster.yaml")).unwrap();
    let narrowed = cluster.replacen("\ncluster:", "\nsource: { exclude: [shared] }\ncluster:", 1);
    fs::write(root.join("cluster.yaml"), narrowed).unwrap();
    symlink(&elsewhere, root.join("shared")).unwrap();
    assert_eq!(errors(), []);
}

#[test]
fn discovery_can_be_narrowed() {
    let quay = Quay::new();
    let files = quay.files.clone().with("drafts/users.yaml", "users: { tomas: { roles: [], nodes: [] } }\n");
    expect(&files, "V16 users.yaml: tomas");
    let quay = Quay { files: files.clone(), key: quay.key };
    let narrowed = quay.edited("cluster.yaml", "\ncluster:", "\nsource: { exclude: [\"drafts/**\"] }\ncluster:");
    assert!(findings(&narrowed).iter().all(|finding| !finding.is_error()));
    // What is included takes the place of the default set, from which certs/ is left out.
    let quay = Quay { files: narrowed, key: quay.key };
    let certs = quay.files.clone().with("certs/users.yaml", "users: { tomas: { roles: [], nodes: [] } }\n");
    assert!(findings(&certs).iter().all(|finding| !finding.is_error()));
    let including = |globs: &str| {
        let source = format!("source: {{ include: [{globs}] }}");
        let narrowed = quay.edited("cluster.yaml", "source: { exclude: [\"drafts/**\"] }", &source);
        narrowed.with("certs/users.yaml", certs.files["certs/users.yaml"].clone())
    };
    assert!(findings(&including("\"*.yaml\"")).iter().all(|finding| !finding.is_error()));
    expect(&including("\"*.yaml\", \"certs/*.yaml\""), "V16 users.yaml: tomas");
    expect(&including("nodes.yaml, groups.yaml"), "V6 cluster.yaml: name: quay.test");
    let selected = |globs: &[&str]| {
        let globs = globs.iter().map(|glob| (*glob).to_owned()).collect();
        let repo = configsrv_fleet::load_from(&files, &configsrv_fleet::Selection::Only(globs)).unwrap();
        places(&files, &configsrv_fleet::validate(&repo, NOW))
    };
    assert_eq!(selected(&["*.yaml"]), ["V19? services.yaml: \"0.0.0.0:22\""]);
    assert!(selected(&["users.yaml"]).contains(&"V16 cluster.yaml: ".to_owned()));
    assert!(selected(&["*.yaml", "none/*.yaml"]).contains(&"V1 none/*.yaml: ".to_owned()));
}
