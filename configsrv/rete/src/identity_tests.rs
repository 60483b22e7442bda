use configsrv_fleet::ca::Authority;
use iam_ca::{ChainFault, KeyAlgorithm, Leaf, PrivateKey, Usage, Validity};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, PKCS_ED25519, SanType};
use time::{Duration, OffsetDateTime, macros::datetime};

use super::*;

const NOW: OffsetDateTime = datetime!(2026-01-05 08:00 UTC);
const MIRA: &str = "spiffe://quay.test/user/mira";

fn ms(time: OffsetDateTime) -> u64 {
    u64::try_from(time.unix_timestamp()).unwrap() * 1000
}

fn cluster() -> ClusterName {
    "quay.test".parse().unwrap()
}

fn judged(leaf: &[u8], root: &[u8]) -> Result<Peer, PeerFault> {
    judge(leaf, root, &cluster(), ms(NOW))
}

#[test]
fn a_certificate_of_the_root_names_its_holder() {
    let (authority, root) = Authority::create(&cluster(), NOW, 3650).unwrap();
    for subject in ["user/mira", "node/pier2", "service/stock", "service/pier2/shell"] {
        let leaf = authority.issue(&subject.parse().unwrap(), NOW, 10).unwrap().certificate;
        let peer = judged(leaf.der(), root.certificate.der()).unwrap();
        assert_eq!(peer.id.subject().to_string(), subject);
        assert_eq!(peer.until_ms, ms(NOW + Duration::days(10)));
    }
}

#[test]
fn nobody_else_is_anybody() {
    let (authority, root) = Authority::create(&cluster(), NOW, 3650).unwrap();
    let (other, _) = Authority::create(&cluster(), NOW, 3650).unwrap();
    let root = root.certificate.der();
    let mira = "user/mira".parse().unwrap();
    let issued =
        |authority: &Authority, days| authority.issue(&mira, NOW - Duration::days(5), days).unwrap().certificate;
    assert!(judged(issued(&authority, 10).der(), root).is_ok());
    assert_eq!(judged(issued(&authority, 1).der(), root), Err(ChainFault::Time.into()));
    assert_eq!(judged(issued(&other, 10).der(), root), Err(ChainFault::Untrusted.into()));
    assert_eq!(judged(b"x", root), Err(ChainFault::Malformed.into()));
    assert_eq!(judged(root, root), Err(ChainFault::Usage.into()), "an authority");
    let signer = authority.issue(&"management-plane/primary".parse().unwrap(), NOW, 10).unwrap().certificate;
    assert_eq!(judged(signer.der(), root), Err(ChainFault::Usage.into()), "a key that signs");
    let (dock, dock_root) = Authority::create(&"dock.test".parse().unwrap(), NOW, 10).unwrap();
    let foreign = dock.issue(&mira, NOW, 10).unwrap().certificate;
    let judged_there = judge(foreign.der(), dock_root.certificate.der(), &cluster(), ms(NOW));
    assert!(matches!(judged_there, Err(PeerFault::Nobody(_))), "of another cluster");
}

#[test]
fn what_the_servers_issue_does_not_count_here() {
    let (authority, root) = Authority::create(&cluster(), NOW, 3650).unwrap();
    let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
    let request = CertificateParams::default().serialize_request(&KeyPair::from_pem(&key.pem()).unwrap()).unwrap();
    let pem = authority.intermediate(&request.pem().unwrap(), NOW, 365).unwrap();
    let below = configsrv_fleet::pki::Certificate::from_pem(pem.as_bytes()).unwrap();
    let servers = iam_ca::Authority::open(below.der(), key).unwrap();
    let leaf_key = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap();
    let leaf = Leaf { common_name: "mira", uri: MIRA, usage: Usage::Peer };
    let validity = Validity { from: NOW, until: NOW + Duration::days(1), serial: [7; 16] };
    let leaf = servers.certify(&leaf, &leaf_key.public_key_info(), validity).unwrap();
    assert!(iam_ca::verify(&[&leaf.der, below.der()], &[root.certificate.der()], ms(NOW)).is_ok());
    assert_eq!(judged(&leaf.der, root.certificate.der()), Err(ChainFault::Untrusted.into()));
}

#[test]
fn one_name_and_both_usages() {
    let key = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "root");
    let root_key = KeyPair::from_pem(&key.pem()).unwrap();
    let root = params.self_signed(&root_key).unwrap().der().to_vec();
    let issuer = rcgen::Issuer::new(params, root_key);
    let leaf = |uris: &[&str], usages: &[ExtendedKeyUsagePurpose]| {
        let mut params = CertificateParams::default();
        params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        params.extended_key_usages = usages.to_vec();
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        judged(params.signed_by(&key, &issuer).unwrap().der(), &root)
    };
    let (client, server) = (ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth);
    let both = [client.clone(), server.clone()];
    assert!(leaf(&[MIRA], &both).is_ok());
    assert_eq!(leaf(&[MIRA], &[client]), Err(PeerFault::Usage));
    assert_eq!(leaf(&[MIRA], &[server]), Err(ChainFault::Usage.into()));
    assert_eq!(leaf(&[MIRA, "spiffe://quay.test/user/tomas"], &both), Err(PeerFault::Names(2)));
    assert_eq!(leaf(&[], &both), Err(PeerFault::Names(0)));
    for nobody in ["https://quay.test/", "spiffe://quay.test", "spiffe://quay.test/management-plane/primary"] {
        assert!(matches!(leaf(&[nobody], &both), Err(PeerFault::Nobody(_))), "{nobody}");
    }
}

#[test]
fn an_identity_needs_its_own_key() {
    let (authority, root) = Authority::create(&cluster(), NOW, 3650).unwrap();
    let mut identities = Identities::new(cluster(), root.certificate.der().to_vec());
    let der = |pem: &str| PrivateKey::from_pem(pem).unwrap().der().to_vec();
    let one = authority.issue(&"user/mira".parse().unwrap(), NOW, 10).unwrap();
    let two = authority.issue(&"user/mira".parse().unwrap(), NOW, 20).unwrap();
    let mut add = |leaf: &configsrv_fleet::ca::Issued, key: &str| {
        identities.add(leaf.certificate.der().to_vec(), &der(key), ms(NOW))
    };
    assert!(matches!(add(&one, &two.key_pem), Err(IdentityError::Key(_))));
    assert!(add(&one, &one.key_pem).is_ok() && add(&two, &two.key_pem).is_ok());
    let holders: Vec<_> = identities.holders().collect();
    assert_eq!(holders.len(), 1, "the later one counts");
    assert_eq!(holders[0].until_ms, ms(NOW + Duration::days(20)));
}
