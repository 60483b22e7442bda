//! What an operator carries to a node.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod desk;

use std::fs;

use configsrv_fleet::bundle::{Bundle, Requests};
use desk::Desk;
use serde_json::{Value, json};
use time::OffsetDateTime;

const SERVER: &str = "--server https://hub:8080";

fn bundle(desk: &Desk, name: &str) -> Bundle {
    Bundle::read(&fs::read(desk.keys().join(name)).unwrap(), OffsetDateTime::now_utc()).unwrap()
}

fn log_lines(desk: &Desk) -> usize {
    desk.read("enrollment.log").lines().count()
}

#[test]
fn a_node_s_bundle_has_everybody_on_it() {
    let desk = Desk::new();
    let before = log_lines(&desk);
    fs::write(desk.keys().join("token"), "hfjoin.mira-pad.x.y\n").unwrap();
    let token = desk.keys().join("token");
    let words = format!(
        "issue-bundle --node mira-pad {SERVER} --server https://hub2:8080 --api https://hub:2379 \
         --join-token-file {} -o json",
        token.display()
    );
    let said = desk.run(&words).expect(0).json();
    assert_eq!(said["identities"], json!(["node/mira-pad", "user/mira"]));
    assert_eq!((&said["issued"], &said["secret"]), (&json!(0), &json!(true)), "what is in the folder is good");
    assert_eq!(log_lines(&desk), before);
    let made = bundle(&desk, "mira-pad.bundle");
    assert_eq!(made.servers.urls, ["https://hub:8080", "https://hub2:8080"]);
    assert_eq!((made.servers.api, made.signers.len()), (vec!["https://hub:2379".to_owned()], 1));
    assert_eq!(made.join_token.unwrap().expose(), "hfjoin.mira-pad.x.y");
    let key = fs::read_to_string(desk.keys().join("user-mira.key")).unwrap();
    assert_eq!(made.identities[1].key.as_ref().unwrap().expose(), key.trim_end(), "a person has one key everywhere");
    let mode = fs::metadata(desk.keys().join("mira-pad.bundle")).unwrap().permissions();
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);

    // New keys for everybody on the node, in the log too.
    let said =
        desk.run(&format!("issue-bundle --node mira-pad --renew --validity 30 {SERVER} -o json")).expect(0).json();
    assert_eq!(said["issued"], 2);
    assert_eq!(log_lines(&desk), before + 2);
    let renewed = bundle(&desk, "mira-pad.bundle");
    assert_ne!(renewed.identities[1].key.as_ref().unwrap().expose(), key.trim_end());
    let ends = renewed.identities[1].certificate().unwrap().not_after - OffsetDateTime::now_utc();
    assert_eq!(ends.whole_days(), 29);
    desk.run("validate").expect(0);
    // A revoked certificate is not carried anywhere.
    desk.run("ca revoke --kind user --name mira --reason lost").expect(0);
    let said = desk.run(&format!("issue-bundle --node mira-pad {SERVER} -o json")).expect(0).json();
    assert_eq!(said["issued"], 1);
}

#[test]
fn requests_are_certified_for_who_is_on_the_node() {
    let desk = Desk::new();
    let csr = |subject: &str| {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        json!({ "subject": subject, "csr": request })
    };
    let write = |node: &str, requests: Value| {
        let requests = json!({ "schema_version": "1.0", "node": node, "requests": requests }).to_string();
        Requests::read(requests.as_bytes()).unwrap();
        fs::write(desk.keys().join("requests"), requests).unwrap();
    };
    let path = desk.keys().join("requests");
    let issue = format!("issue-bundle --node pier2 --csr {} {SERVER} -o json", path.display());
    write("pier2", json!([csr("node/pier2"), csr("service/stock")]));
    let before = log_lines(&desk);
    let said = desk.run(&issue).expect(0).json();
    assert_eq!((&said["issued"], &said["secret"]), (&json!(2), &json!(false)));
    assert_eq!(log_lines(&desk), before + 2);
    assert!(bundle(&desk, "pier2.bundle").identities.iter().all(|identity| identity.key.is_none()));

    for (what, node, requests) in [
        ("somebody who is elsewhere", "pier2", json!([csr("user/mira")])),
        ("another node", "pier3", json!([csr("service/ledger")])),
        ("a signer", "pier2", json!([csr("management-plane/primary")])),
        ("another node's service", "pier2", json!([csr("service/pier3/shell")])),
    ] {
        write(node, requests);
        let said = desk.run(&issue).expect(6);
        assert_eq!(log_lines(&desk), before + 2, "{what}: {said:?}");
    }
    fs::write(&path, "{").unwrap();
    desk.run(&issue).expect(1);
}

#[test]
fn bundles_stay_out_of_the_repository() {
    let desk = Desk::new();
    let said = desk.run(&format!("issue-bundle --node pier2 {SERVER} --out ./pier2.bundle")).expect(2);
    assert!(said.err.contains("never committed"), "{said:?}");
    let said = desk.run(&format!("issue-bundle --node pier9 {SERVER}")).expect(2);
    assert!(said.err.contains("no node \"pier9\""), "{said:?}");
    let said = desk.run("issue-bundle --node pier2").expect(2);
    assert!(said.err.contains("--server"), "{said:?}");
    desk.run(&format!("issue-bundle --node pier2 {SERVER} --csr x --renew")).expect(2);
}
