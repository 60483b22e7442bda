//! The envelope between its writer, its relays and its addressee.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod quay;

use std::sync::LazyLock;

use configsrv_fleet::{
    ArtifactError, ArtifactErrorKind, Envelope, Gate, Payload, Sealed, Signer, Version,
    artifact::{MAX_ARTIFACT, SchemaVersion},
    assemble, compile, lockout, to_canonical,
};
use proptest::prelude::*;
use quay::{NOW, Quay};
use serde_json::{Value, json};

struct Case {
    quay: Quay,
    sealed: Sealed,
    signers: Vec<Signer>,
}

impl Case {
    fn new() -> Self {
        let quay = Quay::new();
        let tree = compile(&quay.fleet(), None, &quay.stamp()).unwrap().tree;
        let sealed = tree.artifacts()[&"pier2".parse().unwrap()].clone();
        let signers = sealed.announced_signers().unwrap();
        Self { quay, sealed, signers }
    }

    fn value(&self) -> Value {
        serde_json::from_slice(self.sealed.bytes()).unwrap()
    }

    fn admit(&self, sealed: &Sealed, node: &str, cluster: &str) -> Result<Envelope, ArtifactError> {
        let (node, cluster) = (node.parse().unwrap(), cluster.parse().unwrap());
        sealed.admit(&Gate { cluster: &cluster, node: &node, signers: &self.signers })
    }
}

/// As an attacker or a newer writer would make it: the digest fits.
fn with_digest(mut value: Value) -> Sealed {
    let digest = configsrv_fleet::Digest::of(&to_canonical(&value["payload"]).unwrap());
    value["payload_digest"] = json!(digest);
    Sealed::from_value(&value).unwrap()
}

#[test]
fn what_is_signed_is_admitted() {
    let case = Case::new();
    let envelope = case.admit(&case.sealed, "pier2", "quay.test").unwrap();
    assert_eq!(envelope.version, Version::new(1).unwrap());
    assert_eq!(envelope.payload.node.as_str(), "pier2");
    assert_eq!(case.sealed.verify(&case.signers).unwrap().spiffe_id, *case.quay.key.id());
}

#[test]
fn the_parts_are_the_whole() {
    let case = Case::new();
    let sealed = &case.sealed;
    assert_eq!(assemble(sealed.before(), sealed.payload(), sealed.after()), sealed.bytes());
    let payload: Payload = serde_json::from_slice(sealed.payload()).unwrap();
    assert_eq!(to_canonical(&payload).unwrap(), sealed.payload());
    assert_eq!(Sealed::parse(sealed.bytes()).unwrap(), *sealed);
}

#[test]
fn any_change_of_a_claim_breaks_the_signature() {
    let case = Case::new();
    for (pointer, to) in [
        ("/version", json!(2)),
        ("/node", json!("pier3")),
        ("/generated_at", json!("2026-01-05T08:00:01Z")),
        ("/payload/ingress/0/allow", json!(["spiffe://quay.test/user/tomas"])),
        ("/payload/local_services/1/upstream_addr", json!("127.0.0.1:1")),
    ] {
        let mut value = case.value();
        *value.pointer_mut(pointer).unwrap() = to;
        let error = with_digest(value).verify(&case.signers).unwrap_err();
        assert_eq!(error, ArtifactError::BadSignature(case.quay.key.id().clone()), "{pointer}");
    }
}

#[test]
fn a_payload_that_does_not_match_its_digest_is_malformed() {
    let case = Case::new();
    let mut value = case.value();
    value["payload"]["labels"] = json!({});
    assert!(matches!(Sealed::from_value(&value), Err(ArtifactError::Digest { .. })));
}

#[test]
fn only_trusted_keys_count() {
    let case = Case::new();
    let stranger = Case::new();
    // Another key under the same name, an unknown name, none at all.
    assert!(matches!(case.admit(&stranger.sealed, "pier2", "quay.test"), Err(ArtifactError::BadSignature(_))));
    let none: &[Signer] = &[];
    assert!(matches!(case.sealed.verify(none), Err(ArtifactError::UnknownSigner(_))));
    let unsigned = case.sealed.open().unwrap().seal(None).unwrap();
    assert_eq!(case.admit(&unsigned, "pier2", "quay.test").unwrap_err(), ArtifactError::Unsigned);
    assert_eq!(ArtifactError::Unsigned.kind(), ArtifactErrorKind::Trust);
}

#[test]
fn other_peoples_artifacts_are_refused() {
    let case = Case::new();
    assert!(matches!(case.admit(&case.sealed, "pier3", "quay.test"), Err(ArtifactError::WrongNode { .. })));
    assert!(matches!(case.admit(&case.sealed, "pier2", "dock.test"), Err(ArtifactError::WrongCluster { .. })));
}

