//! Records of the first release: what was stored then is read for ever, and written the same way.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::{collections::BTreeMap, fmt::Debug, fs, path::Path};

use iam_core::{
    Scope,
    credential::CredentialSet,
    enrol::{JoinTokenRecord, Redemption},
    mapping::{Mappings, Rule},
    master::{Master, Masters, Resealing},
    policy::Role,
    record::{
        AccessKey, Binding, Bootstrap, Enrollment, Genesis, KeyGrant, Membership, Principal, Record, RevokedKey,
        RevokedPrincipal, RevokedToken, ScopedRole, StoredPolicy, UsedAssertion,
    },
    restored::{Approval, Restored},
    rotation::{Evidence, Job, Set, Stage, Step, Terms, Waive, Windows},
    seal::{Label, MasterKey},
    signing::{Algorithm, KeyRing, PublicKey},
    trust::{Authorities, Denied, Issuing, Root},
    verifier::{Acknowledged, Mark, Versions},
};

#[track_caller]
fn frozen<T: Record + PartialEq + Debug>(name: &str, value: &T) {
    let path = Path::new("tests/fixtures").join(format!("{name}.1"));
    let stored = fs::read(path).unwrap();
    assert_eq!(T::decode(&stored).unwrap(), *value, "reads the first release");
    assert_eq!(value.encode().unwrap(), stored, "writes what the first release reads");
}

#[test]
fn every_record_of_the_first_release() {
    let node: iam_core::PrincipalId = "node/pier2".parse().unwrap();
    let user: iam_core::PrincipalId = "user/mira".parse().unwrap();
    frozen(
        "genesis",
        &Genesis {
            created_ms: 1,
            trust_domain: "harbour.example".into(),
            master_key_check: "aa".into(),
            admin_token_tag: "bb".into(),
            first_kid: "k".into(),
        },
    );
    frozen(
        "bootstrap",
        &Bootstrap { enabled: false, changed_ms: 2, changed_by: "user/mira".into(), reason: "admins exist".into() },
    );
    frozen(
        "principal",
        &Principal {
            id: user.clone(),
            display_name: "Mira".into(),
            created_ms: 3,
            disabled: false,
            scope: Scope::System,
        },
    );
    frozen("membership", &Membership { group: "crew".into(), member: user.clone().into(), created_ms: 4 });
    frozen(
        "binding",
        &Binding {
            name: "b1".into(),
            subject: "group/crew".parse().unwrap(),
            role: Some(Role::Operator),
            keys: vec![KeyGrant {
                start: "61".into(),
                end: Some("62".into()),
                read: true,
                write: false,
                forbid: false,
            }],
            created_ms: 5,
            scoped: None,
        },
    );
    frozen(
        "policy",
        &StoredPolicy {
            text: "permit (principal, action, resource);".into(),
            note: "all".into(),
            created_ms: 5,
            changed_ms: 6,
            changed_by: "user/mira".into(),
        },
    );
    frozen("access-key", &AccessKey { principal: user });
    let approved = Some(Approval { at_ms: 7, by: "user/mira".into() });
    frozen("restored", &Restored { lineage: "0b".into(), noticed_ms: 6, approved });
    let mapped = "node/*".parse().unwrap();
    let rule = Rule::new(&mapped, "dns:*.nodes.example".parse().unwrap(), Some("aa".into())).unwrap();
    let rules = Set::genesis(rule.name.to_string(), rule, 7);
    frozen("mappings", &Mappings([(mapped, rules)].into()));
    frozen("used-assertion", &UsedAssertion { until_ms: 6 });
    let id = iam_core::credential::AccessKeyId::parse("HFAK0123456789ABCDEF").unwrap();
    frozen("credential-set", &CredentialSet::default().create(id, "laptop".into(), None, 6).unwrap());
    frozen(
        "authorities",
        &Authorities {
            roots: Set::genesis("cc".into(), Root { certificate: "MAA=".into(), issuing: None, mapped_only: false }, 7),
        },
    );
    frozen(
        "enrollment",
        &Enrollment {
            node: node.clone(),
            serial: "01".into(),
            key_sha256: "dd".into(),
            enrolled_ms: 8,
            expires_ms: 9,
            join_token_id: Some("ee".into()),
        },
    );
    frozen(
        "join-token",
        &JoinTokenRecord {
            node,
            created_ms: 10,
            expires_ms: 11,
            created_by: "user/mira".into(),
            redeemed: Some(Redemption {
                key_sha256: "dd".into(),
                at_ms: 12,
                certificate: "MAA=".into(),
                intermediate: None,
            }),
        },
    );
    frozen("revoked-token", &RevokedToken { revoked_ms: 13, until_ms: 14 });
    frozen("revoked-principal", &RevokedPrincipal { not_before_ms: 15 });
}

