//! Certificates with names of their own: rules say whom they stand for, and rotate.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::time::Duration;

use holdfast_proto::iam::{
    AddMappingRequest, AddRootRequest, CheckRequest, DropMappingRequest, ListMappingsRequest, MappingStep,
    MappingsResponse, StepMappingRequest,
};
use iam_client::Refusal;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, SanType,
};
use support::{ADMIN_TOKEN, Plane, node::Node, open::Open, with};
use time::OffsetDateTime;
use tonic::{Code, Status};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn params(plane: &Plane, common_name: &str) -> CertificateParams {
    let now_ms = plane.clock.now_ms.load(std::sync::atomic::Ordering::Relaxed);
    let now = OffsetDateTime::from_unix_timestamp(i64::try_from(now_ms / 1000).unwrap()).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    (params.not_before, params.not_after) = (now - Duration::from_secs(60), now + Duration::from_secs(400_000));
    params
}

/// An authority that knows nothing of SPIFFE, and is trusted.
async fn foreign(plane: &Plane, name: &str) -> (Authority, String) {
    let mut params = params(plane, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = Authority::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let request = AddRootRequest { certificate: authority.der().to_vec().into(), ..AddRootRequest::default() };
    let added = plane.trust().add_root(with(ADMIN_TOKEN, request)).await.unwrap().into_inner();
    (authority, added.id)
}

fn leaf(plane: &Plane, authority: &Authority, names: Vec<SanType>, common_name: &str) -> Node {
    let mut params = params(plane, common_name);
    params.subject_alt_names = names;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = params.signed_by(&KeyPair::generate().unwrap(), authority).unwrap();
    Node { chain: vec![leaf.der().to_vec()], bundle: Vec::new() }
}

fn dns(name: &str) -> Vec<SanType> {
    vec![SanType::DnsName(name.try_into().unwrap())]
}

fn uri(name: &str) -> Vec<SanType> {
    vec![SanType::URI(name.try_into().unwrap())]
}

async fn add(plane: &Plane, principal: &str, name: &str, authority: &str) -> Result<MappingsResponse, Status> {
    let (principal, name, authority) = (principal.to_owned(), name.to_owned(), authority.to_owned());
    let request = AddMappingRequest { principal, name, authority, dry_run: false };
    plane.trust().add_mapping(with(ADMIN_TOKEN, request)).await.map(tonic::Response::into_inner)
}

fn step(principal: &str, name: &str, step: MappingStep) -> StepMappingRequest {
    let (principal, name) = (principal.to_owned(), name.to_owned());
    StepMappingRequest { principal, name, step: step.into(), ..StepMappingRequest::default() }
}

async fn take(plane: &Plane, request: StepMappingRequest) -> Result<MappingsResponse, Status> {
    plane.trust().step_mapping(with(ADMIN_TOKEN, request)).await.map(tonic::Response::into_inner)
}

fn states(answer: &MappingsResponse) -> Vec<(&str, &str)> {
    answer.rules.iter().map(|rule| (rule.name.as_str(), rule.state.as_str())).collect()
}

async fn named(plane: &Plane, node: &Node) -> Option<String> {
    node.identity(plane).await.ok().map(|identity| identity.principal.to_string())
}

#[tokio::test]
async fn a_mapping_rotates_with_overlap_and_its_removal_closes_connections() {
    let plane = Plane::start().await;
    plane.principal("service/billing", "reader").await;
    let (authority, _) = foreign(&plane, "mesh").await;
    let old = leaf(&plane, &authority, uri("spiffe://old.example/ns/pay/sa/billing"), "x");
    let new = leaf(&plane, &authority, dns("billing.pay.example"), "x");
    assert_eq!(old.identity(&plane).await.unwrap_err(), Refusal::Unauthenticated);

    let (by_old, by_new) = ("uri:spiffe://old.example/ns/pay/sa/billing", "dns:billing.pay.example");
    let first = add(&plane, "service/billing", by_old, "").await.unwrap();
    assert_eq!((states(&first), first.enforced[0].enforced), (vec![(by_old, "active")], true));
    assert_eq!(named(&plane, &old).await.as_deref(), Some("service/billing"));
    assert_eq!(named(&plane, &new).await, None);

    let both = add(&plane, "service/billing", by_new, "").await.unwrap();
    assert_eq!(states(&both), [(by_old, "active"), (by_new, "trusted")]);
    assert_eq!(named(&plane, &new).await.as_deref(), Some("service/billing"), "both count");
    let early = take(&plane, step("service/billing", by_new, MappingStep::Activate)).await.unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition);
    assert!(early.message().contains("becomes possible in 300 s"), "{}", early.message());
    let early = take(&plane, step("service/billing", by_old, MappingStep::Remove)).await.unwrap_err();
    assert!(early.message().contains("activate another one first"), "{}", early.message());
    plane.advance(Duration::from_secs(300));
    let active = take(&plane, step("service/billing", by_new, MappingStep::Activate)).await.unwrap();
    assert_eq!(states(&active), [(by_old, "overlap"), (by_new, "active")]);
    assert_eq!(named(&plane, &old).await.as_deref(), Some("service/billing"));

    let early = take(&plane, step("service/billing", by_old, MappingStep::Remove)).await.unwrap_err();
    assert!(early.message().contains("becomes possible in 86430 s"), "{}", early.message());
    let checked = CheckRequest { certificate_chain: vec![old.chain[0].clone().into()] };
    let checked = plane.trust().check(with(ADMIN_TOKEN, checked)).await.unwrap().into_inner().verdicts;
    let removed = checked.iter().find(|verdict| verdict.when == format!("remove service/billing by {by_old}")).unwrap();
    assert!(removed.principal.is_empty() && removed.refused.contains("no mapping rule"), "{removed:?}");
    assert!(!checked.iter().any(|verdict| verdict.when.contains(by_new)), "{checked:?}");

    let [mut of_old, mut of_new] =
        [Open::to(&plane, old.chain.clone()).await, Open::to(&plane, new.chain.clone()).await];
    assert!(of_old.is_known(None).await && of_new.is_known(None).await);
    let rehearsal =
        StepMappingRequest { force: true, dry_run: true, ..step("service/billing", by_old, MappingStep::Remove) };
    let rehearsal = take(&plane, rehearsal).await.unwrap();
    assert!(rehearsal.breaks.contains("void at once"), "{}", rehearsal.breaks);
    assert!(of_old.is_known(None).await, "a rehearsal changes nothing");
    let forced = StepMappingRequest { force: true, ..step("service/billing", by_old, MappingStep::Remove) };
    let removed = take(&plane, forced).await.unwrap();
    assert_eq!(states(&removed), [(by_old, "removed"), (by_new, "active")]);
    assert_eq!((removed.enforced[0].enforced, removed.enforced[0].closed), (true, 1));
    assert!(of_old.ends().await && of_new.is_known(None).await);
    assert_eq!(named(&plane, &old).await, None);

    assert_eq!(
        take(&plane, step("service/billing", by_old, MappingStep::Purge)).await.unwrap_err().code(),
        Code::FailedPrecondition
    );
    plane.advance(Duration::from_secs(86_400));
    for _ in 0..2 {
        let purged = take(&plane, step("service/billing", by_old, MappingStep::Purge)).await.unwrap();
        assert_eq!(states(&purged), [(by_new, "active")]);
    }
    let drop = DropMappingRequest { principal: "service/billing".into(), dry_run: false };
    let dropped = plane.trust().drop_mapping(with(ADMIN_TOKEN, drop)).await.unwrap().into_inner();
    assert!(dropped.rules.is_empty() && dropped.enforced[0].closed == 1);
    assert_eq!(named(&plane, &new).await, None);
}

