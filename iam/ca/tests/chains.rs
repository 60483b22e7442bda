//! Certificate chains and requests: which lead to a root, and what they say.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use iam_ca::{
    CertificateRequest, Certified, ChainFault, KeyAlgorithm, PrivateKey, RequestError, certificates_pem, leads_to,
    verify,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData as _, SanType,
    date_time_ymd,
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

fn judge(chain: &[&[u8]], roots: &[&Ca]) -> Result<Certified, ChainFault> {
    let roots: Vec<&[u8]> = roots.iter().map(|root| root.der().as_ref()).collect();
    verify(chain, &roots, NOW_MS)
}

#[test]
fn a_leaf_of_a_trusted_root_says_whose_it_is() {
    let (old, new) = (root("old"), root("new"));
    let certificate = leaf(&new, &[NODE], |_| {});
    let peer = judge(&[&certificate], &[&old, &new]).unwrap();
    assert_eq!((peer.uris, peer.dns_names.len()), (vec![NODE.to_owned()], 0));
    assert_eq!((peer.algorithm, peer.key.len(), peer.root), (Some(KeyAlgorithm::P256), 65, 1));
    assert_eq!((peer.expires_ms, peer.until_ms), (1_780_358_400_000, 1_780_358_400_000));
    let brief = CertifiedIssuer::self_signed(
        authority("brief", |params| params.not_after = date_time_ymd(2026, 6, 2)).0,
        KeyPair::generate().unwrap(),
    )
    .unwrap();
    let certificate_of_brief = leaf(&brief, &[NODE], |params| params.not_after = date_time_ymd(2026, 6, 3));
    let peer = judge(&[&certificate_of_brief], &[&brief]).unwrap();
    assert_eq!((peer.expires_ms, peer.until_ms), (1_780_444_800_000, 1_780_358_400_000));
    assert_eq!(judge(&[&certificate], &[&old]), Err(ChainFault::Untrusted));
    // Another key under the same name does not pass for the root.
    assert_eq!(judge(&[&certificate], &[&root("new")]), Err(ChainFault::Untrusted));
}

