//! Certificate chains: who they name, and which ones name nobody.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use iam_core::{
    TrustDomain,
    enrol::{CertificateRequest, ChainFault, Peer, RequestError, verify_chain},
    signing::Algorithm,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType, date_time_ymd,
};

const NODE: &str = "spiffe://harbour.example/node/pier2";
/// 2026-06-01.
const NOW_MS: u64 = 1_780_272_000_000;

type Ca = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str, change: impl FnOnce(&mut CertificateParams)) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    change(&mut params);
    (params, KeyPair::generate().unwrap())
}

fn root(name: &str) -> Ca {
    let (params, key) = authority(name, |_| {});
    CertifiedIssuer::self_signed(params, key).unwrap()
}

fn leaf(issuer: &Ca, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names.iter().map(|name| SanType::URI((*name).try_into().unwrap())).collect();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = date_time_ymd(2026, 5, 31);
    params.not_after = date_time_ymd(2026, 6, 2);
    change(&mut params);
    params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().to_vec()
}

fn verify(chain: &[&[u8]], roots: &[&Ca]) -> Result<Peer, ChainFault> {
    let roots: Vec<&[u8]> = roots.iter().map(|root| root.der().as_ref()).collect();
    verify_chain(chain, &roots, &TrustDomain::new("harbour.example").unwrap(), NOW_MS)
}

#[test]
fn a_leaf_of_a_trusted_root_names_its_principal() {
    let (old, new) = (root("old"), root("new"));
    let certificate = leaf(&new, &[NODE], |_| {});
    let peer = verify(&[&certificate], &[&old, &new]).unwrap();
    assert_eq!(peer.principal, "node/pier2".parse().unwrap());
    assert_eq!(peer.key.algorithm, Algorithm::Es256);
    assert_eq!(peer.expires_ms, 1_780_358_400_000);
    assert_eq!(verify(&[&certificate], &[&old]), Err(ChainFault::Untrusted));
    // Another key under the same name does not pass for the root.
    assert_eq!(verify(&[&certificate], &[&root("new")]), Err(ChainFault::Untrusted));
}

#[test]
fn intermediates_connect_if_they_may_issue() {
    let root = root("root");
    let (params, key) = authority("intermediate", |_| {});
    let intermediate = CertifiedIssuer::signed_by(params, key, &root).unwrap();
    let certificate = leaf(&intermediate, &[NODE], |_| {});
    assert!(verify(&[&certificate, intermediate.der()], &[&root]).is_ok());
    assert_eq!(verify(&[&certificate], &[&root]), Err(ChainFault::Untrusted));
    let (params, key) = authority("intermediate", |params| params.is_ca = IsCa::ExplicitNoCa);
    let plain = CertifiedIssuer::signed_by(params, key, &root).unwrap();
    let certificate = leaf(&plain, &[NODE], |_| {});
    assert_eq!(verify(&[&certificate, plain.der()], &[&root]), Err(ChainFault::Untrusted));
    let (params, key) = authority("intermediate", |params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    let limited = CertifiedIssuer::signed_by(params, key, &root).unwrap();
    let certificate = leaf(&limited, &[NODE], |_| {});
    assert_eq!(verify(&[&certificate, limited.der()], &[&root]), Err(ChainFault::Untrusted));
}

#[test]
fn leaves_must_be_for_clients_now_and_name_one_principal() {
    let root = root("root");
    let expired = leaf(&root, &[NODE], |params| params.not_after = date_time_ymd(2026, 5, 31));
    assert_eq!(verify(&[&expired], &[&root]), Err(ChainFault::Time));
    let early = leaf(&root, &[NODE], |params| params.not_before = date_time_ymd(2026, 6, 2));
    assert_eq!(verify(&[&early], &[&root]), Err(ChainFault::Time));
    let server = leaf(&root, &[NODE], |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    assert_eq!(verify(&[&server], &[&root]), Err(ChainFault::Usage));
    for names in [
        &[][..],
        &["spiffe://other.example/node/pier2"],
        &[NODE, "spiffe://harbour.example/user/mira"],
        &["spiffe://harbour.example/node/pier2/x"],
    ] {
        let certificate = leaf(&root, names, |_| {});
        assert_eq!(verify(&[&certificate], &[&root]), Err(ChainFault::Name), "{names:?}");
    }
    assert_eq!(verify(&[], &[&root]), Err(ChainFault::Length));
    assert_eq!(verify(&[b"garbage"], &[&root]), Err(ChainFault::Malformed));
    assert_eq!(verify(&[root.der()], &[&root]), Err(ChainFault::Usage));
}

#[test]
fn requests_prove_possession() {
    for key in [KeyPair::generate().unwrap(), KeyPair::generate_for(&PKCS_ED25519).unwrap()] {
        let request = CertificateParams::default().serialize_request(&key).unwrap();
        let parsed = CertificateRequest::parse(request.der()).unwrap();
        assert_eq!(parsed.key_sha256.len(), 64);
        let mut damaged = request.der().to_vec();
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        let refused = CertificateRequest::parse(&damaged).unwrap_err();
        assert!(matches!(refused, RequestError::Possession | RequestError::Malformed), "{refused}");
        assert_eq!(CertificateRequest::parse(&request.der()[..40]), Err(RequestError::Malformed));
    }
    let other = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let request = CertificateParams::default().serialize_request(&other).unwrap();
    assert_eq!(CertificateRequest::parse(request.der()), Err(RequestError::Key));
    assert_eq!(CertificateRequest::parse(&[0; 20_000]), Err(RequestError::Malformed));
}
