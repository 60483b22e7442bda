//! The plane's authority below an offline root.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::{sync::atomic::Ordering, time::Duration};

use chainfire_client::SystemStore as _;
use holdfast_proto::iam::{
    AddRootRequest, CreateJoinTokenRequest, DenyRequest, EnrollRequest, EnrollResponse, IssueWithRequest,
    ListRootsRequest, RequestCertificateRequest, RootsResponse, StartRotationRequest, StatusRequest, StepRootRequest,
};
use iam_ca::{Authority, CertificateRequest, KeyAlgorithm, PrivateKey, Root, Validity};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SubjectPublicKeyInfo, date_time_ymd,
};
use support::{ADMIN_TOKEN, Plane, node::Node, with};
use time::OffsetDateTime;
use tonic::{Code, Status};

const DOMAIN: &str = "harbour.example";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Whose key never comes near the servers.
struct Offline {
    root: Authority,
    key: String,
}

impl Offline {
    fn new(plane: &Plane) -> Self {
        Self::with_below(plane, 1)
    }

    /// So many levels of authorities may stand below it.
    fn with_below(plane: &Plane, below: u8) -> Self {
        let root = Root { organization: None, common_name: "offline", uri: None, below };
        let key = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap();
        let pem = key.pem().to_string();
        Self { root: Authority::root(&root, key, life(plane, 3650)).unwrap(), key: pem }
    }

    /// The certificate for what the servers request.
    async fn certified(&self, plane: &Plane, days: u32) -> Vec<u8> {
        self.of(&request(plane).await, DOMAIN, life(plane, days))
    }

    fn of(&self, request: &CertificateRequest, host: &str, validity: Validity) -> Vec<u8> {
        self.root.intermediate("online", host, &request.public_key, validity).unwrap().der
    }

    /// Adds it with what issues below it, and activates it.
    async fn issues(&self, plane: &Plane, days: u32) -> String {
        let issuing = self.certified(plane, days).await;
        let id = add(plane, self.root.der(), &issuing).await.unwrap().id;
        let step = StepRootRequest { id: id.clone(), force: true, ..StepRootRequest::default() };
        plane.trust().activate(with(ADMIN_TOKEN, step)).await.unwrap();
        id
    }
}

fn life(plane: &Plane, days: u32) -> Validity {
    let seconds = i64::try_from(plane.clock.now_ms.load(Ordering::Relaxed) / 1000).unwrap();
    let now = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
    let serial: [u8; 16] =
        PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap().public_key_info()[12..28].try_into().unwrap();
    Validity { from: now - Duration::from_secs(300), until: now + DAY * days, serial }
}

async fn request(plane: &Plane) -> CertificateRequest {
    let asked = plane.trust().request_certificate(with(ADMIN_TOKEN, RequestCertificateRequest {})).await.unwrap();
    let answer = asked.into_inner();
    let request = CertificateRequest::parse(&answer.csr_der).unwrap();
    assert_eq!(request.key_sha256, answer.key_id);
    request
}

async fn add(plane: &Plane, root: &[u8], issuing: &[u8]) -> Result<RootsResponse, Status> {
    let request =
        AddRootRequest { certificate: root.to_vec().into(), issuing: issuing.to_vec().into(), ..Default::default() };
    plane.trust().add_root(with(ADMIN_TOKEN, request)).await.map(tonic::Response::into_inner)
}

async fn issue_with(plane: &Plane, id: &str, issuing: &[u8]) -> Result<RootsResponse, Status> {
    let request = IssueWithRequest { id: id.to_owned(), issuing: issuing.to_vec().into(), dry_run: false };
    plane.trust().issue_with(with(ADMIN_TOKEN, request)).await.map(tonic::Response::into_inner)
}

async fn list(plane: &Plane) -> RootsResponse {
    plane.trust().list(with(ADMIN_TOKEN, ListRootsRequest {})).await.unwrap().into_inner()
}

/// What the sealed keys of authorities are called.
fn keys(plane: &Plane) -> Vec<String> {
    let page = plane.store.list(b"iam/sealed/authority", None, 100).unwrap();
    page.records.iter().map(|record| String::from_utf8(record.key.clone()).unwrap()).collect()
}

async fn join_token(plane: &Plane, node: &str) -> String {
    let request = CreateJoinTokenRequest { node: node.into(), ttl_s: 3600 };
    plane.enrollment().create_join_token(with(ADMIN_TOKEN, request)).await.unwrap().into_inner().join_token
}

