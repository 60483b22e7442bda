use iam_ca::CertificateRequest;
use iam_core::{
    TrustDomain,
    enrol::{Peer, PeerFault, Standards, TrustedRoot, verify_peer},
    mapping::Mappings,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
    date_time_ymd,
};

use crate::mutate::rounds;

/// 2026-06-01.
const NOW_MS: u64 = 1_780_272_000_000;
const WORDS: &[&[u8]] = &[
    b"\x30\x80",
    b"\x30\x84\xff\xff\xff\xff",
    b"\x02\x01\x00",
    b"\x05\x00",
    b"\x06\x03\x55\x1d\x13",
    b"\x06\x03\x55\x1d\x1e",
    b"\x01\x01\xff",
    b"\xa0\x03\x02\x01\x02",
    b"\x86\x2aspiffe://harbour.example/user/mira",
    b"\x17\x0d",
];

fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
    params
}

fn judge(chain: &[&[u8]], root: &[u8], trust_domain: &TrustDomain) -> Result<Peer, PeerFault> {
    let roots = &[TrustedRoot { id: "root", der: root, mapped_only: false }];
    verify_peer(chain, Standards { roots, trust_domain, mappings: &Mappings::default() }, NOW_MS)
}

#[test]
fn a_chain_that_was_changed_names_nobody_else() {
    let root = CertifiedIssuer::self_signed(authority(), KeyPair::generate().unwrap()).unwrap();
    let middle = CertifiedIssuer::signed_by(authority(), KeyPair::generate().unwrap(), &root).unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI("spiffe://harbour.example/node/pier2".try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    (params.not_before, params.not_after) = (date_time_ymd(2026, 5, 31), date_time_ymd(2026, 6, 2));
    let leaf = params.signed_by(&KeyPair::generate().unwrap(), &middle).unwrap();
    let trust_domain = TrustDomain::new("harbour.example").unwrap();
    let chain: [&[u8]; 2] = [leaf.der(), middle.der()];
    let judge = |chain: &[&[u8]], root: &[u8]| judge(chain, root, &trust_domain);
    let peer = judge(&chain, root.der()).unwrap();
    rounds(|dice| {
        let at = dice.roll(chain.len());
        let changed = dice.change(chain[at], WORDS);
        let mut presented = chain;
        presented[at] = &changed;
        if let Ok(found) = judge(&presented, root.der()) {
            assert_eq!(found, peer, "{}", hex::encode(&changed));
        }
        // An authority comes from an operator's file, and may be damaged, too.
        let damaged = dice.change(root.der(), WORDS);
        if let Ok(found) = judge(&chain, &damaged) {
            assert_eq!(found.principal, peer.principal, "{}", hex::encode(&damaged));
        }
    });
}

#[test]
fn a_request_that_was_changed_proves_no_other_key() {
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap();
    let original = CertificateRequest::parse(request.der()).unwrap();
    rounds(|dice| {
        let changed = dice.change(request.der(), WORDS);
        if let Ok(parsed) = CertificateRequest::parse(&changed) {
            assert_eq!(parsed, original, "{}", hex::encode(&changed));
        }
        let _ = CertificateRequest::from_pem(&String::from_utf8_lossy(&changed));
    });
}