#[test]
fn intermediates_connect_if_they_may_issue() {
    let root = root("root");
    let (params, key) = authority("intermediate", |_| {});
    let intermediate = CertifiedIssuer::signed_by(params, key, &root).unwrap();
    let certificate = leaf(&intermediate, &[NODE], |_| {});
    assert!(judge(&[&certificate, intermediate.der()], &[&root]).is_ok());
    assert_eq!(judge(&[&certificate], &[&root]), Err(ChainFault::Untrusted));
    let (params, key) = authority("intermediate", |params| params.is_ca = IsCa::ExplicitNoCa);
    let plain = CertifiedIssuer::signed_by(params, key, &root).unwrap();
    let certificate = leaf(&plain, &[NODE], |_| {});
    assert_eq!(judge(&[&certificate, plain.der()], &[&root]), Err(ChainFault::Untrusted));
    let (params, key) = authority("intermediate", |params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    let limited = CertifiedIssuer::signed_by(params, key, &root).unwrap();
    let certificate = leaf(&limited, &[NODE], |_| {});
    assert_eq!(judge(&[&certificate, limited.der()], &[&root]), Err(ChainFault::Untrusted));
}

#[test]
fn leaves_must_be_for_clients_now() {
    let root = root("root");
    let expired = leaf(&root, &[NODE], |params| params.not_after = date_time_ymd(2026, 5, 31));
    assert_eq!(judge(&[&expired], &[&root]), Err(ChainFault::Time));
    let early = leaf(&root, &[NODE], |params| params.not_before = date_time_ymd(2026, 6, 2));
    assert_eq!(judge(&[&early], &[&root]), Err(ChainFault::Time));
    let server = leaf(&root, &[NODE], |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    assert_eq!(judge(&[&server], &[&root]), Err(ChainFault::Usage));
    assert_eq!(judge(&[], &[&root]), Err(ChainFault::Length));
    assert_eq!(judge(&[b"garbage"], &[&root]), Err(ChainFault::Malformed));
    assert_eq!(judge(&[root.der()], &[&root]), Err(ChainFault::Usage));
}

#[test]
fn authorities_stand_as_high_as_they_may() {
    let below =
        |below| move |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    let chain = |root_below, count: usize| {
        let (params, key) = authority("0", below(root_below));
        let root = CertifiedIssuer::self_signed(params, key).unwrap();
        let mut issuers = vec![root];
        for name in 1..=count {
            let (params, key) = authority(&name.to_string(), |_| {});
            let next = CertifiedIssuer::signed_by(params, key, issuers.last().unwrap()).unwrap();
            issuers.push(next);
        }
        let mut chain = vec![leaf(issuers.last().unwrap(), &[NODE], |_| {})];
        chain.extend(issuers.iter().skip(1).rev().map(|issuer| issuer.der().to_vec()));
        let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
        (judge(&chain, &[&issuers[0]]).map(drop), leads_to(&chain, &[issuers[0].der()]))
    };
    assert_eq!(chain(0, 0), (Ok(()), Ok(0)));
    assert_eq!(chain(0, 1), (Err(ChainFault::Depth), Err(ChainFault::Depth)));
    assert_eq!(chain(1, 1), (Ok(()), Ok(0)));
    assert_eq!(chain(9, 2), (Ok(()), Ok(0)));
    assert_eq!(chain(9, 3), (Err(ChainFault::Untrusted), Err(ChainFault::Untrusted)));
    assert_eq!(chain(9, 4).0, Err(ChainFault::Length));
}

#[test]
fn names_are_within_the_constraints_of_everybody_above() {
    let constrained = |permitted: &[&str], excluded: &[&str]| {
        let list = |names: &[&str]| names.iter().map(|name| GeneralSubtree::DnsName((*name).to_owned())).collect();
        let (permitted_subtrees, excluded_subtrees) = (list(permitted), list(excluded));
        let (params, key) = authority("root", |params| {
            params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees });
        });
        CertifiedIssuer::self_signed(params, key).unwrap()
    };
    let of = |root: &Ca, dns: &str| {
        let certificate =
            leaf(root, &[NODE], |params| params.subject_alt_names.push(SanType::DnsName(dns.try_into().unwrap())));
        judge(&[&certificate], &[root]).map(|leaf| leaf.dns_names)
    };
    let root = constrained(&["harbour.example"], &["evil.harbour.example"]);
    assert_eq!(of(&root, "pier2.harbour.example"), Ok(vec!["pier2.harbour.example".to_owned()]));
    for name in ["harbour.test", "a.evil.harbour.example"] {
        assert_eq!(of(&root, name), Err(ChainFault::Constraint), "{name}");
    }
    let (params, key) = authority("other form", |params| {
        let excluded_subtrees = vec![GeneralSubtree::Rfc822Name("x".to_owned())];
        params.name_constraints = Some(NameConstraints { permitted_subtrees: Vec::new(), excluded_subtrees });
    });
    let other = CertifiedIssuer::self_signed(params, key).unwrap();
    assert_eq!(of(&other, "pier2.harbour.example"), Err(ChainFault::Critical));
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

#[test]
fn keys_are_written_as_every_tls_library_reads_them() {
    for algorithm in [KeyAlgorithm::Ed25519, KeyAlgorithm::P256] {
        let key = PrivateKey::generate(algorithm).unwrap();
        let read = KeyPair::from_pem(&key.pem()).unwrap();
        assert_eq!(key.public_key_info(), read.subject_public_key_info());
        if let Some(public) = openssl_public_key(&key.pem()) {
            assert_eq!(public, key.public_key_info());
        }
    }
    assert_eq!(PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap().der().len(), 48, "PKCS #8 of version 1");
}

/// What OpenSSL makes of a private key, in DER; nothing where there is no OpenSSL.
fn openssl_public_key(pem: &str) -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, pem).unwrap();
    let mut command = std::process::Command::new("openssl");
    let output = command.args(["pkey", "-pubout", "-outform", "DER", "-in"]).arg(path).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}

#[test]
fn certificates_are_read_back_from_their_text() {
    let (one, two) = (root("one"), root("two"));
    let text = certificates_pem([one.der().as_ref(), two.der()]);
    let read: Vec<_> =
        x509_parser::pem::Pem::iter_from_buffer(text.as_bytes()).map(|pem| pem.unwrap().contents).collect();
    assert_eq!(read, [one.der().to_vec(), two.der().to_vec()]);
    assert!(text.lines().all(|line| line.len() <= 64));
}
