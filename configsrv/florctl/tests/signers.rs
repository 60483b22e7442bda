//! Certificates are renewed for the keys that are there: nodes know a signer by its key.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod desk;

use std::fs;

use desk::Desk;

const CERTIFICATE: &str = "certs/management-planes/primary.crt";

#[test]
fn a_renewed_signer_keeps_its_key() {
    let desk = Desk::new();
    desk.run(&format!("compile --sign-key {}", desk.sign_key().display())).expect(0);
    let (key, certificate) = (fs::read(desk.sign_key()).unwrap(), desk.read(CERTIFICATE));
    let said = desk.run("ca issue --kind signer --name primary -o json").expect(0).json();
    assert_eq!(said["new_key"], false);
    assert_eq!(fs::read(desk.sign_key()).unwrap(), key);
    assert_ne!(desk.read(CERTIFICATE), certificate);
    desk.run("validate").expect(0);
    // Nothing changes for nodes.
    let compile = format!("compile -o json --sign-key {}", desk.sign_key().display());
    assert_eq!(desk.run(&compile).expect(0).json()["outcome"], "unchanged");
}

#[test]
fn a_signer_gets_no_other_key_under_its_name() {
    let desk = Desk::new();
    let (key, certificate, log) =
        (fs::read(desk.sign_key()).unwrap(), desk.read(CERTIFICATE), desk.read("enrollment.log"));
    let refused = |words: &str, why: &str| {
        let said = desk.run(words).expect(8);
        assert!(said.err.contains(why) && said.err.contains("a new key needs a new name"), "{said:?}");
        assert_eq!(desk.read(CERTIFICATE), certificate);
        assert_eq!(desk.read("enrollment.log"), log);
    };
    let issue = "ca issue --kind signer --name primary";
    refused(&format!("{issue} --new-key"), "is not written over");
    // The key lies elsewhere.
    let elsewhere = desk.keys().join("elsewhere.key");
    fs::rename(desk.sign_key(), &elsewhere).unwrap();
    refused(issue, "is not in ");
    assert!(!desk.sign_key().exists());
    // Another key lies in its place.
    fs::copy(desk.keys().join("user-mira.key"), desk.sign_key()).unwrap();
    refused(issue, "is another key");
    // Somebody asks for another one.
    let other = iam_ca::PrivateKey::generate(iam_ca::KeyAlgorithm::Ed25519).unwrap();
    let request = |key: &iam_ca::PrivateKey| {
        let pem = iam_ca::request_pem(&key.request("primary").unwrap());
        fs::write(desk.repo().join("primary.csr"), pem).unwrap();
    };
    request(&other);
    refused("ca sign primary.csr --kind signer --name primary", "of another key");
    // A request of the same one is as good as the key.
    let same = String::from_utf8(key).unwrap();
    request(&iam_ca::PrivateKey::from_pem(&same).unwrap());
    desk.run("ca sign primary.csr --kind signer --name primary").expect(0);
    assert_ne!(desk.read(CERTIFICATE), certificate);
    desk.run("validate").expect(0);
}

#[test]
fn a_lost_certificate_is_made_again_for_the_key() {
    let desk = Desk::new();
    let key = fs::read(desk.sign_key()).unwrap();
    fs::remove_file(desk.repo().join(CERTIFICATE)).unwrap();
    desk.run("ca issue --missing").expect(0);
    assert_eq!(fs::read(desk.sign_key()).unwrap(), key);
    desk.run("validate").expect(0);
}

#[test]
fn a_revoked_signer_does_not_come_back() {
    let desk = Desk::new();
    desk.run("ca revoke --kind signer --name primary --reason stolen").expect(0);
    let said = desk.run("validate").expect(3);
    assert!(said.out.contains("error[V12]: the certificates of this signer are revoked"), "{said:?}");
    let said = desk.run("ca issue --kind signer --name primary").expect(8);
    assert!(said.err.contains("management-plane/primary is revoked"), "{said:?}");
    let said = desk.run("ca issue --missing").expect(0);
    assert!(said.out.contains("revoked, so that they get none: management-plane/primary"), "{said:?}");
    desk.run("validate").expect(3);
}

/// From the runbook: the second key is announced by the first, then signs, then the first goes.
#[test]
fn a_new_key_gets_a_name_of_its_own() {
    let desk = Desk::new();
    let first = desk.sign_key();
    let second = desk.keys().join("management-plane-second.key");
    let compile = |key: &std::path::Path| desk.run(&format!("compile -o json --sign-key {}", key.display()));
    compile(&first).expect(0);
    let one = "- { name: primary, cert: certs/management-planes/primary.crt }";
    let two = "- { name: second, cert: certs/management-planes/second.crt }";
    desk.edit("cluster.yaml", one, &format!("{one}\n        {two}"));
    desk.run("ca issue --missing").expect(0);
    let said = compile(&second).expect(3);
    assert!(said.err.contains("error[V23]") && said.err.contains("do not trust"), "{said:?}");
    assert_eq!(compile(&first).expect(0).json()["version"], 2);
    desk.edit("cluster.yaml", &format!("{one}\n        {two}"), two);
    let said = compile(&second).expect(0).json();
    assert_eq!(
        (&said["version"], &said["signed_by"]),
        (&3.into(), &"spiffe://quay.test/management-plane/second".into())
    );
}

#[test]
fn principals_keep_their_keys_unless_told_otherwise() {
    let desk = Desk::new();
    let read = || fs::read(desk.keys().join("user-mira.key")).unwrap();
    let first = read();
    desk.run("ca issue --kind user --name mira").expect(0);
    assert_eq!(read(), first);
    let said = desk.run("ca issue --kind user --name mira --new-key -o json").expect(0).json();
    assert_eq!(said["new_key"], true);
    let second = read();
    assert_ne!(second, first);
    // Whoever took the certificate has the key, too.
    desk.run("ca revoke --kind user --name mira --reason stolen").expect(0);
    desk.run("ca issue --missing").expect(0);
    let third = read();
    assert_ne!(third, second);
    // Nor does it count because there is another certificate by now.
    desk.run("ca revoke --kind user --name mira --reason stolen").expect(0);
    let elsewhere = iam_ca::PrivateKey::generate(iam_ca::KeyAlgorithm::Ed25519).unwrap();
    let request = iam_ca::request_pem(&elsewhere.request("mira").unwrap());
    fs::write(desk.repo().join("mira.csr"), request).unwrap();
    desk.run("ca sign mira.csr --kind user --name mira").expect(0);
    desk.run("ca issue --kind user --name mira").expect(0);
    assert_ne!(read(), third);
    desk.run("validate").expect(0);
    desk.run("ca issue --missing --new-key").expect(2);
}
