//! Bundles, as the real binary takes them.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Output},
};

use configsrv_fleet::{
    SpiffeId, Subject,
    bundle::{Bundle, Identity, Requests, Secret, Servers},
    ca::Authority,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;

/// An operator with an authority, and a machine.
struct Desk {
    authority: Authority,
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let authority = Authority::create(&"quay.test".parse().unwrap(), OffsetDateTime::now_utc(), 3650).unwrap().0;
        Self { authority, folder: tempfile::tempdir().unwrap() }
    }

    fn empty(&self, node: &str) -> Bundle {
        let servers = Servers { urls: vec!["http://127.0.0.1:1".into()], ..Servers::default() };
        let (cluster, root) = (self.authority.cluster().clone(), self.authority.certificate_pem());
        Bundle::new(cluster, node.parse().unwrap(), root, Vec::new(), servers)
    }

    fn bundle(&self, node: &str, subjects: &[&str]) -> Bundle {
        let mut bundle = self.empty(node);
        for subject in subjects {
            let subject: Subject = subject.parse().unwrap();
            let issued = self.authority.issue(&subject, OffsetDateTime::now_utc(), 10).unwrap();
            let spiffe_id = SpiffeId::new(self.authority.cluster(), subject);
            let key = Some(Secret::new(issued.key_pem));
            bundle.identities.push(Identity { spiffe_id, certificate: issued.certificate_pem, key });
        }
        bundle
    }

    /// `florctl issue-bundle --csr`.
    fn certify(&self, requests: &Requests) -> Bundle {
        let mut bundle = self.empty(requests.node.as_str());
        for request in &requests.requests {
            let subject = request.subject().unwrap();
            let (certificate, _) = self.authority.sign(&request.csr, &subject, OffsetDateTime::now_utc(), 10).unwrap();
            let spiffe_id = SpiffeId::new(self.authority.cluster(), subject);
            bundle.identities.push(Identity { spiffe_id, certificate, key: None });
        }
        bundle
    }

    fn flor(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_flor"))
            .args(words)
            .env("FLOR_HOME", self.folder.path().join("home"))
            .env_remove("FLOR_TOKEN_FILE")
            .output()
            .unwrap()
    }

    #[track_caller]
    fn enroll(&self, bundle: &Bundle, expected: i32) -> String {
        self.enroll_bytes(bundle.write().unwrap().expose().as_bytes(), expected)
    }

    #[track_caller]
    fn enroll_bytes(&self, bytes: &[u8], expected: i32) -> String {
        let path = self.folder.path().join("bundle");
        fs::write(&path, bytes).unwrap();
        exits(&self.flor(&["enroll", &path.display().to_string()]), expected)
    }

    fn certificates(&self) -> Vec<String> {
        let status: Value = serde_json::from_str(&exits(&self.flor(&["status", "--json"]), 0)).unwrap();
        assert_eq!(status["faults"], json!([]));
        let certificates = status["certificates"].as_array().unwrap();
        certificates.iter().map(|view| view["spiffe_id"].as_str().unwrap().replace("spiffe://quay.test/", "")).collect()
    }

    fn cluster(&self, path: &str) -> PathBuf {
        self.folder.path().join("home/clusters/quay.test").join(path)
    }
}

#[track_caller]
fn exits(output: &Output, expected: i32) -> String {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(expected), "{said}");
    said
}

#[test]
fn a_bundle_makes_a_machine_a_node_and_further_ones_add() {
    let desk = Desk::new();
    let said = desk.enroll(&desk.bundle("pier2", &["node/pier2", "service/stock"]), 0);
    assert!(said.contains("enrolled as spiffe://quay.test/node/pier2"), "{said}");
    assert_eq!(desk.certificates(), ["node/pier2", "service/stock"]);
    let mode = |path: &str| fs::metadata(desk.cluster(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("identities"), mode("identities/service.stock.pem")), (0o700, 0o600));
    let cluster: Value = serde_json::from_slice(&fs::read(desk.cluster("cluster.json")).unwrap()).unwrap();
    assert_eq!((&cluster["node"], &cluster["urls"]), (&json!("pier2"), &json!(["http://127.0.0.1:1"])));

    let before = fs::read(desk.cluster("identities/service.stock.pem")).unwrap();
    desk.enroll(&desk.bundle("pier2", &["service/stock", "service/pier2/shell"]), 0);
    assert_eq!(desk.certificates(), ["node/pier2", "service/pier2/shell", "service/stock"]);
    assert_ne!(fs::read(desk.cluster("identities/service.stock.pem")).unwrap(), before, "renewed");
    let status = exits(&desk.flor(&["status"]), 0);
    assert!(status.contains("identity  spiffe://quay.test/service/stock until 20"), "{status}");
}

#[test]
fn what_does_not_belong_here_changes_nothing() {
    let (desk, other) = (Desk::new(), Desk::new());
    desk.enroll(&desk.bundle("pier2", &["node/pier2"]), 0);
    let said = desk.enroll(&other.bundle("pier2", &["node/pier2", "user/mira"]), 6);
    assert!(said.contains("another authority"), "{said}");
    let said = desk.enroll(&desk.bundle("pier3", &["node/pier3"]), 6);
    assert!(said.contains("this machine is node pier2"), "{said}");
    let mut keyless = desk.bundle("pier2", &["user/mira"]);
    keyless.identities[0].key = None;
    let said = desk.enroll(&keyless, 6);
    assert!(said.contains("the request was made elsewhere"), "{said}");
    let mut swapped = desk.bundle("pier2", &["user/mira", "user/tomas"]);
    swapped.identities[0].key = swapped.identities[1].key.clone();
    desk.enroll(&swapped, 6);
    desk.enroll_bytes(b"<html>", 2);
    desk.enroll_bytes(br#"{"schema_version":"1.1"}"#, 6);
    assert_eq!(desk.certificates(), ["node/pier2"]);
    exits(&desk.flor(&["enroll"]), 2);
    exits(&desk.flor(&["enroll", "/nowhere"]), 1);
}

#[test]
fn keys_stay_on_the_node_that_made_them() {
    let desk = Desk::new();
    let out = desk.folder.path().join("requests").display().to_string();
    let create = ["id", "create", "--node", "pier2", "--principal", "service/stock", "--out", &out];
    exits(&desk.flor(&create), 0);
    let bytes = fs::read(&out).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("PRIVATE KEY"));
    let requests = Requests::read(&bytes).unwrap();
    assert_eq!(requests.requests.len(), 2);
    // To repeat it makes requests for the same keys: nothing is lost if the answer is late.
    let answer = desk.certify(&requests);
    exits(&desk.flor(&create), 0);
    let waiting = desk.folder.path().join("home/enrolling/pier2");
    assert_eq!(fs::read_dir(&waiting).unwrap().count(), 2);
    desk.enroll(&answer, 0);
    assert_eq!(desk.certificates(), ["node/pier2", "service/stock"]);
    assert_eq!(fs::read_dir(&waiting).unwrap().count(), 0);
    // The same certificates once more, and renewed ones for the keys that are here.
    desk.enroll(&answer, 0);
    desk.enroll(&desk.certify(&requests), 0);
    // Another machine has not the keys.
    let elsewhere = Desk { authority: Desk::new().authority, folder: tempfile::tempdir().unwrap() };
    elsewhere.enroll(&answer, 6);
    for principal in ["node/pier3", "management-plane/primary", "stock", "user/Mira"] {
        exits(&desk.flor(&["id", "create", "--node", "pier2", "--principal", principal]), 2);
    }
}
