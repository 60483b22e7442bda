//! The fast lane: what an envelope may say, what may follow it, and what it does to payloads.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod quay;

use std::collections::BTreeSet;

use configsrv_fleet::{
    Class, Payload, Revocations, Sequence, Signer, SpiffeId, Version, classify, compile,
    revocation::{Named, RevocationError, RevocationErrorKind, SealedRevocations, Succession, narrow},
    to_canonical,
};
use quay::{NOW, Quay};
use serde_json::{Value, json};

fn id(text: &str) -> SpiffeId {
    format!("spiffe://quay.test/{text}").parse().unwrap()
}

fn ids(texts: &[&str]) -> BTreeSet<SpiffeId> {
    texts.iter().map(|text| id(text)).collect()
}

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

fn following(previous: Option<&Revocations>, base: u64, revoked: &[&str]) -> Revocations {
    let cluster = "quay.test".parse().unwrap();
    let mut next = Revocations::following(previous, &cluster, version(base), NOW, "stolen".into()).unwrap();
    revoked.iter().for_each(|text| next.revoke(id(text)));
    next
}

struct Case {
    quay: Quay,
    payloads: Vec<Payload>,
    signers: Vec<Signer>,
}

impl Case {
    fn new() -> Self {
        let quay = Quay::new();
        let tree = compile(&quay.fleet(), None, &quay.stamp()).unwrap().tree;
        let signers = tree.artifacts()[&"hub".parse().unwrap()].announced_signers().unwrap();
        Self { payloads: tree.payloads().unwrap(), quay, signers }
    }

    fn payload(&self, node: &str) -> &Payload {
        self.payloads.iter().find(|payload| payload.node.as_str() == node).unwrap()
    }

    fn seal(&self, revocations: Revocations) -> SealedRevocations {
        revocations.seal(&self.quay.key).unwrap()
    }

    fn verify(&self, sealed: &SealedRevocations) -> Result<(), RevocationError> {
        sealed.verify(&"quay.test".parse().unwrap(), &self.signers).map(|_| ())
    }
}

/// As a newer writer or an attacker would spell it.
fn respelled(sealed: &SealedRevocations, edit: impl FnOnce(&mut Value)) -> Result<SealedRevocations, RevocationError> {
    let mut value: Value = serde_json::from_slice(sealed.bytes()).unwrap();
    edit(&mut value);
    SealedRevocations::parse(&to_canonical(&value).unwrap())
}

#[test]
fn what_is_signed_reads_back_and_verifies() {
    let case = Case::new();
    let sealed = case.seal(following(None, 7, &["user/tomas", "service/stock"]));
    let again = SealedRevocations::parse(sealed.bytes()).unwrap();
    assert_eq!(again, sealed);
    assert_eq!(again.revocations().sequence, Sequence::new(1).unwrap());
    case.verify(&again).unwrap();
}

/// Release 1 wrote this; every later release must read it.
#[test]
fn the_first_release_still_reads() {
    let text = concat!(
        r#"{"allow_lockout":["spiffe://quay.test/node/pier3"],"base_version":9,"cluster":"quay.test","#,
        r#""generated_at":"2026-01-05T08:00:00Z","kind":"revocations","plane":"mgmt","reason":"stolen","#,
        r#""revoked":["spiffe://quay.test/node/pier3","spiffe://quay.test/user/tomas"],"schema_version":"1.0","#,
        r#""sequence":4,"settled":{"spiffe://quay.test/user/ada":9}}"#,
    );
    let sealed = SealedRevocations::parse(text.as_bytes()).unwrap();
    assert_eq!(sealed.bytes(), text.as_bytes());
    assert_eq!(sealed.revocations().revoked, ids(&["node/pier3", "user/tomas"]));
    assert_eq!(sealed.revocations().settled[&id("user/ada")], version(9));
}

#[test]
fn what_was_touched_is_not_trusted() {
    let case = Case::new();
    let sealed = case.seal(following(None, 7, &["user/tomas"]));
    let touched = respelled(&sealed, |value| value["sequence"] = json!(2)).unwrap();
    assert!(matches!(case.verify(&touched), Err(RevocationError::BadSignature(_))));
    let unsigned = respelled(&sealed, |value| drop(value.as_object_mut().unwrap().remove("signature"))).unwrap();
    assert_eq!(case.verify(&unsigned), Err(RevocationError::Unsigned));
    let stranger = Case::new().seal(following(None, 7, &["user/tomas"]));
    assert!(matches!(case.verify(&stranger), Err(RevocationError::BadSignature(_))));
    let other = "dock.test".parse().unwrap();
    assert!(matches!(sealed.verify(&other, &case.signers), Err(RevocationError::OtherCluster { .. })));
}