async fn enroll(plane: &Plane, join_token: &str, key: &KeyPair) -> Result<EnrollResponse, Status> {
    let csr_der = CertificateParams::default().serialize_request(key).unwrap().der().to_vec().into();
    let request = EnrollRequest { join_token: join_token.to_owned(), csr_der };
    plane.enrollment().enroll(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn nodes_get_chains_that_lead_to_the_offline_root() {
    let plane = Plane::start().await;
    let offline = Offline::new(&plane);
    let first = request(&plane).await;
    assert_eq!(request(&plane).await, first, "the key waits until it is certified");
    let below = offline.certified(&plane, 365).await;
    let added = add(&plane, offline.root.der(), &below).await.unwrap();
    let root = &added.roots[1];
    assert_eq!((root.state.as_str(), root.own, root.id.clone()), ("trusted", true, offline.root.id()));
    assert_eq!(root.issuing, below);
    assert!(root.issuing_expires_ms < root.expires_ms && !root.issuing_serial.is_empty());
    assert_eq!(Node::enroll(&plane, "early").await.chain.len(), 1, "the authority of the genesis issues yet");

    let step = StepRootRequest { id: offline.root.id(), force: true, ..StepRootRequest::default() };
    plane.trust().activate(with(ADMIN_TOKEN, step)).await.unwrap();
    let token = join_token(&plane, "pier2").await;
    let hash = hex::decode(offline.root.id()).unwrap();
    assert_eq!(iam_core::enrol::JoinToken::parse(&token).unwrap().ca_sha256().as_slice(), hash, "the root's");
    let key = KeyPair::generate().unwrap();
    let answer = enroll(&plane, &token, &key).await.unwrap();
    assert_eq!((answer.certificate_chain.len(), &answer.certificate_chain[1][..]), (2, below.as_slice()));
    assert!(answer.ca_bundle.iter().all(|root| *root != below), "only roots are trusted");
    let chain: Vec<Vec<u8>> = answer.certificate_chain.iter().map(|der| der.to_vec()).collect();
    let node = Node { chain: chain.clone(), bundle: Vec::new() };
    assert_eq!(node.identity(&plane).await.unwrap().principal.to_string(), "node/pier2");
    let alone = Node { chain: chain[..1].to_vec(), bundle: Vec::new() };
    assert!(alone.identity(&plane).await.is_err(), "a leaf alone leads nowhere");
    assert_eq!(enroll(&plane, &token, &key).await.unwrap().certificate_chain, answer.certificate_chain, "a repeat");

    // What issues is replaced; what it issued stays good, and so does a repeat.
    let next = offline.certified(&plane, 365).await;
    let replaced = issue_with(&plane, &offline.root.id(), &next).await.unwrap();
    assert_eq!(replaced.roots[1].issuing, next);
    assert!(node.identity(&plane).await.is_ok());
    assert_eq!(enroll(&plane, &token, &key).await.unwrap().certificate_chain, answer.certificate_chain);
    let new = Node::enroll(&plane, "pier3").await;
    assert_eq!(new.chain[1], next);
    assert!(new.identity(&plane).await.is_ok());
    assert_eq!(keys(&plane).len(), 2, "the key of the one before is gone: {:?}", keys(&plane));
    let again = issue_with(&plane, &offline.root.id(), &next).await.unwrap();
    assert_eq!(again.revision, replaced.revision, "it is done already");

    // One for the same key, which is certified anew; and all of the first one are denied at once.
    let (_, certificate) = x509_parser::parse_x509_certificate(&next).unwrap();
    let same = CertificateRequest { public_key: certificate.public_key().raw.to_vec(), key_sha256: String::new() };
    let longer = offline.of(&same, DOMAIN, life(&plane, 700));
    issue_with(&plane, &offline.root.id(), &longer).await.unwrap();
    assert_eq!(Node::enroll(&plane, "pier4").await.chain[1], longer);
    let deny = DenyRequest { serial: root.issuing_serial.clone(), reason: "its key was seen".into() };
    plane.trust().deny(with(ADMIN_TOKEN, deny)).await.unwrap();
    assert!(node.identity(&plane).await.is_err() && new.identity(&plane).await.is_ok());
}

#[tokio::test]
async fn an_issuing_certificate_is_judged_before_it_is_stored() {
    let plane = Plane::start().await;
    let (offline, other) = (Offline::new(&plane), Offline::new(&plane));
    let asked = request(&plane).await;
    let good = offline.of(&asked, DOMAIN, life(&plane, 365));
    let root = offline.root.der();
    let own = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
    let foreign = offline.root.intermediate("online", DOMAIN, &own.public_key_info(), life(&plane, 365)).unwrap().der;
    let low = Offline::with_below(&plane, 0);
    let ended = Validity { until: life(&plane, 0).from, ..life(&plane, 1) };
    for (what, issuing, code, why) in [
        ("garbage", b"x".to_vec(), Code::InvalidArgument, "it is no certificate"),
        ("the root itself", root.to_vec(), Code::InvalidArgument, "its path length has to be 0"),
        ("another key", foreign, Code::FailedPrecondition, "is not the key that waits"),
        ("another root's", other.of(&asked, DOMAIN, life(&plane, 9)), Code::InvalidArgument, "no trusted authority"),
        (
            "another domain's",
            offline.of(&asked, "dock.example", life(&plane, 9)),
            Code::InvalidArgument,
            "URIs of harbour",
        ),
        ("an ended one", offline.of(&asked, DOMAIN, ended), Code::InvalidArgument, "it has ended"),
        ("no constraint", made(&offline, &asked, |_| {}), Code::InvalidArgument, "constrained to URIs of harbour"),
        (
            "a deep one",
            made(&offline, &asked, |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1))),
            Code::InvalidArgument,
            "path length",
        ),
        (
            "a leaf",
            made(&offline, &asked, |params| params.is_ca = IsCa::NoCa),
            Code::InvalidArgument,
            "not an authority's",
        ),
        (
            "a server's",
            made(&offline, &asked, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
            Code::InvalidArgument,
            "may not certify clients",
        ),
    ] {
        let refused = add(&plane, root, &issuing).await.unwrap_err();
        assert_eq!(refused.code(), code, "{what}: {refused}");
        assert!(refused.message().contains(why), "{what}: {refused}");
    }
    let constrained = |params: &mut CertificateParams| params.custom_extensions = vec![constraint(&good)];
    let refused = add(&plane, low.root.der(), &made(&low, &asked, constrained)).await.unwrap_err();
    assert!(refused.message().contains("stands higher above the leaf than it may"), "{refused}");
    assert_eq!(add(&plane, &[], &good).await.unwrap_err().code(), Code::InvalidArgument, "without its root");
    assert_eq!(list(&plane).await.roots.len(), 1, "nothing was stored");
    assert_eq!(request(&plane).await, asked, "and the key still waits");

    // A root that is trusted already and issues nothing gets what issues below it.
    let id = add(&plane, root, &[]).await.unwrap().id;
    let refused = issue_with(&plane, &id, &other.of(&asked, DOMAIN, life(&plane, 9))).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(!list(&plane).await.roots[1].own);
    assert!(issue_with(&plane, &id, &good).await.unwrap().roots[1].own);
    assert_eq!(issue_with(&plane, "00", &good).await.unwrap_err().code(), Code::NotFound);
    let step = StepRootRequest { id: id.clone(), force: true, ..StepRootRequest::default() };
    plane.trust().remove(with(ADMIN_TOKEN, step.clone())).await.unwrap();
    let removed = issue_with(&plane, &id, &good).await.unwrap_err();
    assert!(removed.message().contains("is removed: it issues nothing"), "{removed}");
    plane.trust().purge(with(ADMIN_TOKEN, step)).await.unwrap();
    assert_eq!(keys(&plane).len(), 1, "its key is gone with it");
    let reader = plane.principal("user/noor", "operator").await;
    let denied = plane.trust().request_certificate(with(&reader, RequestCertificateRequest {})).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn the_end_of_what_issues_is_told_in_time() {
    let plane = Plane::start().await;
    let offline = Offline::new(&plane);
    let id = offline.issues(&plane, 30).await;
    let warnings = async || {
        let status = plane.admin().status(with(ADMIN_TOKEN, StatusRequest {})).await.unwrap().into_inner();
        status.warnings.into_iter().filter(|warning| warning.contains("are issued with ends at")).count()
    };
    assert_eq!(warnings().await, 0);
    let job = StartRotationRequest { family: "authority".into(), until: String::new() };
    let begun = plane.rotation().start(with(ADMIN_TOKEN, job)).await.unwrap_err();
    assert_eq!(begun.code(), Code::FailedPrecondition);
    assert!(
        begun.message().contains("stands below an offline root") && begun.message().contains("issue-with"),
        "{begun}"
    );
    plane.advance(DAY * 17);
    assert_eq!(warnings().await, 1);
    plane.advance(DAY * 13);
    let token = join_token(&plane, "late").await;
    let key = KeyPair::generate().unwrap();
    let ended = enroll(&plane, &token, &key).await.unwrap_err();
    assert_eq!(ended.code(), Code::FailedPrecondition);
    assert!(ended.message().contains("none can be issued until another takes its place"), "{ended}");
    issue_with(&plane, &id, &offline.certified(&plane, 365).await).await.unwrap();
    assert_eq!(warnings().await, 0);
    assert_eq!(enroll(&plane, &token, &key).await.unwrap().certificate_chain.len(), 2, "the token was not spent");
}

/// A certificate by somebody else's tools.
fn made(offline: &Offline, asked: &CertificateRequest, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    (params.not_before, params.not_after) = (date_time_ymd(2027, 1, 1), date_time_ymd(2028, 1, 1));
    change(&mut params);
    let key = KeyPair::from_pem(&offline.key).unwrap();
    let issuer = Issuer::from_ca_cert_der(&offline.root.der().to_vec().into(), key).unwrap();
    let public_key = SubjectPublicKeyInfo::from_der(&asked.public_key).unwrap();
    params.signed_by(&public_key, &issuer).unwrap().der().to_vec()
}

/// The constraint on names in a certificate.
fn constraint(certificate: &[u8]) -> CustomExtension {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).unwrap();
    let oid = &[2, 5, 29, 30];
    let found = certificate.extensions().iter().find(|extension| extension.oid.to_id_string() == "2.5.29.30");
    CustomExtension::from_oid_content(oid, found.unwrap().value.to_vec())
}
