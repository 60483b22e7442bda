//! What has brought other identity servers down, tried on this one.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{body::Body, response::Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use holdfast_proto::iam::{
    AllowRequest, AuthorizeRequest, CheckRequest, CreateCredentialRequest, CreatePrincipalRequest, DenyRequest,
    IntrospectRequest, ListEnrollmentsRequest, RenewRequest, StatusRequest, admin_client::AdminClient,
    authz_client::AuthzClient, enrollment_server::Enrollment,
};
use http::{Request, StatusCode};
use iam_client::{Authority as _, Presented, Refusal};
use iam_server::Iam;
use prometheus_client::{encoding::text::encode, registry::Registry};
use rcgen::{CertificateParams, KeyPair};
use support::{ADMIN_TOKEN, Environment, Plane, api, bearer, node::Node, open, open::Open, with};
use tokio::time::{sleep, timeout};
use tonic::Code;
use tower::ServiceExt as _;

/// The files of a decision log.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("decisions")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "decisions")).collect();
    found.sort();
    found
}

fn metric(iam: &Iam, name: &str) -> f64 {
    let (mut registry, mut text) = (Registry::default(), String::new());
    iam.register_metrics(&mut registry);
    encode(&mut text, &registry).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

/// Within the few seconds that anything here may take.
async fn soon(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waited = timeout(Duration::from_secs(20), async {
        while !condition().await {
            sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what} does not happen"));
}

#[tokio::test]
async fn a_deleted_decision_log_is_noticed_and_nothing_is_lost() {
    let plane = Plane::start().await;
    plane.principal("user/mira", "reader").await;
    let before = plane.iam.decisions().read(0, 10_000).unwrap();
    let name = "holdfast_iam_decision_log_displaced_files_total";
    assert!(metric(&plane.iam, name) == 0.0 && plane.iam.status().unwrap().warnings.is_empty());

    // While nobody does anything, and not a single record is lost meanwhile.
    fs::remove_file(&segments(plane.folder.path())[0]).unwrap();
    soon("a word about it", async || metric(&plane.iam, name) == 1.0).await;
    let warnings = plane.admin().status(with(ADMIN_TOKEN, StatusRequest {})).await.unwrap().into_inner().warnings;
    assert!(
        warnings.iter().any(|warning| warning.contains("was deleted; its records are written anew")),
        "{warnings:?}"
    );
    plane.token("user/mira").await;
    assert_eq!(segments(plane.folder.path()).len(), 2, "writing goes on in a new file");

    // The moment before an answer: it does not go out before its record is in a file that is there.
    fs::remove_file(&segments(plane.folder.path())[1]).unwrap();
    plane.token("user/mira").await;
    assert_eq!(metric(&plane.iam, name), 2.0);

    let Plane { store, clock, folder, iam, running } = plane;
    running.end().await;
    let written = iam.decisions().read(0, 10_000).unwrap();
    drop(iam);
    let (iam, running) = open(&store, &clock, folder.path(), &Environment::default(), |_| {}).unwrap();
    iam.settled().await;
    let found = iam.decisions().read(0, 10_000).unwrap();
    assert_eq!((&found[..before.len()], &found[..written.len()]), (&before[..], &written[..]));
    assert!(found.iter().enumerate().all(|(index, record)| record.sequence == index as u64 + 1), "no gap");
    let rows = found.iter().filter(|record| record.action == "iam.DecisionLogDisplaced");
    assert_eq!(rows.count(), 2);
    running.end().await;
}

/// What needs no record of its own goes on: who has a token is known, decisions are made, state is read and changed. What
/// changes state is recorded in the change itself.
async fn the_rest_goes_on(iam: &Iam, token: &str, new: &str) {
    let identity = bearer(iam, token).await.unwrap();
    assert_eq!(iam.authorize(&identity, "cluster.Read", "cluster/iam"), Ok(()));
    let question = AuthorizeRequest { principal: String::new(), action: "kv.Read".into(), resource: "keys/*".into() };
    assert!(AuthzClient::new(api(iam)).authorize(with(token, question)).await.is_ok());
    assert!(AdminClient::new(api(iam)).status(with(token, StatusRequest {})).await.is_ok());
    let create = CreatePrincipalRequest { id: new.into(), ..CreatePrincipalRequest::default() };
    assert!(AdminClient::new(api(iam)).create_principal(with(token, create)).await.is_ok());
}

/// vault#18943: nothing takes the records away any more.
#[tokio::test]
async fn a_full_decision_log_refuses_logins_until_it_is_shipped() {
    let plane = Plane::start().await;
    let token = plane.principal("user/mira", "admin").await;
    let folder = plane.folder.path().join("small");
    let environment = Environment::default();
    let (small, running) =
        open(&plane.store, &plane.clock, &folder, &environment, |settings| settings.decision_budget = 300).unwrap();
    small.settled().await;
    assert!(bearer(&small, ADMIN_TOKEN).await.is_ok());
    let refusal = bearer(&small, ADMIN_TOKEN).await.unwrap_err();
    assert!(matches!(&refusal, Refusal::Unavailable(text) if text.contains("its budget is 300")), "{refusal}");
    the_rest_goes_on(&small, &token, "user/noor").await;

    let newest = small.status().unwrap().decisions.newest;
    small.decisions().shipped(newest).unwrap();
    assert!(bearer(&small, ADMIN_TOKEN).await.is_ok(), "as soon as there is room");
    assert_eq!(small.status().unwrap().decisions.newest, newest + 1);
    running.end().await;
}

/// A file system in memory with room for little; none where that needs rights that the test does not have.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(at).status();
        let mounted = mounted.is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("SKIPPED: a file system in memory cannot be mounted here");
        }
        mounted.then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

/// vault#5361: the place where the records go takes nothing.
#[tokio::test]
async fn a_decision_log_that_cannot_be_written_heals_by_itself() {
    let plane = Plane::start().await;
    let token = plane.principal("user/mira", "admin").await;
    let folder = plane.folder.path().join("small");
    let Some(disk) = SmallDisk::mount(&folder.join("decisions")) else { return };
    let (small, running) = open(&plane.store, &plane.clock, &folder, &Environment::default(), |_| {}).unwrap();
    small.settled().await;
    assert!(bearer(&small, ADMIN_TOKEN).await.is_ok());
    let filler = disk.0.join("filler");
    fs::write(&filler, [0; 64 << 10]).unwrap_err();

    // What is left of the file's last page takes some.
    let mut refusal = None;
    for _ in 0..100 {
        refusal = bearer(&small, ADMIN_TOKEN).await.err();
        if refusal.is_some() {
            break;
        }
    }
    let refusal = refusal.unwrap();
    assert!(matches!(&refusal, Refusal::Unavailable(text) if text.contains("No space left on device")), "{refusal}");
    assert_eq!(metric(&small, "holdfast_iam_decision_log_failed"), 1.0);
    the_rest_goes_on(&small, &token, "user/noor").await;

    let newest = small.status().unwrap().decisions.newest;
    fs::remove_file(&filler).unwrap();
    soon("a login", async || bearer(&small, ADMIN_TOKEN).await.is_ok()).await;
    let found = small.decisions().read(0, 10_000).unwrap();
    assert_eq!(found.len() as u64, newest + 1);
    assert!(found.iter().enumerate().all(|(index, record)| record.sequence == index as u64 + 1), "no gap");
    running.end().await;
}

/// One question about `token`, as OAuth2 has it.
async fn introspect(iam: &Iam, authorization: &str, token: &str) -> Response {
    let request = Request::post("/oauth2/introspect")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", authorization)
        .body(Body::from(format!("token={token}")));
    api(iam).oneshot(request.unwrap()).await.unwrap()
}

/// An access key of the token's owner, and what it is as HTTP Basic.
async fn access_key(plane: &Plane, token: &str) -> (String, String, String) {
    let new = plane.credentials().create(with(token, CreateCredentialRequest::default())).await.unwrap().into_inner();
    let (id, secret) = (new.credential.unwrap().access_key_id, new.secret);
    let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    (id, secret, basic)
}

/// zitadel#8479: who asks about tokens most has a share, and the others theirs.
#[tokio::test]
async fn introspection_is_bounded_for_each_client() {
    let plane = Plane::start().await;
    let (greedy, modest) = (plane.principal("service/greedy", "").await, plane.principal("service/modest", "").await);
    let (_, _, basic) = access_key(&plane, &greedy).await;
    let bearer = format!("Bearer {greedy}");
    for _ in 0..100 {
        assert_eq!(introspect(&plane.iam, &bearer, &modest).await.status(), StatusCode::OK);
        let ask = with(&greedy, IntrospectRequest { token: modest.clone() });
        assert!(plane.tokens().introspect(ask).await.unwrap().into_inner().active);
    }
    let recorded = plane.iam.decisions().read(0, 10_000).unwrap().len();
    for authorization in [&bearer, &basic] {
        let refused = introspect(&plane.iam, authorization, &modest).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.headers()["retry-after"], "1");
    }
    let ask = with(&greedy, IntrospectRequest { token: modest.clone() });
    let refused = plane.tokens().introspect(ask).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(refused.metadata().get("retry-after").unwrap(), "1");
    assert_eq!(
        plane.iam.decisions().read(0, 10_000).unwrap().len(),
        recorded,
        "no login for a question that has no turn"
    );
    assert_eq!(metric(&plane.iam, "holdfast_iam_introspections_refused_total"), 3.0);

    assert_eq!(introspect(&plane.iam, &format!("Bearer {modest}"), &greedy).await.status(), StatusCode::OK);
    plane.clock.steady_ms.fetch_add(1000, Ordering::Relaxed);
    let mut passed = 0;
    while introspect(&plane.iam, &basic, &modest).await.status() == StatusCode::OK {
        passed += 1;
    }
    assert_eq!(passed, 100, "those of a second");
}

/// zitadel#8479: what an address sends without proof is not looked at without end either.
#[tokio::test]
async fn introspection_without_proof_is_bounded_by_address() {
    let plane = Plane::start().await;
    let mut looked_at = 0;
    while introspect(&plane.iam, "Bearer eyJhbGciOiJub25lIn0.e30.", "x").await.status() == StatusCode::UNAUTHORIZED {
        looked_at += 1;
    }
    assert_eq!(looked_at, 2000);
}

/// zitadel#8479: with the flood running, those who log in, decide and verify do not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_and_decisions_go_on_while_somebody_floods() {
    let plane = Plane::start().await;
    let (greedy, mira) = (plane.principal("service/greedy", "").await, plane.principal("user/mira", "admin").await);
    let (id, secret, _) = access_key(&plane, &mira).await;
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let flood: Vec<_> = (0..8)
        .map(|_| {
            let (iam, greedy, stop, asked) = (plane.iam.clone(), greedy.clone(), Arc::clone(&stop), Arc::clone(&asked));
            tokio::spawn(async move {
                let mut answered = 0;
                while !stop.load(Ordering::Relaxed) {
                    let status = introspect(&iam, &format!("Bearer {greedy}"), &greedy).await.status();
                    answered += u64::from(status == StatusCode::OK);
                    asked.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
                answered
            })
        })
        .collect();
    soon("a flood", async || asked.load(Ordering::Relaxed) > 1000).await;
    let mut slowest = Duration::ZERO;
    for number in 0..20 {
        let begun = Instant::now();
        let basic = Some((id.clone(), secret.clone()));
        let identity = plane.iam.authenticate(Presented { basic, ..Presented::default() }).await.unwrap();
        assert_eq!(plane.iam.authorize(&identity, "iam.Admin", "iam/*"), Ok(()));
        the_rest_goes_on(&plane.iam, &mira, &format!("user/new-{number}")).await;
        slowest = slowest.max(begun.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    let mut answered = 0;
    for task in flood {
        answered += task.await.unwrap();
    }
    let asked = asked.load(Ordering::Relaxed);
    println!("{answered} of {asked} questions were answered; the slowest of the others took {slowest:?}");
    assert_eq!(answered, 200, "the clock stands still");
    assert!(asked > 1000 && slowest < Duration::from_secs(5), "{asked} questions, {slowest:?}");
}

/// smallstep/certificates#319: a thief renews what he has stolen before anybody notices.
#[tokio::test]
async fn what_a_thief_renewed_is_denied_with_what_he_stole() {
    let plane = Plane::start().await;
    let (stolen, other) = (Node::enroll(&plane, "pier1").await, Node::enroll(&plane, "pier2").await);
    let renewed = async |node: &Node| {
        let csr = CertificateParams::default().serialize_request(&KeyPair::generate().unwrap()).unwrap();
        let mut renew = tonic::Request::new(RenewRequest { csr_der: csr.der().to_vec().into() });
        renew.extensions_mut().insert(node.identity(&plane).await.unwrap());
        let answer = Enrollment::renew(&plane.iam, renew).await.unwrap().into_inner();
        Node { chain: answer.certificate_chain.iter().map(|der| der.to_vec()).collect(), bundle: Vec::new() }
    };
    let child = renewed(&stolen).await;
    plane.advance(Duration::from_secs(16 * 3600));
    let grandchild = renewed(&child).await;
    let neighbour = renewed(&other).await;
    let serial = async |node: &Node| {
        let check = CheckRequest { certificate_chain: vec![node.chain[0].clone().into()] };
        plane.trust().check(with(ADMIN_TOKEN, check)).await.unwrap().into_inner().serial
    };
    let stolen_serial = serial(&stolen).await;

    // The one that was stolen has ended meanwhile, and the node has renewed that often that nothing is known of it.
    plane.advance(Duration::from_secs(9 * 3600));
    renewed(&grandchild).await;
    assert!(stolen.identity(&plane).await.is_err() && grandchild.identity(&plane).await.is_ok());
    let mut open = Open::to(&plane, grandchild.chain.clone()).await;
    assert!(open.is_known(None).await);
    let deny = DenyRequest { serial: stolen_serial.clone(), reason: "the disk was sold".into() };
    plane.trust().deny(with(ADMIN_TOKEN, deny)).await.unwrap();
    assert!(open.ends().await);
    assert_eq!(grandchild.identity(&plane).await.unwrap_err(), Refusal::Unauthenticated);
    assert!(neighbour.identity(&plane).await.is_ok(), "of another enrolment");
    let listed = plane.enrollment().list_enrollments(with(ADMIN_TOKEN, ListEnrollmentsRequest::default())).await;
    let (of_line, others): (Vec<_>, Vec<_>) =
        listed.unwrap().into_inner().enrollments.into_iter().partition(|one| one.node == "pier1");
    assert!(of_line.len() >= 2 && of_line.iter().all(|one| one.revoked == "the disk was sold"), "{of_line:?}");
    assert!(others.iter().all(|one| one.revoked.is_empty()));

    let back = Node::enroll(&plane, "pier1").await;
    assert!(back.identity(&plane).await.is_ok(), "a new enrolment begins another line");
    plane.trust().allow(with(ADMIN_TOKEN, AllowRequest { serial: stolen_serial })).await.unwrap();
    assert!(grandchild.identity(&plane).await.is_ok());
}

/// The table of the design names tests that are there.
#[test]
fn every_lesson_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let design = fs::read_to_string(root.join("iam/DESIGN.md")).unwrap();
    let (_, table) = design.split_once("## What others learnt the hard way").unwrap();
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with("| ") && line.contains('#')).collect();
    assert_eq!(rows.len(), 12, "vault thrice, and keycloak with spire");
    for row in rows {
        let shown = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for proof in shown.split("; ") {
            let (file, names) = proof.split_once(": ").unwrap_or_else(|| panic!("no file: {proof}"));
            let source = fs::read_to_string(root.join(file.trim_matches('`'))).unwrap_or_else(|_| panic!("no {file}"));
            for name in names.split(", ") {
                assert!(source.contains(&format!("fn {}()", name.trim_matches('`'))), "{file} has no {name}");
            }
        }
    }
}
