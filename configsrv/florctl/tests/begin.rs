//! How a cluster begins: from an empty folder to signed artifacts, and what editors get.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod desk;

use std::fs;

use desk::Desk;

const YAML: [&str; 6] = ["cluster.yaml", "groups.yaml", "nodes.yaml", "roles.yaml", "services.yaml", "users.yaml"];

#[test]
fn a_new_user_s_road_leads_to_signed_artifacts() {
    let desk = Desk::empty();
    let said = desk.run("init . --name harbour.test").expect(0);
    assert!(said.out.contains("a repository for harbour.test") && said.out.contains("florctl ca init"), "{said:?}");
    let said = desk.run("validate").expect(3);
    assert!(said.out.contains("florctl ca init"), "{said:?}");
    desk.run("ca init").expect(0);
    let said = desk.run("ca issue --missing").expect(0);
    assert!(said.out.contains("user/admin") && said.out.contains("management-plane/primary"), "{said:?}");
    assert_eq!(desk.run("validate").expect(0).out, "no findings\n");
    let said = desk.run(&format!("compile --sign-key {}", desk.sign_key().display())).expect(0);
    assert!(said.out.contains("version 1 for 2 nodes"), "{said:?}");
    assert!(desk.read(".flor/compiled/hub.json").contains("spiffe://harbour.test/node/hub"));
}

/// Examples that do not work are worse than none.
#[test]
fn the_examples_in_the_comments_are_right() {
    let desk = Desk::empty();
    desk.run("init . --name harbour.test").expect(0);
    let mut examples = 0;
    for file in YAML {
        let lines = desk.read(file).lines().map(str::to_owned).collect::<Vec<_>>();
        examples += lines.iter().filter(|line| line.starts_with("#  ")).count();
        let with: Vec<&str> =
            lines.iter().map(|line| if line.starts_with("#  ") { &line[1..] } else { line.as_str() }).collect();
        fs::write(desk.repo().join(file), with.join("\n") + "\n").unwrap();
    }
    assert!(examples > 15, "{examples}");
    desk.run("ca init").expect(0);
    desk.run("ca issue --missing").expect(0);
    assert_eq!(desk.run("validate").expect(0).out, "no findings\n");
    // Syncing directly, a node keeps nothing by itself without a probe through the data plane.
    let shop = desk.run("compile --node shop-1").expect(0).json();
    assert_eq!(shop["payload"]["sync"]["via"], "direct");
    assert_eq!(
        shop["payload"]["probes"][0]["check"]["tunnel"]["target"], "spiffe://harbour.test/service/config-server",
        "{shop}"
    );
}

#[test]
fn nothing_is_overwritten() {
    let desk = Desk::empty();
    fs::write(desk.repo().join("users.yaml"), "users: {}\n").unwrap();
    let said = desk.run("init . --name harbour.test").expect(8);
    assert!(said.err.contains("users.yaml") && said.err.contains("overwritten"), "{said:?}");
    assert_eq!(fs::read_dir(desk.repo()).unwrap().count(), 1, "nothing else is written either");
    desk.run("init other --name harbour.test").expect(0);
    desk.run("init other --name harbour.test").expect(8);
    desk.run("init third --name Harbour!").expect(2);
    desk.run("init third").expect(2);
    let said = desk.run("init deep/er --name harbour.test -o json").expect(0).json();
    assert_eq!(said["cluster"], "harbour.test");
    assert_eq!(said["files"].as_array().unwrap().len(), 10);
}

#[test]
fn editors_get_the_schema_that_the_files_name() {
    let desk = Desk::empty();
    desk.run("init . --name harbour.test").expect(0);
    let schema = desk.run("schema").expect(0);
    assert_eq!(schema.out, desk.read(".flor/schema.json"));
    assert_eq!(schema.json()["$schema"], "https://json-schema.org/draft/2020-12/schema");
    for file in YAML {
        let first = desk.read(file).lines().next().map(str::to_owned);
        assert_eq!(first.as_deref(), Some("# yaml-language-server: $schema=.flor/schema.json"), "{file}");
        let schema = desk.run(&format!("schema {} -o json", file.trim_end_matches(".yaml"))).expect(0).json();
        assert_eq!(schema["required"], serde_json::json!([file.trim_end_matches(".yaml")]));
    }
    let said = desk.run("schema rolls").expect(2);
    assert!(said.err.contains("roles"), "{said:?}");
}