#[tokio::test]
async fn a_rule_counts_for_whom_and_by_whom_it_says() {
    let plane = Plane::start().await;
    for id in ["node/pier7", "user/mira", "user/root"] {
        plane.principal(id, "").await;
    }
    let ((datacentre, datacentre_id), (office, _)) = (foreign(&plane, "dc").await, foreign(&plane, "office").await);
    add(&plane, "node/*", "dns:*.nodes.example", &datacentre_id).await.unwrap();
    add(&plane, "user/mira", "cn:Mira Holt", "").await.unwrap();

    let pier7 = || dns("pier7.nodes.example");
    assert_eq!(named(&plane, &leaf(&plane, &datacentre, pier7(), "x")).await.as_deref(), Some("node/pier7"));
    assert_eq!(named(&plane, &leaf(&plane, &office, pier7(), "x")).await, None, "the office has no nodes");
    assert_eq!(named(&plane, &leaf(&plane, &datacentre, dns("pier8.nodes.example"), "x")).await, None, "unknown");
    assert_eq!(named(&plane, &leaf(&plane, &office, vec![], "Mira Holt")).await.as_deref(), Some("user/mira"));
    assert_eq!(named(&plane, &leaf(&plane, &office, vec![], "root")).await, None);
    // A SPIFFE id of the trust domain stands for itself, whatever else the certificate says.
    let both = leaf(&plane, &datacentre, uri("spiffe://harbour.example/user/mira/x"), "Mira Holt");
    assert_eq!(named(&plane, &both).await, None);
    // Somebody else's authority vouches for nobody by such an id, unless it was trusted for that.
    let own = leaf(&plane, &datacentre, uri("spiffe://harbour.example/user/mira"), "Mira Holt");
    assert_eq!(named(&plane, &own).await, None);
    let checked = CheckRequest { certificate_chain: vec![own.chain[0].clone().into()] };
    let checked = plane.trust().check(with(ADMIN_TOKEN, checked)).await.unwrap().into_inner();
    assert!(checked.verdicts[0].refused.contains("mapped names alone"), "{:?}", checked.verdicts[0]);
    // Names of two principals are nobody's.
    add(&plane, "user/root", "dns:pier7.nodes.example", "").await.unwrap();
    assert_eq!(named(&plane, &leaf(&plane, &datacentre, pier7(), "x")).await, None);
}