#[test]
fn what_a_newer_release_writes_is_relayed_but_not_read() {
    let case = Case::new();
    let mut newer = case.value();
    newer["payload"]["schema_version"] = json!("1.9");
    newer["payload"]["new_field"] = json!([1]);
    newer["from_the_future"] = json!("2027-01-01T00:00:00Z");
    // What signers and signatures are like is the addressee's business, too.
    newer["payload"]["trust"]["authorized_mgmt_signers"][0]["valid_until"] = json!("2027-01-01T00:00:00Z");
    newer["signature"]["chain"] = json!([]);
    let sealed = with_digest(newer);
    assert_eq!(sealed.announced_signers().unwrap(), case.signers);
    assert_eq!(sealed.key_id(), Some(case.quay.key.id()));
    assert_eq!(sealed.node().as_str(), "pier2", "a relay reads the routing fields");
    assert_eq!(assemble(sealed.before(), sealed.payload(), sealed.after()), sealed.bytes());
    let error = sealed.open().unwrap_err();
    assert!(matches!(error, ArtifactError::Schema { part: "payload", .. }), "{error}");
    assert!(error.to_string().contains("upgrade"));

    for (place, field) in [
        ("/payload", "new_field"),
        ("/payload/trust/authorized_mgmt_signers/0", "valid_until"),
        ("/signature", "chain"),
    ] {
        let mut unknown = case.value();
        unknown.pointer_mut(place).unwrap()[field] = json!(1);
        let unknown = with_digest(unknown);
        assert!(matches!(unknown.open(), Err(ArtifactError::Malformed(_))), "{place}/{field}");
    }
    let mut signed = case.value();
    signed["signature"]["chain"] = json!([]);
    let more = with_digest(signed.clone());
    assert!(more.verify(&case.signers).is_ok(), "whose it is can be seen");
    assert!(matches!(case.admit(&more, "pier2", "quay.test"), Err(ArtifactError::Malformed(_))));
    signed["signature"]["alg"] = json!("from-the-future");
    let other = with_digest(signed);
    assert!(matches!(other.verify(&case.signers), Err(ArtifactError::BadSignature(_))), "carried, not believed");
    assert_eq!(case.sealed.schema_version(), SchemaVersion::V1_0);

    // What a field needs is stamped; who stamps less is not believed.
    let mut understated = case.value();
    understated["payload"]["sync"]["hold"] = json!("30s");
    let error = with_digest(understated).open().unwrap_err();
    assert!(error.to_string().contains("payload says schema 1.0 and uses fields of 1.1"), "{error}");
    let mut understated = case.value();
    understated["expires_at"] = json!("2027-01-01T00:00:00Z");
    let error = with_digest(understated).open().unwrap_err();
    assert!(error.to_string().contains("envelope says schema 1.0 and uses fields of 1.1"), "{error}");
}

#[test]
fn one_spelling_only() {
    let case = Case::new();
    let text = String::from_utf8(case.sealed.bytes().to_vec()).unwrap();
    for (what, spelled) in [
        ("space", text.replacen(':', ": ", 1)),
        ("newline", format!("{text}\n")),
        ("repeated key", text.replacen("{\"generated_at\"", "{\"generated_at\":\"\",\"generated_at\"", 1)),
        ("escape", text.replacen("pier2", "pier\\u0032", 1)),
    ] {
        let error = Sealed::parse(spelled.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ArtifactErrorKind::Malformed, "{what}: {error}");
    }
    assert!(matches!(Sealed::parse(&vec![b' '; MAX_ARTIFACT + 1]), Err(ArtifactError::TooLarge { .. })));
    let mut float = case.value();
    float["payload"]["x"] = json!(1.5);
    assert_eq!(Sealed::from_value(&float).unwrap_err(), ArtifactError::Number);
}

#[test]
fn lockouts_are_seen_before_they_happen() {
    let case = Case::new();
    let tree = compile(&case.quay.fleet(), None, &case.quay.stamp()).unwrap().tree;
    let old = tree.payloads().unwrap();
    assert_eq!(lockout(&old, &old, Some(case.quay.key.id())), []);

    let stranger = "spiffe://quay.test/management-plane/second".parse().unwrap();
    let found = lockout(&old, &old, Some(&stranger));
    assert!(found[0].message.contains("do not trust"), "{found:?}");

    // Another key under the same name, beside the one that is trusted or in its place.
    let id = case.quay.key.id();
    let mut other = old.clone();
    let key = Case::new().signers[0].pubkey;
    for payload in &mut other {
        payload.trust.authorized_mgmt_signers[0].pubkey = key;
    }
    let found = lockout(&old, &other, Some(id));
    assert!(found.len() == 1 && found[0].message.contains("by another key"), "{found:?}");
    let mut added = old.clone();
    for payload in &mut added {
        payload.trust.authorized_mgmt_signers.push(Signer { spiffe_id: stranger.clone(), ..case.signers[0] });
    }
    assert_eq!(lockout(&old, &added, Some(id)), [], "a signer more locks nobody out");
    assert_eq!(lockout(&added, &old, Some(id)), []);

    let mut cut = old.clone();
    for payload in &mut cut {
        payload.egress.retain(|row| {
            let target = row.target_spiffe_id.as_str();
            let publishing = target.ends_with("/config-publisher");
            let syncing = payload.node.as_str() == "pier3" && target.ends_with("/config-server");
            !publishing && !syncing
        });
    }
    let found: Vec<_> = lockout(&old, &cut, None).into_iter().map(|finding| finding.message).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("user/mira") && found[1].contains("pier3"), "{found:?}");
}

#[test]
fn times_are_whole_seconds_in_utc() {
    let case = Case::new();
    let payload = case.sealed.open().unwrap().payload;
    let odd = (NOW + time::Duration::nanoseconds(5)).to_offset(time::macros::offset!(+2));
    let envelope = Envelope::new(Version::new(1).unwrap(), odd, payload).unwrap();
    let text = String::from_utf8(envelope.seal(None).unwrap().bytes().to_vec()).unwrap();
    assert!(text.starts_with(r#"{"generated_at":"2026-01-05T08:00:00Z","#), "{text}");
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes: Vec<u8>) {
        let _ = Sealed::parse(&bytes);
    }

    #[test]
    fn damaged_artifacts_never_panic_or_pass(at: usize, byte: u8) {
        static CASE: LazyLock<Case> = LazyLock::new(Case::new);
        let case = &*CASE;
        let mut bytes = case.sealed.bytes().to_vec();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        let passed = Sealed::parse(&bytes).is_ok_and(|sealed| sealed.verify(&case.signers).is_ok());
        prop_assert!(!passed);
    }
}
