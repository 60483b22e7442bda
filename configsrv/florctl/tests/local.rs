//! What works without a server, as an operator types it.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod desk;

use std::fs;

use desk::Desk;

#[test]
fn wrong_usage_ends_with_2_and_says_why() {
    let desk = Desk::bare();
    let said = desk.run("validate --frobnicate").expect(2);
    assert!(said.err.contains("--frobnicate"), "{said:?}");
    desk.run("frobnicate").expect(2);
    desk.run("compile --node Pier2").expect(2);
    desk.run("ca issue --kind user").expect(2);
    desk.run("").expect(2);
    let help = desk.run("--help").expect(0).out;
    for word in ["validate", "compile", "publish", "rebase", "fleet", "history", "Exit codes"] {
        assert!(help.contains(word), "{word}");
    }
}

#[test]
fn a_new_cluster_takes_two_commands() {
    let desk = Desk::bare();
    let said = desk.run("validate").expect(3);
    assert!(said.out.contains("error[V2]") && said.out.contains("florctl ca init"), "{said:?}");
    desk.run("ca init").expect(0);
    let said = desk.run("ca issue --missing -o json").expect(0).json();
    assert_eq!(said["issued"].as_array().unwrap().len(), 1 + 5 + 5 + 2, "signer, nodes, services, users");
    desk.run("validate").expect(0);

    // Nothing private is in the repository, and keys are their owner's alone.
    let inside = fs::read_dir(desk.repo()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(inside.into_iter().all(|name| !name.to_string_lossy().ends_with(".key")));
    for key in ["ca.key", "management-plane-primary.key", "user-mira.key", "service-pier2.shell.key"] {
        let metadata = fs::metadata(desk.keys().join(key)).unwrap();
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777, 0o600, "{key}");
        assert!(metadata.len() > 0);
    }

    // Both are safe to repeat.
    desk.run("ca init").expect(8);
    let said = desk.run("ca issue --missing").expect(0);
    assert_eq!(said.out, "everybody has a certificate\n");
}

#[test]
fn the_authority_s_key_may_have_a_password() {
    let desk = Desk::bare();
    desk.password("password", "correct horse battery\n");
    desk.password("short", "horse\n");
    desk.run("ca init --password-file ../short").expect(2);
    let said = desk.run("ca init --password-file ../password").expect(0);
    assert!(said.out.contains("whoever has it and its password") && said.err.is_empty(), "{said:?}");
    let key = fs::read_to_string(desk.keys().join("ca.key")).unwrap();
    assert!(key.starts_with("-----BEGIN HOLDFAST ENCRYPTED PRIVATE KEY-----"), "{key}");
    for words in ["ca issue --missing", "issue-bundle --node pier2", "ca issue --missing --password-file ../short"] {
        desk.run(words).expect(2);
    }
    desk.command("ca issue --missing", &[("FLORCTL_CA_PASSWORD_FILE", "../password")]).expect(0);
}

#[test]
fn a_key_without_a_password_goes_on_working_and_may_get_one() {
    let desk = Desk::bare();
    let said = desk.run("ca init -o json").expect(0);
    assert_eq!(said.json()["encrypted"], false);
    let warning = "ca.key is not encrypted, and whoever reads it is the cluster: `florctl ca password";
    assert!(said.err.starts_with("warning: ") && said.err.contains(warning), "{said:?}");
    desk.password("password", "correct horse battery\n");
    desk.password("wrong", "wrong horse battery\n");
    let said = desk.run("ca issue --missing --password-file ../password").expect(2);
    assert!(said.err.contains("not encrypted"), "{said:?}");
    desk.run("ca issue --kind signer --name primary").expect(0);
    desk.run("ca password --new-password-file ../password").expect(0);
    for (words, why) in [("", "needs its password"), ("--password-file ../wrong", "the password is wrong")] {
        let said = desk.run(&format!("ca issue --missing {words}")).expect(2);
        assert!(said.err.contains(why), "{said:?}");
    }
    desk.run("ca issue --missing --password-file ../password").expect(0);
}

