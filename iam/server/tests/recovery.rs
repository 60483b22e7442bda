//! A restore brings back the time of the backup; nothing that had been revoked counts again before it is approved.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::sync::Arc;

use axum::Router;
use chainfire_client::memory::MemoryStore;
use chainfire_core::{
    Command, Origin,
    cluster::{ClusterCommand, NewLineage},
};
use holdfast_proto::iam::{
    ApproveRestoreRequest, AuthorizeRequest, Binding, CreateCredentialRequest, CreateJoinTokenRequest,
    CreatePrincipalRequest, DisableBootstrapTokenRequest, EnrollRequest, ExportStandingsRequest, GrantRequest,
    IssueTokenRequest, MergeStandingsRequest, MergeStandingsResponse, RecoveryStatusRequest, RenewRequest,
    RevokeCredentialRequest, SetPrincipalRequest, StatusRequest, admin_client::AdminClient, authz_client::AuthzClient,
    credentials_client::CredentialsClient, enrollment_client::EnrollmentClient, recovery_client::RecoveryClient,
    tokens_client::TokensClient,
};
use iam_client::{Authority as _, Identity, KeyAccess, KeyAuthority as _, Presented, Refusal};
use iam_core::{policy::Role, record::key};
use iam_server::{Doors, Iam};
use rcgen::{CertificateParams, KeyPair};
use support::{ADMIN_TOKEN, Environment, Plane, Running, TestClock, api, api_with, bearer, node::Node, with};
use tempfile::TempDir;
use tonic::Code;
use uuid::Uuid;

/// The state of a plane under another lineage, and a server on it.
struct Restored {
    store: Arc<MemoryStore>,
    clock: Arc<TestClock>,
    iam: Iam,
    running: Running,
    _folder: TempDir,
}

impl Restored {
    async fn of(plane: Plane) -> Self {
        plane.running.end().await;
        Self::open(plane.store, plane.clock).await
    }

    async fn again(self) -> Self {
        self.running.end().await;
        Self::open(self.store, self.clock).await
    }

    async fn open(store: Arc<MemoryStore>, clock: Arc<TestClock>) -> Self {
        use chainfire_client::SystemStore as _;
        let parent = store.lineage().unwrap().unwrap().id;
        let new = NewLineage { id: Uuid::from_u128(parent.as_u128() + 1), parent, cut: 1 };
        store.commit(Origin::system("test", "restore"), Command::Cluster(ClusterCommand::NewLineage(new))).unwrap();
        clock.now_ms.fetch_add(1000, std::sync::atomic::Ordering::Relaxed);
        let folder = TempDir::new().unwrap();
        let (iam, running) = support::open(&store, &clock, folder.path(), &Environment::default(), |_| {}).unwrap();
        assert_eq!(iam.settled().await, Doors::Open);
        Self { store, clock, iam, running, _folder: folder }
    }

    fn api(&self) -> Router {
        api(&self.iam)
    }

    async fn by_key(&self, key: &(String, String)) -> Result<Identity, Refusal> {
        self.iam.authenticate(Presented { basic: Some(key.clone()), ..Presented::default() }).await
    }

    async fn merge(&self, merge: MergeStandingsRequest) -> MergeStandingsResponse {
        RecoveryClient::new(self.api()).merge(with(ADMIN_TOKEN, merge)).await.unwrap().into_inner()
    }

    async fn approve(&self) -> Result<u32, Code> {
        let approved =
            RecoveryClient::new(self.api()).approve(with(ADMIN_TOKEN, ApproveRestoreRequest::default())).await;
        approved.map(|answer| answer.into_inner().join_tokens).map_err(|status| status.code())
    }
}

async fn access_key(plane: &Plane, principal: &str) -> (String, String) {
    let create = CreateCredentialRequest { principal: principal.into(), note: String::new() };
    let new = plane.credentials().create(with(ADMIN_TOKEN, create)).await.unwrap().into_inner();
    (new.credential.unwrap().access_key_id, new.secret)
}

async fn join_token(plane: &Plane) -> String {
    let create = CreateJoinTokenRequest { node: "pier3".into(), ttl_s: 600 };
    plane.enrollment().create_join_token(with(ADMIN_TOKEN, create)).await.unwrap().into_inner().join_token
}

fn csr() -> bytes::Bytes {
    CertificateParams::default().serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec().into()
}

fn waits<T: std::fmt::Debug>(result: Result<T, Refusal>) -> bool {
    matches!(result, Err(Refusal::Unavailable(reason)) if reason.contains("florctl iam restore approve"))
}

