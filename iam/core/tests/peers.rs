//! Whom certificates name, and which ones name nobody.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use iam_core::{
    TrustDomain,
    enrol::{Peer, PeerFault, Standards, TrustedRoot, verify_peer},
    mapping::Mappings,
    signing::Algorithm,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType, SignatureAlgorithm, date_time_ymd,
};

const NODE: &str = "spiffe://harbour.example/node/pier2";
/// 2026-06-01.
const NOW_MS: u64 = 1_780_272_000_000;

fn judge(algorithm: &'static SignatureAlgorithm, names: &[&str]) -> Result<Peer, PeerFault> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = names.iter().map(|name| SanType::URI((*name).try_into().unwrap())).collect();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    (params.not_before, params.not_after) = (date_time_ymd(2026, 5, 31), date_time_ymd(2026, 6, 2));
    let leaf = params.signed_by(&KeyPair::generate_for(algorithm).unwrap(), &root).unwrap();
    let trust_domain = TrustDomain::new("harbour.example").unwrap();
    let roots = &[TrustedRoot { id: "root", der: root.der(), mapped_only: false }];
    verify_peer(&[leaf.der()], Standards { roots, trust_domain: &trust_domain, mappings: &Mappings::default() }, NOW_MS)
}

#[test]
fn a_leaf_names_one_principal_of_the_trust_domain() {
    let peer = judge(&PKCS_ED25519, &[NODE]).unwrap();
    assert_eq!((peer.principal.to_string().as_str(), peer.key.algorithm), ("node/pier2", Algorithm::EdDsa));
    assert_eq!(judge(&PKCS_ECDSA_P256_SHA256, &[NODE]).unwrap().key.algorithm, Algorithm::Es256);
    assert_eq!(judge(&PKCS_ECDSA_P384_SHA384, &[NODE]), Err(PeerFault::Key));
    for names in [
        &[][..],
        &["spiffe://other.example/node/pier2"],
        &[NODE, "spiffe://harbour.example/user/mira"],
        &["spiffe://harbour.example/node/pier2/x"],
        &["spiffe://harbour.example/management-plane/primary"],
    ] {
        assert_eq!(judge(&PKCS_ED25519, names), Err(PeerFault::Name), "{names:?}");
    }
}