#[test]
fn keys_are_not_put_into_the_repository() {
    let desk = Desk::bare();
    let said = desk.run("ca init --keys ./keys").expect(2);
    assert!(said.err.contains("never committed"), "{said:?}");
    desk.run("ca init --keys keys/of/quay").expect(2);
    desk.run("ca init --keys ../none/../repo/keys").expect(2);
    assert!(!desk.repo().join("keys").join("ca.key").exists());
}

#[test]
fn what_fails_leaves_no_folder_behind() {
    let desk = Desk::new();
    for words in ["ca issue --missing", "ca issue --kind user --name mira", "issue-bundle --node pier2"] {
        desk.run(&format!("{words} --keys ../elsewhere")).expect(1);
    }
    desk.run("ca init --keys ../elsewhere").expect(8);
    assert!(!desk.repo().join("../elsewhere").exists());
}

#[test]
fn findings_have_their_places() {
    let desk = Desk::new();
    desk.edit("users.yaml", "[clerk]", "[baker]");
    desk.edit("services.yaml", "at: pier3", "at: pier4");
    let said = desk.run("validate").expect(3);
    assert!(said.out.contains("users.yaml:4:20: error[V10]: there is no role \"baker\""), "{said:?}");
    assert!(said.out.contains("services.yaml:28:9: error[V5]: there is no node \"pier4\""), "{said:?}");
    assert!(said.out.contains("2 errors"), "{said:?}");

    let findings = desk.run("validate -o json").expect(3).json();
    assert_eq!(findings["errors"], 2);
    let found = findings["findings"].as_array().unwrap().iter().find(|finding| finding["rule"] == "V5").unwrap();
    assert_eq!((&found["file"], &found["line"], &found["column"]), (&"services.yaml".into(), &28.into(), &9.into()));

    // Compile refuses for the same reasons.
    let said = desk.run("compile").expect(3);
    assert!(said.err.contains("error[V10]") && said.err.contains("2 errors"), "{said:?}");
    assert!(!desk.repo().join(".flor").exists());

    fs::write(desk.repo().join("broken.yaml"), "nodes:\n  a: {\n").unwrap();
    let said = desk.run("validate").expect(3);
    assert!(said.out.contains("broken.yaml:2:6: error[V1]:") && !said.out.contains("error[V5]"), "{said:?}");
    assert!(said.out.contains("until all of this file can be read"), "{said:?}");
}

#[test]
fn compile_writes_a_tree_once() {
    let desk = Desk::new();
    let key = desk.sign_key();
    let compile = format!("compile --sign-key {} -o json", key.display());
    let said = desk.run(&compile).expect(0).json();
    assert_eq!((&said["version"], &said["outcome"], &said["nodes"]), (&1.into(), &"stamped".into(), &5.into()));
    let hub = desk.read(".flor/compiled/hub.json");
    assert!(hub.ends_with("}\n") && hub.contains("\"version\":1"));
    assert!(desk.read(".flor/compiled/manifest.json").contains("tree_digest"));

    let said = desk.run(&compile).expect(0).json();
    assert_eq!(said["outcome"], "unchanged");
    assert_eq!(desk.read(".flor/compiled/hub.json"), hub);

    desk.edit("roles.yaml", "clerk: { allow: [shop] }", "clerk: { allow: [shop, data] }");
    let said = desk.run(&compile).expect(0).json();
    assert_eq!(said["version"], 2);
    assert_eq!(said["changed"], serde_json::json!(["pier3", "tomas-pad"]));
}