#[test]
fn one_spelling_only() {
    let sealed = Case::new().seal(following(None, 7, &["user/ada", "user/tomas"]));
    let pretty = serde_json::to_vec_pretty(&serde_json::from_slice::<Value>(sealed.bytes()).unwrap()).unwrap();
    assert_eq!(SealedRevocations::parse(&pretty), Err(RevocationError::NotCanonical));
    let swapped = respelled(&sealed, |value| value["revoked"].as_array_mut().unwrap().reverse());
    assert_eq!(swapped, Err(RevocationError::NotCanonical));
    let twice = respelled(&sealed, |value| {
        let first = value["revoked"][0].clone();
        value["revoked"].as_array_mut().unwrap().insert(0, first);
    });
    assert_eq!(twice, Err(RevocationError::NotCanonical));
}

#[test]
fn what_no_envelope_may_say() {
    use RevocationErrorKind::{Addressee, Lockout, Malformed, Schema};
    let sealed = Case::new().seal(following(None, 7, &["user/tomas"]));
    let kind = |field: &str, new: Value| respelled(&sealed, |value| value[field] = new).map(|_| ()).unwrap_err().kind();
    for (field, value, expected) in [
        ("revoked", json!(["spiffe://dock.test/user/tomas"]), Addressee),
        ("settled", json!({ "spiffe://dock.test/user/tomas": 7 }), Addressee),
        ("cluster", json!("dock.test"), Addressee),
        ("revoked", json!(["spiffe://quay.test/management-plane/primary"]), Malformed),
        ("revoked", json!(["tomas"]), Malformed),
        ("revoked", json!(["spiffe://quay.test/node/pier3"]), Lockout),
        ("revoked", json!(["spiffe://quay.test/service/config-server"]), Lockout),
        ("revoked", json!(["spiffe://quay.test/service/config-publisher"]), Lockout),
        ("settled", json!({ "spiffe://quay.test/node/pier3": 7 }), Lockout),
        ("settled", json!({ "spiffe://quay.test/user/tomas": 7 }), Malformed),
        ("settled", json!({ "spiffe://quay.test/user/ada": 8 }), Malformed),
        ("allow_lockout", json!(["spiffe://quay.test/user/ada"]), Malformed),
        ("sequence", json!(0), Malformed),
        ("sequence", json!(1.5), Malformed),
        ("plane", json!("ctrl"), Malformed),
        ("kind", json!("artifact"), Malformed),
        ("also", json!(1), Malformed),
        ("schema_version", json!("1.1"), Schema),
        ("schema_version", json!("2.0"), Schema),
    ] {
        assert_eq!(kind(field, value.clone()), expected, "{field}: {value}");
    }
    let many: Vec<String> = (0..2001).map(|number| format!("spiffe://quay.test/user/u{number:04}")).collect();
    let many = respelled(&sealed, |value| value["revoked"] = json!(many));
    assert!(matches!(many, Err(RevocationError::TooMany { count: 2001, .. })), "{many:?}");
    let long = respelled(&sealed, |value| value["reason"] = json!("x".repeat(300_000)));
    assert!(matches!(long, Err(RevocationError::TooLarge { .. })));
}

#[test]
fn a_node_goes_if_the_envelope_says_that_it_may() {
    let case = Case::new();
    let mut meant = following(None, 7, &["node/pier3"]);
    meant.allow_lockout.insert(id("node/pier3"));
    let first = case.seal(meant);
    // It is said once: what follows holds on to it.
    let second = case.seal(following(Some(first.revocations()), 7, &["user/tomas"]));
    assert_eq!(second.revocations().revoked, ids(&["node/pier3", "user/tomas"]));
}

#[test]
fn nobody_is_forgotten() {
    let first = following(None, 7, &["user/ada", "user/tomas"]);
    let follows = |next: &Revocations| next.follows(Some(&first));

    let same = following(None, 7, &["user/ada", "user/tomas"]);
    assert!(matches!(follows(&same), Err(RevocationError::GoesBack { .. })));
    let more = following(Some(&first), 7, &["user/mira"]);
    assert_eq!(follows(&more), Ok(Succession::default()));
    let mut fewer = more.clone();
    fewer.revoked.remove(&id("user/ada"));
    assert_eq!(follows(&fewer), Err(RevocationError::Forgets(id("user/ada"))));

    let mut settled = following(Some(&first), 9, &[]);
    settled.settle(&id("user/ada"));
    assert_eq!(follows(&settled), Ok(Succession { settles: ids(&["user/ada"]), ..Succession::default() }));
    let later = following(Some(&settled), 10, &[]);
    assert_eq!(later.follows(Some(&settled)), Ok(Succession::default()), "it was looked at before");
    let mut lower = later.clone();
    lower.settled.insert(id("user/ada"), version(8));
    assert!(matches!(lower.follows(Some(&settled)), Err(RevocationError::Unsettles { .. })));
    let mut gone = later.clone();
    gone.settled.clear();
    let forgets = [(id("user/ada"), version(9))].into();
    assert_eq!(gone.follows(Some(&settled)), Ok(Succession { forgets, ..Succession::default() }));
    let mut again = later;
    again.revoke(id("user/ada"));
    assert_eq!(again.follows(Some(&settled)), Ok(Succession::default()));
}