#[tokio::test]
async fn a_restore_does_not_unrevoke() {
    let plane = Plane::start().await;
    let mira = plane.principal("user/mira", "admin").await;
    plane.principal("user/noor", "operator").await;
    plane.principal("service/ci", "reader").await;
    let (kept, lost, other) = (
        access_key(&plane, "service/ci").await,
        access_key(&plane, "service/ci").await,
        access_key(&plane, "user/noor").await,
    );
    let (node, thief) = (Node::enroll(&plane, "pier1").await, Node::enroll(&plane, "pier2").await);
    let join_token = join_token(&plane).await;
    assert!(plane.iam.authenticate(shown(&thief)).await.unwrap().is_node("pier2"));

    // The backup is what the store has now; all that follows on the old plane is in an export only.
    let plane = Restored::of(plane).await;
    let (api, iam) = (plane.api(), &plane.iam);
    assert_eq!(bearer(iam, &mira).await.unwrap_err(), Refusal::Unauthenticated, "no token outlives a restore");
    assert!(waits(plane.by_key(&kept).await));
    let admin = bearer(iam, ADMIN_TOKEN).await.unwrap();
    assert!(waits(iam.authorize(&admin, "iam.Admin", "iam/*")));
    assert!(waits(iam.authorize_keys(&admin, KeyAccess::Read, &holdfast_keyspace::KeyRange::all())));
    let create = CreatePrincipalRequest { id: "user/x".into(), ..Default::default() };
    let refused = AdminClient::new(api.clone()).create_principal(with(ADMIN_TOKEN, create)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    let issue = IssueTokenRequest { principal: "user/mira".into(), ttl_s: 0 };
    assert_eq!(
        TokensClient::new(api.clone()).issue(with(ADMIN_TOKEN, issue)).await.unwrap_err().code(),
        Code::Unavailable
    );
    let enroll = EnrollRequest { join_token: join_token.clone(), csr_der: csr() };
    assert_eq!(EnrollmentClient::new(api.clone()).enroll(enroll.clone()).await.unwrap_err().code(), Code::Unavailable);
    let status = AdminClient::new(api.clone()).status(with(ADMIN_TOKEN, StatusRequest {})).await.unwrap().into_inner();
    assert!(status.warnings.iter().any(|warning| warning.contains("restore")), "{:?}", status.warnings);

    // Machines go on: they read what is theirs, and get no new certificate.
    let pier1 = iam.authenticate(shown(&node)).await.unwrap();
    assert!(iam.authorize(&pier1, "config.ReadArtifact", "node/pier1").is_ok());
    assert!(iam.authorize(&pier1, "config.ReadArtifact", "node/pier2").is_err());
    assert!(waits(iam.authorize(&pier1, "lock.Use", "lock/default")));
    let renew = RenewRequest { csr_der: csr() };
    let renewed = EnrollmentClient::new(api_with(iam, &node.chain)).renew(renew).await.unwrap_err();
    assert_eq!(renewed.code(), Code::Unavailable, "for another key");

    // What had ended meanwhile ends again; what is younger than the export is not touched.
    let serial = thief_serial(&thief);
    let standing = |principal: &str, disabled, live: &[&(String, String)]| holdfast_proto::iam::Standing {
        principal: principal.into(),
        disabled,
        access_keys: live.iter().map(|key| key.0.clone()).collect(),
    };
    let standings = vec![standing("service/ci", false, &[&kept]), standing("user/noor", true, &[])];
    let early = MergeStandingsRequest { standings: standings.clone(), exported_ms: 1, ..Default::default() };
    let merged = plane.merge(early).await;
    assert_eq!((merged.disabled, merged.revoked), (1, 0));
    let late = MergeStandingsRequest { standings, exported_ms: u64::MAX, denied_serials: vec![serial] };
    let merged = plane.merge(late).await;
    assert_eq!((merged.disabled, merged.revoked, merged.denied), (0, 2, 1));
    assert_eq!(iam.authenticate(shown(&thief)).await.unwrap_err(), Refusal::Unauthenticated);

    // Also those that are used up: within ten minutes they would fetch a certificate again.
    assert_eq!(plane.approve().await, Ok(3));
    assert_eq!(plane.approve().await, Err(Code::FailedPrecondition));
    assert!(plane.by_key(&kept).await.is_ok());
    for ended in [&lost, &other] {
        assert_eq!(plane.by_key(ended).await.unwrap_err(), Refusal::Unauthenticated);
    }
    assert_eq!(EnrollmentClient::new(api.clone()).enroll(enroll).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(bearer(iam, &mira).await.unwrap_err(), Refusal::Unauthenticated);
    let issue = IssueTokenRequest { principal: "user/mira".into(), ttl_s: 0 };
    let new = TokensClient::new(api).issue(with(ADMIN_TOKEN, issue)).await.unwrap().into_inner().token;
    assert!(bearer(iam, &new).await.is_ok());

    // The next restore waits, too, and takes the tokens between the two along.
    let plane = plane.again().await;
    assert_eq!(bearer(&plane.iam, &new).await.unwrap_err(), Refusal::Unauthenticated);
    assert!(waits(plane.by_key(&kept).await));
    plane.running.end().await;
}

/// Whoever was put out after the backup still has a certificate, and may be an admin in what came back.
#[tokio::test]
async fn a_certificate_approves_nothing() {
    let plane = Plane::start().await;
    let node = Node::enroll(&plane, "pier1").await;
    let binding = Binding { subject: "node/pier1".into(), role: "admin".into(), ..Binding::default() };
    plane
        .admin()
        .grant(with(ADMIN_TOKEN, GrantRequest { binding: Some(binding), ..Default::default() }))
        .await
        .unwrap();
    let plane = Restored::of(plane).await;
    let pier1 = plane.iam.authenticate(shown(&node)).await.unwrap();
    assert!(pier1.roles.contains(&Role::Admin.to_string()));
    for (action, resource) in [("iam.Admin", "iam/restore"), ("iam.Admin", "iam/*"), ("cluster.Read", "cluster/iam")] {
        assert!(waits(plane.iam.authorize(&pier1, action, resource)), "{action}");
    }
    let mut client = RecoveryClient::new(api_with(&plane.iam, &node.chain));
    let refused = client.approve(ApproveRestoreRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    let question = |principal: &str| AuthorizeRequest {
        principal: principal.into(),
        action: "iam.Admin".into(),
        resource: "iam/*".into(),
    };
    let answer = AuthzClient::new(api_with(&plane.iam, &node.chain)).authorize(question("")).await.unwrap_err();
    assert_eq!(answer.code(), Code::Unavailable);
    assert_eq!(plane.approve().await, Ok(1));
    assert!(plane.iam.authorize(&pier1, "iam.Admin", "iam/restore").is_ok());
    // What had ended is found out later, too.
    let standing =
        holdfast_proto::iam::Standing { principal: "node/pier1".into(), disabled: true, access_keys: vec![] };
    let late = MergeStandingsRequest { standings: vec![standing], exported_ms: u64::MAX, ..Default::default() };
    assert_eq!(plane.merge(late).await.disabled, 1);
    assert_eq!(plane.iam.authenticate(shown(&node)).await.unwrap_err(), Refusal::Unauthenticated);
    plane.running.end().await;
}

/// Where the bootstrap token is disabled, an admin's access key speaks for the plane, and does nothing else.
#[tokio::test]
async fn an_admin_approves_where_there_is_no_bootstrap_token() {
    let plane = Plane::start().await;
    let mira = plane.principal("user/mira", "admin").await;
    plane.principal("service/ci", "reader").await;
    let (admin, ci) = (access_key(&plane, "user/mira").await, access_key(&plane, "service/ci").await);
    let disable = DisableBootstrapTokenRequest { reason: "mira has an access key".into() };
    plane.admin().disable_bootstrap_token(with(&mira, disable)).await.unwrap();

    let plane = Restored::of(plane).await;
    assert_eq!(bearer(&plane.iam, ADMIN_TOKEN).await.unwrap_err(), Refusal::Unauthenticated);
    let (mira, ci) = (plane.by_key(&admin).await.unwrap(), plane.by_key(&ci).await.unwrap());
    assert!(mira.roles.contains(&Role::Admin.to_string()));
    assert!(plane.iam.authorize(&mira, "iam.Admin", "iam/restore").is_ok());
    assert!(matches!(plane.iam.authorize(&ci, "iam.Admin", "iam/restore"), Err(Refusal::Denied { .. })));
    assert!(waits(plane.iam.authorize(&mira, "iam.Admin", "iam/*")));
    let basic = |key: &(String, String)| {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        format!("Basic {}", STANDARD.encode(format!("{}:{}", key.0, key.1)))
    };
    let mut own = tonic::Request::new(IssueTokenRequest::default());
    own.metadata_mut().insert("authorization", basic(&admin).parse().unwrap());
    assert_eq!(TokensClient::new(plane.api()).issue(own).await.unwrap_err().code(), Code::Unavailable);
    let mut own = tonic::Request::new(CreateCredentialRequest::default());
    own.metadata_mut().insert("authorization", basic(&admin).parse().unwrap());
    assert_eq!(CredentialsClient::new(plane.api()).create(own).await.unwrap_err().code(), Code::Unavailable);
    let mut approve = tonic::Request::new(ApproveRestoreRequest::default());
    approve.metadata_mut().insert("authorization", basic(&admin).parse().unwrap());
    RecoveryClient::new(plane.api()).approve(approve).await.unwrap();
    assert!(plane.iam.authorize(&mira, "iam.Admin", "iam/*").is_ok());
    let mut status = tonic::Request::new(RecoveryStatusRequest {});
    status.metadata_mut().insert("authorization", basic(&admin).parse().unwrap());
    let status = RecoveryClient::new(plane.api()).status(status).await.unwrap().into_inner();
    assert_eq!((status.waits, status.approved_by.as_str()), (false, "user/mira"));
    plane.running.end().await;
}

/// It is disabled again with the approval that it gives itself, unless nobody else could speak then.
#[tokio::test]
async fn a_bootstrap_token_that_had_been_disabled_is_so_again() {
    let approve = |plane: &Restored| {
        let request = with(ADMIN_TOKEN, ApproveRestoreRequest { disable_bootstrap_token: true });
        let api = plane.api();
        async move { RecoveryClient::new(api).approve(request).await.map_err(|status| status.code()) }
    };
    let plane = Plane::start().await;
    plane.principal("user/mira", "admin").await;
    access_key(&plane, "user/mira").await;
    let plane = Restored::of(plane).await;
    approve(&plane).await.unwrap();
    assert_eq!(bearer(&plane.iam, ADMIN_TOKEN).await.unwrap_err(), Refusal::Unauthenticated);
    plane.running.end().await;

    let plane = Plane::start().await;
    plane.principal("user/mira", "admin").await;
    plane.principal("service/ci", "reader").await;
    access_key(&plane, "service/ci").await;
    let plane = Restored::of(plane).await;
    assert_eq!(approve(&plane).await.unwrap_err(), Code::FailedPrecondition);
    assert_eq!(plane.approve().await, Ok(0));
    assert!(bearer(&plane.iam, ADMIN_TOKEN).await.is_ok());
    plane.running.end().await;
}

#[tokio::test]
async fn an_export_says_who_is_out_and_which_keys_are_live() {
    use chainfire_client::SystemStore as _;
    let plane = Plane::start().await;
    for id in ["service/ci", "user/mira", "user/noor"] {
        plane.principal(id, "").await;
    }
    let (live, revoked) = (access_key(&plane, "service/ci").await, access_key(&plane, "service/ci").await);
    let revoke = RevokeCredentialRequest { access_key_id: revoked.0, force: false };
    plane.credentials().revoke(with(ADMIN_TOKEN, revoke)).await.unwrap();
    let disable = SetPrincipalRequest { id: "user/noor".into(), disabled: true, ..Default::default() };
    plane.admin().set_principal(with(ADMIN_TOKEN, disable)).await.unwrap();
    let mut client = RecoveryClient::new(plane.api());
    let export = client.export(with(ADMIN_TOKEN, ExportStandingsRequest::default())).await.unwrap().into_inner();
    let found: Vec<_> = export
        .standings
        .iter()
        .map(|standing| (standing.principal.as_str(), standing.disabled, standing.access_keys.clone()))
        .collect();
    assert_eq!(found, [("service/ci", false, vec![live.0]), ("user/noor", true, vec![])]);
    let status = client.status(with(ADMIN_TOKEN, RecoveryStatusRequest {})).await.unwrap().into_inner();
    assert!(!status.waits && status.lineage.is_empty(), "it was never restored");
    assert!(plane.store.get(key::RESTORED).unwrap().is_none());
    let nothing = MergeStandingsRequest::default();
    assert_eq!(client.merge(with(ADMIN_TOKEN, nothing)).await.unwrap_err().code(), Code::FailedPrecondition);
}

fn shown(node: &Node) -> Presented {
    let certificates = node.chain.iter().map(|der| Arc::from(der.as_slice())).collect();
    Presented { certificates, ..Presented::default() }
}

fn thief_serial(node: &Node) -> String {
    let (_, certificate) = x509_parser::parse_x509_certificate(&node.chain[0]).unwrap();
    hex::encode(certificate.raw_serial())
}