#[test]
fn a_tree_can_be_written_elsewhere() {
    let desk = Desk::new();
    desk.run("compile").expect(0);
    let ledger = desk.read(".flor/compiled/manifest.json");
    desk.edit("roles.yaml", "clerk: { allow: [shop] }", "clerk: { allow: [shop, data] }");
    assert_eq!(desk.run("compile --out ../out -o json").expect(0).json()["version"], 2);
    assert_eq!(desk.read(".flor/compiled/manifest.json"), ledger);
    assert!(desk.read("../out/hub.json").contains("\"version\":2"));
    desk.run("compile --out ../out").expect(0);
    // Nothing that somebody else wrote is swept away.
    let said = desk.run("compile --out ../keys").expect(8);
    assert!(said.err.contains("no compiled tree"), "{said:?}");
    desk.run("compile --out ../out --node hub").expect(2);
}

#[test]
fn the_time_that_is_stamped_can_be_chosen() {
    let desk = Desk::new();
    let one = desk.run("compile --node hub --generated-at 2026-01-05T08:00:00Z").expect(0).out;
    assert!(one.starts_with("{\"generated_at\":\"2026-01-05T08:00:00Z\""), "{one}");
    let two = desk.command("compile --node hub", &[("SOURCE_DATE_EPOCH", "1767600000")]).expect(0).out;
    assert_eq!(one, two);
    assert!(!desk.repo().join(".flor").exists(), "--node only prints");
    desk.run("compile --generated-at yesterday").expect(2);
    desk.run("compile --node pier9").expect(2);
}

#[test]
fn only_a_signer_s_key_signs() {
    let desk = Desk::new();
    let said = desk.run(&format!("compile --sign-key {}", desk.keys().join("user-mira.key").display())).expect(6);
    assert!(said.err.contains("not the key of a signer"), "{said:?}");
    let said = desk.run("compile").expect(0);
    assert!(said.out.contains("not signed"), "{said:?}");
    let said = desk.run(&format!("compile --sign-key {}", desk.sign_key().display())).expect(0);
    assert!(said.out.contains("version 1, now signed"), "{said:?}");
}

#[test]
fn diff_says_who_gains_and_what_restarts() {
    let desk = Desk::new();
    desk.run("compile").expect(0);
    let said = desk.run("diff --exit-code").expect(0);
    assert!(said.out.contains("no difference"), "{said:?}");
    desk.edit("roles.yaml", "clerk: { allow: [shop] }", "clerk: { allow: [shop, data] }");
    desk.edit("roles.yaml", "[shop, data, ops]", "[shop, data]");
    let said = desk.run("diff --exit-code").expect(4);
    assert_eq!(
        said.out,
        "compared with compiled version 1:\n\
         + user/tomas gains service/ledger on pier3\n\
         - user/mira loses service/pier2/shell on pier2\n\
         ~ mira-pad (acl-only): what local principals may dial changed\n\
         ~ pier2, pier3 (acl-only): who may reach local services changed\n\
         ~ tomas-pad (structural): service/ledger on pier3 is a new peer\n\
         1 node restarts its data plane\n"
    );
    let value = desk.run("diff -o json").expect(0).json();
    assert_eq!(value["restarts"], serde_json::json!(["tomas-pad"]));
    assert_eq!(value["access"]["gained"][0]["who"], "spiffe://quay.test/user/tomas");
}

#[test]
fn a_lockout_needs_to_be_said_aloud() {
    let desk = Desk::new();
    desk.run(&format!("compile --sign-key {}", desk.sign_key().display())).expect(0);
    // The only operator has no device any more.
    desk.edit("users.yaml", "nodes: [mira-pad]", "nodes: []");
    let said = desk.run("compile").expect(3);
    assert!(said.err.contains("error[V23]") && said.err.contains("--allow-lockout"), "{said:?}");
    let said = desk.run("compile --allow-lockout").expect(0);
    assert!(said.err.contains("warning[V23]"), "{said:?}");
}

