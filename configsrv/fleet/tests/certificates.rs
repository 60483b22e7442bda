//! Whose certificates count: what is wrong with a signer, with the authority, with a line of the log.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod quay;

use configsrv_fleet::{
    Digest, SigningKey, Subject,
    ca::Authority,
    enrollment::{Entry, Kind, Log},
    pki::Certificate,
    provision::issue_missing,
    repo::Memory,
};
use iam_ca::{KeyAlgorithm, PrivateKey, request_pem};
use quay::{NOW, Quay, example, findings, repo};
use time::Duration;

const SIGNER: &str = "spiffe://quay.test/management-plane/primary";
const CERTIFICATE: &str = "certs/management-planes/primary.crt";

/// The errors, as they are printed.
fn errors(files: &Memory) -> Vec<String> {
    findings(files).iter().filter(|finding| finding.is_error()).map(ToString::to_string).collect()
}

/// Demands one error that points at this file in cluster.yaml and says so.
#[track_caller]
fn one_error(files: &Memory, at: &str, words: &str) {
    let cluster = String::from_utf8(files.files["cluster.yaml"].clone()).unwrap();
    let (number, line) = (1..).zip(cluster.lines()).find(|(_, line)| line.contains(at)).unwrap();
    let place = format!("cluster.yaml:{number}:{}: error[V12]: ", line.find(at).unwrap() + 1);
    let found = errors(files);
    let about = found.iter().filter(|error| error.starts_with(&place) && error.contains(words)).count();
    assert_eq!(about, 1, "{place}{words}: {found:#?}");
}

/// The log anew, with every entry as `change` makes it.
fn rewritten(files: &Memory, change: impl Fn(Entry) -> Option<Entry>) -> Memory {
    let (read, broken) = Log::parse(&files.files["enrollment.log"]);
    assert_eq!(broken, []);
    let mut log = Log::default();
    let entries = read.events().iter().cloned().map(|event| Entry {
        ts: event.ts,
        event: event.event,
        spiffe_id: event.spiffe_id,
        fingerprint_sha256: event.fingerprint_sha256,
        serial: event.serial,
        not_after: event.not_after,
        operator: event.operator,
        reason: event.reason,
    });
    let lines: String = entries.filter_map(change).map(|entry| log.append(entry).unwrap()).collect();
    files.clone().with("enrollment.log", lines)
}

#[test]
fn a_signer_s_certificate_is_the_one_in_the_log() {
    let quay = Quay::new();
    let is_signer = |entry: &Entry| entry.spiffe_id.as_str() == SIGNER;
    assert_eq!(errors(&rewritten(&quay.files, Some)), Vec::<String>::new());
    let without = rewritten(&quay.files, |entry| (!is_signer(&entry)).then_some(entry));
    one_error(&without, CERTIFICATE, "enrollment.log has no certificate for this signer");
    let another = rewritten(&quay.files, |entry| match is_signer(&entry) {
        true => Some(Entry { fingerprint_sha256: Digest::of(b"another"), ..entry }),
        false => Some(entry),
    });
    one_error(&another, CERTIFICATE, "enrollment.log has another certificate for this signer");
    let revoked = rewritten(&quay.files, |entry| match is_signer(&entry) {
        true => Some(Entry { event: Kind::Revoke, ..entry }),
        false => Some(entry),
    });
    one_error(&revoked, CERTIFICATE, "the certificates of this signer are revoked");
}

#[test]
fn a_signer_s_key_is_ed25519() {
    let (authority, root) = Authority::create(&"quay.test".parse().unwrap(), NOW, 3650).unwrap();
    let mut files = example().with("ca.crt", root.certificate_pem);
    quay::issue(&mut files, &authority);
    assert_eq!(errors(&files), Vec::<String>::new());
    let request = PrivateKey::generate(KeyAlgorithm::P256).unwrap().request("primary").unwrap();
    let subject: Subject = "management-plane/primary".parse().unwrap();
    let (pem, _) = authority.sign(&request_pem(&request), &subject, NOW, 365).unwrap();
    one_error(&files.with(CERTIFICATE, pem), CERTIFICATE, "the certificate's key is not Ed25519");
}

#[test]
fn the_authority_is_this_cluster_s() {
    let quay = Quay::new();
    let (_, dock) = Authority::create(&"dock.test".parse().unwrap(), NOW, 3650).unwrap();
    let files = quay.files.clone().with("ca.crt", dock.certificate_pem);
    one_error(&files, "ca.crt", "ca.crt is the authority of spiffe://dock.test, not of this cluster");
    let files = quay.files.clone().with("ca.crt", quay.files.files[CERTIFICATE].clone());
    one_error(&files, "ca.crt", "ca.crt is not an authority's certificate");
}

#[test]
fn a_line_that_a_signer_vouched_for_is_not_changed() {
    let quay = Quay::new();
    let of = |id: &str| {
        let pem = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap().pem();
        SigningKey::from_pem(id.parse().unwrap(), &pem).unwrap()
    };
    let signed = |key: &SigningKey| {
        let (mut log, _) = Log::parse(&quay.files.files["enrollment.log"]);
        let entry = Entry {
            ts: NOW,
            event: Kind::Sign,
            spiffe_id: "spiffe://quay.test/node/pier2".parse().unwrap(),
            fingerprint_sha256: Digest::of(b"from the servers"),
            serial: "01".into(),
            not_after: NOW + Duration::days(1),
            operator: "holdfast".into(),
            reason: None,
        };
        let line = log.append_signed(entry, key).unwrap();
        let before = quay.files.files["enrollment.log"].clone();
        errors(&quay.files.clone().with("enrollment.log", [before, line.into_bytes()].concat()))
    };
    assert_eq!(signed(&quay.key), Vec::<String>::new());
    let wrong = "enrollment.log: error[V4]: the signature of the line with seq 14 is wrong: it was changed";
    assert_eq!(signed(&of(SIGNER)), [wrong]);
    // Who is no signer any more vouches for nothing.
    assert_eq!(signed(&of("spiffe://quay.test/management-plane/retired")), Vec::<String>::new());
}

#[test]
fn principals_certificates_last_ninety_days_unless_told_otherwise() {
    let files = Quay::from(example()).edited("cluster.yaml", "    cert_validity_days: 60\n", "");
    assert_eq!(repo(&files).cluster.unwrap().cert_validity_days, 90);
}

#[test]
fn what_has_ended_is_renewed_for_the_key_that_is_there_and_what_is_revoked_is_not() {
    let (authority, root) = Authority::create(&"quay.test".parse().unwrap(), NOW, 3650).unwrap();
    let mut files = example().with("ca.crt", root.certificate_pem);
    quay::issue(&mut files, &authority);
    let key = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap().pem();
    let kept = |files: &Memory| {
        let later = NOW + Duration::days(61);
        let made = issue_missing(&repo(files), &authority, later, "mira", |_| Ok(Some(key.clone()))).unwrap();
        let tomas = made.holders.iter().find(|holder| holder.subject.to_string() == "user/tomas").unwrap();
        let certificate = Certificate::from_pem(tomas.issued.certificate_pem.as_bytes()).unwrap();
        assert!(certificate.not_after > later);
        *tomas.issued.key_pem == *key
    };
    assert!(kept(&files));
    let revoked = rewritten(&files, |entry| {
        let event = if entry.spiffe_id.as_str().ends_with("/user/tomas") { Kind::Revoke } else { entry.event };
        Some(Entry { event, ..entry })
    });
    assert!(!kept(&revoked), "somebody else may have it");
}