/// What came with authorities below an offline root: the same records with one more field each.
#[test]
fn authorities_below_an_offline_root() {
    let issuing = Some(Issuing { id: "dd".into(), certificate: "MAE=".into() });
    let root = Root { certificate: "MAA=".into(), issuing, mapped_only: false };
    frozen("authorities-below", &Authorities { roots: Set::genesis("cc".into(), root, 7) });
    let redeemed = Redemption {
        key_sha256: "dd".into(),
        at_ms: 12,
        certificate: "MAA=".into(),
        intermediate: Some("MAE=".into()),
    };
    let node = "node/pier2".parse().unwrap();
    let (created_by, redeemed) = ("user/mira".into(), Some(redeemed));
    frozen("join-token-below", &JoinTokenRecord { node, created_ms: 10, expires_ms: 11, created_by, redeemed });
}

#[test]
fn principals_and_roles_within_a_scope() {
    let id: iam_core::PrincipalId = "user/mira".parse().unwrap();
    let org: Scope = "org/acme".parse().unwrap();
    let principal = Principal { id, display_name: "Mira".into(), created_ms: 3, disabled: false, scope: org };
    frozen("principal-org", &principal);
    let scope: Scope = "org/acme/project/web".parse().unwrap();
    frozen("principal-project", &Principal { scope: scope.clone(), ..principal });
    frozen(
        "binding-scoped",
        &Binding {
            name: "operator@acme+web".into(),
            subject: "group/crew".parse().unwrap(),
            role: None,
            keys: Vec::new(),
            created_ms: 5,
            scoped: Some(ScopedRole { role: Role::Operator, scope }),
        },
    );
}

#[test]
fn what_verifiers_say() {
    let versions = Versions { keys: 16, trust: 17, policy: 18, revocations: 19, masters: 0 };
    let signed_until_ms = BTreeMap::from([("k".to_owned(), 20)]);
    let word = Acknowledged { versions, at_ms: 21, signed_until_ms, closed: 0, master_keys: Vec::new() };
    frozen("acknowledged", &word);
    let versions = Versions { masters: 25, ..versions };
    frozen("acknowledged-masters", &Acknowledged { versions, closed: 26, master_keys: vec!["m1".into()], ..word });
    frozen(
        "denied",
        &Denied { serial: "7a".into(), reason: "stolen".into(), denied_ms: 22, denied_by: "user/mira".into() },
    );
    frozen("mark", &Mark::default());
}

#[test]
fn what_a_key_signed_is_revoked() {
    frozen("revoked-key", &RevokedKey { not_before_ms: 24 });
}

#[test]
fn master_keys_and_their_rotation() {
    let master = |check: &str, tag: Option<&str>| Master { check: check.into(), admin_token_tag: tag.map(Into::into) };
    let (windows, evidence) = (Windows::default(), Evidence::default());
    let terms = |now_ms| Terms { windows: &windows, evidence: &evidence, now_ms, waive: Waive::Everything };
    let mut keys = Set::genesis("m1".to_owned(), master("aa", Some("bb")), 1);
    for (at, id) in (2..).zip(["m2", "m3", "m4", "m5"]) {
        keys = keys.add(id.to_owned(), master("cc", None), at).unwrap();
    }
    for (at, id, step) in
        [(6, "m2", Step::Activate), (7, "m1", Step::Retire), (8, "m3", Step::Activate), (9, "m4", Step::Compromise)]
    {
        keys = keys.step(id, step, &terms(at)).unwrap();
    }
    frozen("masters", &Masters { keys });
    frozen("resealing", &Resealing { since: 27, after: "61".into(), resealed: 28, total: 29, complete: false });
}

#[test]
fn where_a_rotation_is() {
    let job = Job::begin("j".into(), "k1".into(), "k2".into(), Stage::Purge, "user/mira".into(), 22);
    frozen("rotation", &job.stuck("k2 is retired".into(), 23));
}

#[test]
fn key_ring_and_sealed_secret_of_the_first_release() {
    let (windows, evidence) = (Windows::default(), Evidence::default());
    let step = |ring: &KeyRing, key: &PublicKey, step, now_ms| {
        let terms = Terms { windows: &windows, evidence: &evidence, now_ms, waive: Waive::Everything };
        ring.step(&key.kid().unwrap(), step, &terms).unwrap()
    };
    let [first, second, third] = [1, 2, 3].map(|seed| PublicKey::new(Algorithm::EdDsa, &[seed; 32]));
    let ring =
        KeyRing::genesis(first.clone(), 1).unwrap().add(second.clone(), 2).unwrap().add(third.clone(), 3).unwrap();
    let ring = step(&step(&ring, &second, Step::Activate, 4), &first, Step::Retire, 5);
    frozen("key-ring", &step(&ring, &third, Step::Activate, 6));

    let master = MasterKey::new([7; 32]);
    let label = Label { kind: "credential", principal: "user/mira", key: "HFAK0123456789ABCDEF" };
    let sealed = master.seal(label, b"secret", [1; 12]).unwrap();
    frozen("sealed", &sealed);
    assert_eq!(master.open(label, &sealed).unwrap().as_slice(), b"secret");
}