#[test]
fn requests_are_signed_and_revocations_show() {
    let desk = Desk::new();
    desk.edit("users.yaml", "  tomas:", "  timo: { roles: [clerk], nodes: [tomas-pad] }\n  tomas:");
    desk.run("validate").expect(3);
    let issued = desk.run("ca issue --kind user --name timo").expect(0);
    assert!(issued.out.contains("user-timo.key"), "{issued:?}");
    desk.run("validate").expect(0);
    desk.run("ca revoke --kind user --name timo --reason lost").expect(0);
    let said = desk.run("validate").expect(3);
    assert!(said.out.contains("error[V4]: user/timo"), "{said:?}");
    desk.run("ca revoke --kind user --name timo --reason again").expect(8);
    assert!(desk.read("enrollment.log").contains("\"reason\":\"lost\""));

    fs::write(desk.repo().join("garbage.csr"), "x").unwrap();
    desk.run("ca sign garbage.csr --kind node --name hub").expect(1);
}

#[test]
fn certificates_are_printed_for_programs_and_as_pem() {
    let desk = Desk::new();
    let key = iam_ca::PrivateKey::generate(iam_ca::KeyAlgorithm::P256).unwrap();
    fs::write(desk.repo().join("a.csr"), iam_ca::request_pem(&key.request("a").unwrap())).unwrap();
    let begin = "-----BEGIN CERTIFICATE-----\n";
    for (words, of, who) in [
        ("ca sign a.csr --kind node --name hub", "subject", "node/hub"),
        ("ca intermediate a.csr", "cluster", "quay.test"),
    ] {
        let said = desk.run(words).expect(0);
        assert!(said.out.starts_with(begin) && said.out.ends_with("-----END CERTIFICATE-----\n"), "{said:?}");
        let said = desk.run(&format!("{words} -o json")).expect(0).json();
        assert_eq!(said[of], who);
        assert!(said["certificate"].as_str().unwrap().starts_with(begin), "{said}");
    }
}

#[test]
fn two_operators_lines_become_one_chain() {
    let desk = Desk::new();
    let log = desk.repo().join("enrollment.log");
    let base = desk.read("enrollment.log");
    let mut added = Vec::new();
    for name in ["timo", "ada"] {
        fs::write(&log, &base).unwrap();
        desk.run(&format!("ca issue --kind user --name {name}")).expect(0);
        added.push(desk.read("enrollment.log")[base.len()..].to_owned());
    }
    fs::write(&log, format!("{base}{}{}", added[0], added[1])).unwrap();
    let said = desk.run("validate").expect(3);
    assert!(said.out.contains("florctl enrollment rebase"), "{said:?}");
    let said = desk.run("enrollment rebase").expect(0);
    assert!(said.out.contains("15: user/ada") && !said.out.contains("user/timo"), "{said:?}");
    desk.run("validate").expect(0);
    assert!(desk.run("enrollment rebase").expect(0).out.contains("one chain"));

    // What was taken out in between stays conspicuous.
    let lines = desk.read("enrollment.log");
    let without: String = lines.lines().skip(1).map(|line| format!("{line}\n")).collect();
    fs::write(&log, &without).unwrap();
    desk.run("enrollment rebase").expect(6);
    assert_eq!(desk.read("enrollment.log"), without);
}

#[test]
fn certificates_do_not_leave_the_repository() {
    let desk = Desk::bare();
    desk.edit("cluster.yaml", "certs/management-planes/primary.crt", "../primary.crt");
    desk.run("ca init").expect(0);
    let said = desk.run("ca issue --missing").expect(3);
    assert!(said.err.contains("leaves the repository"), "{said:?}");
}

#[test]
fn completions_and_manual_are_printed() {
    let desk = Desk::bare();
    let completions = desk.run("completions bash").expect(0).out;
    assert!(completions.contains("_florctl") && completions.contains("--socks5"));
    assert!(desk.run("man").expect(0).out.contains(".TH florctl 1"));
    desk.run("man --out pages").expect(0);
    assert!(desk.read("pages/florctl-ca-issue.1").contains("missing"));
    // What every command takes is on every page.
    for page in ["rebase", "fleet", "iam-whoami"] {
        assert!(desk.read(&format!("pages/florctl-{page}.1")).contains("socks5"), "{page}");
    }
}
