//! What is counted and recorded of those who try to come in and may not.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::sync::Arc;

use axum::body::Body;
use holdfast_proto::iam::{CreateCredentialRequest, CreateJoinTokenRequest, EnrollRequest, SetPrincipalRequest};
use http::{Request, StatusCode};
use iam_client::{DecisionRecord, PasswordLogin as _, Refusal};
use prometheus_client::{encoding::text::encode, registry::Registry};
use rcgen::{CertificateParams, KeyPair};
use support::{ADMIN_TOKEN, Environment, Plane, open, with};
use tonic::Code;
use tower::ServiceExt as _;

fn metrics(plane: &Plane) -> Registry {
    let mut registry = Registry::default();
    plane.iam.register_metrics(&mut registry);
    registry
}

fn counted(registry: &Registry, name: &str) -> u64 {
    let mut text = String::new();
    encode(&mut text, registry).unwrap();
    let begin = format!("holdfast_iam_{name}_total ");
    text.lines().find_map(|line| line.strip_prefix(&begin)).unwrap().parse().unwrap()
}

/// The refusals in the decision log: they are written at the end at the latest.
async fn denied(plane: Plane) -> Vec<Arc<DecisionRecord>> {
    let Plane { store, clock, folder, iam, running } = plane;
    running.end().await;
    drop(iam);
    let (iam, _running) = open(&store, &clock, folder.path(), &Environment::default(), |_| {}).unwrap();
    let all = iam.decisions().read(0, 10_000).unwrap();
    all.into_iter().filter(|row| row.outcome == "denied").collect()
}

fn has(rows: &[Arc<DecisionRecord>], action: &str, resource: &str, reason: &str) -> bool {
    let row = (action, resource, Some(reason));
    rows.iter().any(|found| (found.action.as_str(), found.resource.as_str(), found.reason.as_deref()) == row)
}

async fn join_token(plane: &Plane, node: &str) -> String {
    let request = CreateJoinTokenRequest { node: node.into(), ttl_s: 600 };
    plane.enrollment().create_join_token(with(ADMIN_TOKEN, request)).await.unwrap().into_inner().join_token
}

async fn enroll(plane: &Plane, join_token: &str) -> Result<(), Code> {
    let csr = CertificateParams::default().serialize_request(&KeyPair::generate().unwrap()).unwrap();
    let request = EnrollRequest { join_token: join_token.into(), csr_der: csr.der().to_vec().into() };
    plane.enrollment().enroll(request).await.map(drop).map_err(|status| status.code())
}

async fn oauth(plane: &Plane, form: &str) -> StatusCode {
    let request = Request::post("/oauth2/token").header("content-type", "application/x-www-form-urlencoded");
    let request = request.body(Body::from(format!("grant_type=client_credentials{form}"))).unwrap();
    plane.api().oneshot(request).await.unwrap().status()
}

#[tokio::test]
async fn failures_are_counted_at_every_door() {
    let plane = Plane::start().await;
    let (registry, mut expected) = (metrics(&plane), 0);
    let mut one_more = |what: &str| {
        expected += 1;
        assert_eq!(counted(&registry, "authentication_failures"), expected, "{what}");
    };
    plane.bearer("e30.e30.AAAA").await.unwrap_err();
    one_more("the layer");
    let wrong = "&client_id=HFAK0123456789ABCDEF&client_secret=wrong";
    assert_eq!(oauth(&plane, wrong).await, StatusCode::UNAUTHORIZED);
    one_more("a secret at /oauth2/token");
    let assertion = "&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion=x";
    assert_eq!(oauth(&plane, assertion).await, StatusCode::UNAUTHORIZED);
    one_more("an assertion");
    assert_eq!(plane.iam.login("mira", "wrong", None).await.unwrap_err(), Refusal::Unauthenticated);
    one_more("a login as in etcd");
    assert_eq!(enroll(&plane, "hfjoin").await.unwrap_err(), Code::Unauthenticated);
    one_more("an enrolment");
    assert_eq!(oauth(&plane, "").await, StatusCode::UNAUTHORIZED);
    assert_eq!(counted(&registry, "authentication_failures"), expected, "nothing was shown");
}

#[tokio::test]
async fn a_join_token_that_somebody_else_used_is_an_alarm() {
    let plane = Plane::start().await;
    let (registry, stolen) = (metrics(&plane), join_token(&plane, "pier2").await);
    enroll(&plane, &stolen).await.unwrap();
    assert_eq!(counted(&registry, "join_token_alerts"), 0);
    assert_eq!(enroll(&plane, &stolen).await.unwrap_err(), Code::Unauthenticated);
    assert_eq!(counted(&registry, "join_token_alerts"), 1);
    let next = join_token(&plane, "pier2").await;
    let disable = SetPrincipalRequest { id: "node/pier2".into(), disabled: true, ..Default::default() };
    plane.admin().set_principal(with(ADMIN_TOKEN, disable)).await.unwrap();
    assert_eq!(enroll(&plane, &next).await.unwrap_err(), Code::Unauthenticated);

    let rows = denied(plane).await;
    let of_whom = "the join token of node/pier2 is used again with another key: it may be stolen";
    assert!(has(&rows, "iam.JoinTokenAlert", "node/*", of_whom), "{rows:#?}");
    assert!(has(&rows, "iam.Authenticate", "node/pier2", "join token: the node is disabled"), "{rows:#?}");
}

#[tokio::test]
async fn the_history_says_whose_secret_is_guessed() {
    let plane = Plane::start().await;
    plane.principal("user/mira", "reader").await;
    let create = CreateCredentialRequest { principal: "user/mira".into(), note: String::new() };
    let new = plane.credentials().create(with(ADMIN_TOKEN, create)).await.unwrap().into_inner();
    let id = new.credential.unwrap().access_key_id;
    plane.iam.login("my-secret", "wrong", None).await.unwrap_err();
    for _ in 0..10 {
        plane.iam.login(&id, "wrong", None).await.unwrap_err();
    }
    let rows = denied(plane).await;
    assert!(has(&rows, "iam.Authenticate", "iam/secrets", "wrong access key or secret of user/mira"), "{rows:#?}");
    let alert = "guesses secrets or forges tokens, now of user/mira; slowed down";
    assert!(rows.iter().any(|row| row.action == "iam.GuessAlert" && row.reason.as_deref() == Some(alert)), "{rows:#?}");
    // SHA-256 of what was no access key, which may have been the secret.
    let nobody = "wrong access key or secret of nobody (SHA-256 186ef76e9d6a723e…)";
    assert!(has(&rows, "iam.Authenticate", "iam/secrets", nobody), "{rows:#?}");
    assert!(!format!("{rows:?}").contains("my-secret"));
}