#[tokio::test]
async fn what_is_no_rule_is_refused() {
    let plane = Plane::start().await;
    for (principal, name, authority, code) in [
        ("user/mira", "mail:mira@dock.example", "", Code::InvalidArgument),
        ("group/crew", "cn:Mira", "", Code::InvalidArgument),
        ("node/*", "dns:pier7.example", "", Code::InvalidArgument),
        ("user/mira", "uri:spiffe://harbour.example/user/other", "", Code::InvalidArgument),
        ("user/mira", "cn:Mira", "0123", Code::NotFound),
    ] {
        assert_eq!(add(&plane, principal, name, authority).await.unwrap_err().code(), code, "{principal} {name}");
    }
    add(&plane, "user/mira", "cn:Mira", "").await.unwrap();
    assert_eq!(add(&plane, "user/mira", "cn:Mira", "").await.unwrap_err().code(), Code::Aborted);
    let request = step("user/mira", "cn:Mira", MappingStep::Unspecified);
    assert_eq!(take(&plane, request).await.unwrap_err().code(), Code::InvalidArgument);
    let request = step("user/mira", "cn:Tomas", MappingStep::Activate);
    assert_eq!(take(&plane, request).await.unwrap_err().code(), Code::NotFound);
    let stale = StepMappingRequest { expected_revision: 1, ..step("user/mira", "cn:Mira", MappingStep::Activate) };
    assert_eq!(take(&plane, stale).await.unwrap_err().code(), Code::Aborted);
    let drop = DropMappingRequest { principal: "user/tomas".into(), dry_run: false };
    assert_eq!(plane.trust().drop_mapping(with(ADMIN_TOKEN, drop)).await.unwrap_err().code(), Code::NotFound);

    let operator = plane.principal("user/noor", "operator").await;
    let add = AddMappingRequest { principal: "user/root".into(), name: "cn:Noor".into(), ..Default::default() };
    assert_eq!(plane.trust().add_mapping(with(&operator, add)).await.unwrap_err().code(), Code::PermissionDenied);
    let listed = plane.trust().list_mappings(with(ADMIN_TOKEN, ListMappingsRequest {})).await.unwrap().into_inner();
    assert_eq!(states(&listed), [("cn:Mira", "active")]);
}