#[test]
fn who_is_settled_counts_again_from_that_version_on() {
    let mut revocations = following(None, 9, &["user/ada", "user/tomas"]);
    revocations.settle(&id("user/ada"));
    assert_eq!(revocations.effective(Version::NONE), ids(&["user/ada", "user/tomas"]));
    assert_eq!(revocations.effective(version(8)), ids(&["user/ada", "user/tomas"]));
    assert_eq!(revocations.effective(version(9)), ids(&["user/tomas"]));
}

#[test]
fn narrowing_takes_away_and_nothing_else() {
    let case = Case::new();
    for payload in &case.payloads {
        assert_eq!(narrow(payload, &BTreeSet::new()), *payload);
        let every: BTreeSet<SpiffeId> = payload.spiffe_ids().cloned().collect();
        for gone in every.iter().map(|id| BTreeSet::from([id.clone()])).chain([every.clone()]) {
            let narrowed = narrow(payload, &gone);
            let class = classify(payload, &narrowed).class;
            assert!(class <= Class::AclOnly && !class.restarts(), "{gone:?}: {class}");
            let rows = |payload: &Payload| -> Vec<(SpiffeId, Vec<SpiffeId>)> {
                let ingress = payload.ingress.iter().map(|row| (row.target_spiffe_id.clone(), row.allow.clone()));
                let egress = payload.egress.iter().map(|row| (row.target_spiffe_id.clone(), row.allow.clone()));
                ingress.chain(egress).collect()
            };
            for ((target, before), (_, after)) in rows(payload).into_iter().zip(rows(&narrowed)) {
                let expected: Vec<SpiffeId> =
                    before.into_iter().filter(|id| !gone.contains(id) && !gone.contains(&target)).collect();
                assert_eq!(after, expected, "{target} without {gone:?}");
            }
            assert_eq!(narrow(&narrowed, &gone), narrowed);
        }
    }
    let stock = |payload: &Payload| {
        let row = payload.ingress.iter().find(|row| row.target_spiffe_id == id("service/stock")).unwrap();
        row.allow.iter().cloned().collect::<BTreeSet<_>>()
    };
    let pier2 = case.payload("pier2");
    assert_eq!(stock(pier2), ids(&["user/mira", "user/tomas"]));
    assert_eq!(stock(&narrow(pier2, &ids(&["user/tomas"]))), ids(&["user/mira"]));
    assert!(stock(&narrow(pier2, &ids(&["service/stock"]))).is_empty());
}

#[test]
fn the_tree_says_who_is_named_and_who_publishes() {
    let case = Case::new();
    let mut named = Named::default();
    for payload in &case.payloads {
        let mut later = serde_json::to_value(payload).unwrap();
        later["schema_version"] = json!("1.9");
        later["of_a_later_release"] = json!({ "who": "spiffe://quay.test/user/zoe" });
        named.note(later.to_string().as_bytes()).unwrap();
    }
    for known in ["user/mira", "user/tomas", "node/pier2", "service/stock", "service/pier2/shell", "user/zoe"] {
        assert!(named.contains(&id(known)), "{known}");
    }
    for unknown in ["user/ada", "management-plane/primary"] {
        assert!(!named.contains(&id(unknown)), "{unknown}");
    }
    named.keeps_an_operator(&following(None, 7, &["user/tomas"])).unwrap();
    let mut last = following(None, 7, &["user/mira"]);
    assert_eq!(named.keeps_an_operator(&last).unwrap_err().kind(), RevocationErrorKind::Lockout);
    last.allow_lockout.insert(id("user/mira"));
    named.keeps_an_operator(&last).unwrap();
}

#[test]
fn a_repository_does_not_name_who_is_revoked() {
    let case = Case::new();
    let with = |revocations: Revocations| {
        let bytes = case.seal(revocations).bytes().to_vec();
        case.quay.files.clone().with(".flor/revocations.json", [&bytes[..], b"\n"].concat())
    };
    let revoked = with(following(None, 7, &["user/tomas", "user/gone", "service/pier2/shell"]));
    let errors: Vec<String> = quay::findings(&revoked)
        .into_iter()
        .filter(configsrv_fleet::Finding::is_error)
        .map(|finding| format!("{}[{}] {}", finding.file, finding.rule, finding.message))
        .collect();
    assert_eq!(errors.len(), 2, "{errors:#?}");
    assert!(errors[0].starts_with("services.yaml[V25] service/pier2/shell is revoked (sequence 1)"), "{errors:#?}");
    assert!(errors[1].starts_with("users.yaml[V25] user/tomas is revoked"), "{errors:#?}");

    let mut settled = following(None, 7, &["user/tomas"]);
    settled.settle(&id("user/tomas"));
    assert!(!quay::findings(&with(settled)).iter().any(configsrv_fleet::Finding::is_error));
    let broken = case.quay.files.clone().with(".flor/revocations.json", "{}");
    let broken = quay::findings(&broken);
    assert!(broken.iter().any(|finding| finding.rule == configsrv_fleet::Rule::V25), "{broken:#?}");
}
