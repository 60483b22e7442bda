//! Tokens from issue to revocation, and the rotation of the keys that sign them.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::{sync::atomic::Ordering, time::Duration};

use holdfast_proto::iam::{
    AddSigningKeyRequest, CreateCredentialRequest, DisableBootstrapTokenRequest, GetCredentialSecretRequest,
    IntrospectRequest, IssueTokenRequest, ListSigningKeysRequest, RevokeCredentialRequest, RevokeTokenRequest,
    SetPrincipalRequest, SigningKeysResponse, StatusRequest, StepSigningKeyRequest, revoke_token_request::What,
    tokens_client::TokensClient,
};
use iam_ca::{Grant, KeyAlgorithm, OperatorKey, PrivateKey, SignedGrant};
use iam_client::{Authority as _, Identity, PasswordLogin as _, Presented, Refusal};
use iam_server::{BreakGlass, Clock as _, Settings};
use support::{ADMIN_TOKEN, Environment, Plane, TestClock, api, bearer, open, with};
use tempfile::TempDir;
use tonic::Code;

fn states(answer: &SigningKeysResponse) -> Vec<&str> {
    answer.keys.iter().map(|key| key.state.as_str()).collect()
}

#[tokio::test]
async fn a_token_is_good_until_it_expires() {
    let plane = Plane::start().await;
    let token = plane.principal("user/mira", "reader").await;
    let identity = plane.bearer(&token).await.unwrap();
    assert_eq!(
        (identity.principal.to_string().as_str(), identity.roles.as_slice()),
        ("user/mira", &["reader".to_owned()][..])
    );
    let shown =
        plane.tokens().introspect(with(&token, IntrospectRequest { token: token.clone() })).await.unwrap().into_inner();
    assert!(shown.active && shown.spiffe_id == "spiffe://harbour.example/user/mira");
    plane.advance(Duration::from_secs(3600 + 29));
    assert!(plane.bearer(&token).await.is_ok(), "leeway");
    plane.advance(Duration::from_secs(1));
    assert_eq!(plane.bearer(&token).await.unwrap_err(), Refusal::Unauthenticated);
    let shown = plane.tokens().introspect(with(ADMIN_TOKEN, IntrospectRequest { token })).await.unwrap().into_inner();
    assert_eq!(shown, Default::default());
}

#[tokio::test]
async fn tokens_are_issued_to_oneself_or_by_permission() {
    let plane = Plane::start().await;
    let mira = plane.principal("user/mira", "operator").await;
    plane.principal("service/ci", "").await;
    let own = IssueTokenRequest { principal: String::new(), ttl_s: 60 };
    assert!(plane.tokens().issue(with(&mira, own)).await.is_ok());
    let others = IssueTokenRequest { principal: "service/ci".into(), ttl_s: 0 };
    let denied = plane.tokens().issue(with(&mira, others)).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert_eq!(denied.message(), "not permitted: iam.IssueToken on service/ci");
    let long = IssueTokenRequest { principal: String::new(), ttl_s: 86_401 };
    assert_eq!(plane.tokens().issue(with(&mira, long)).await.unwrap_err().code(), Code::InvalidArgument);
    let ghost = IssueTokenRequest { principal: "user/ghost".into(), ttl_s: 0 };
    assert_eq!(plane.tokens().issue(with(ADMIN_TOKEN, ghost)).await.unwrap_err().code(), Code::NotFound);
    let nobody = IssueTokenRequest::default();
    assert_eq!(plane.tokens().issue(with(ADMIN_TOKEN, nobody)).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn revocation_and_disabling_work_at_once() {
    let plane = Plane::start().await;
    let first = plane.principal("user/mira", "").await;
    let second = plane.token("user/mira").await;
    let jti = plane.bearer(&first).await.unwrap().token_id.unwrap();
    let revoke = |what| with(ADMIN_TOKEN, RevokeTokenRequest { what: Some(what), wait_s: 0 });
    assert!(plane.tokens().revoke(revoke(What::Jti(jti))).await.unwrap().into_inner().revision > 0);
    assert_eq!(plane.bearer(&first).await.unwrap_err(), Refusal::Unauthenticated);
    assert!(plane.bearer(&second).await.is_ok());
    plane.tokens().revoke(revoke(What::Principal("user/mira".into()))).await.unwrap();
    assert_eq!(plane.bearer(&second).await.unwrap_err(), Refusal::Unauthenticated);
    let third = plane.token("user/mira").await;
    assert!(plane.bearer(&third).await.is_ok(), "issued after the revocation, in the same second");
    let disable = SetPrincipalRequest { id: "user/mira".into(), disabled: true, ..Default::default() };
    plane.admin().set_principal(with(ADMIN_TOKEN, disable)).await.unwrap();
    assert_eq!(plane.bearer(&third).await.unwrap_err(), Refusal::Unauthenticated);
}

/// What a session of SQL does before each statement.
#[tokio::test]
async fn an_identity_ends_with_what_established_it() {
    let plane = Plane::start().await;
    let may = |identity: &Identity| plane.iam.authorize(identity, "history.Read", "history/*");
    let token = plane.principal("user/mira", "auditor").await;
    let new = plane.credentials().create(with(&token, CreateCredentialRequest::default())).await.unwrap().into_inner();
    let (key, secret) = (new.credential.unwrap().access_key_id, new.secret);
    let presented = Presented { basic: Some((key.clone(), secret)), ..Presented::default() };
    let by_key = plane.iam.authenticate(presented).await.unwrap();
    let by_token = plane.bearer(&token).await.unwrap();
    assert_eq!((may(&by_key), may(&by_token)), (Ok(()), Ok(())));
    let revoke = RevokeCredentialRequest { access_key_id: key, force: true };
    plane.credentials().revoke(with(&token, revoke)).await.unwrap();
    assert_eq!((may(&by_key), may(&by_token)), (Err(Refusal::Unauthenticated), Ok(())));
    let later = plane.bearer(&plane.token("user/mira").await).await.unwrap();
    let jti = What::Jti(by_token.token_id.clone().unwrap());
    plane.tokens().revoke(with(ADMIN_TOKEN, RevokeTokenRequest { what: Some(jti), wait_s: 0 })).await.unwrap();
    assert_eq!((may(&by_token), may(&later)), (Err(Refusal::Unauthenticated), Ok(())));
    let bootstrap = plane.bearer(ADMIN_TOKEN).await.unwrap();
    plane.advance(Duration::from_secs(3600 + 30));
    assert_eq!((may(&later), may(&bootstrap)), (Err(Refusal::Unauthenticated), Ok(())));
    let other = plane.bearer(&plane.token("user/mira").await).await.unwrap();
    let disable = SetPrincipalRequest { id: "user/mira".into(), disabled: true, ..Default::default() };
    plane.admin().set_principal(with(ADMIN_TOKEN, disable)).await.unwrap();
    assert_eq!(may(&other), Err(Refusal::Unauthenticated));
}

#[tokio::test]
async fn what_a_token_issued_to_itself_ends_with_it() {
    let plane = Plane::start().await;
    let parent = plane.principal("user/mira", "").await;
    let issue = |token: &str, ttl_s| with(token, IssueTokenRequest { principal: String::new(), ttl_s });
    plane.advance(Duration::from_secs(1800));
    let child = plane.tokens().issue(issue(&parent, 7200)).await.unwrap().into_inner();
    let parents = plane.bearer(&parent).await.unwrap();
    let parents = parents.claims().unwrap();
    assert_eq!(child.expires_ms, parents.exp * 1000);
    let grandchild = plane.tokens().issue(issue(&child.token, 60)).await.unwrap_err();
    assert_eq!(grandchild.code(), Code::PermissionDenied);
    let sibling = plane.token("user/mira").await;
    let revoke = RevokeTokenRequest { what: Some(What::Jti(parents.jti.clone())), wait_s: 0 };
    plane.tokens().revoke(with(ADMIN_TOKEN, revoke)).await.unwrap();
    assert_eq!(plane.bearer(&child.token).await.unwrap_err(), Refusal::Unauthenticated);
    assert!(plane.bearer(&sibling).await.is_ok());
}

#[tokio::test]
async fn access_keys_end_with_the_token_that_made_them() {
    let plane = Plane::start().await;
    let (first, second) = (plane.principal("user/mira", "").await, plane.token("user/mira").await);
    let create = |token: &str, principal: &str| {
        with(token, CreateCredentialRequest { principal: principal.into(), note: String::new() })
    };
    let key = async |request| {
        let new = plane.credentials().create(request).await.unwrap().into_inner();
        (new.credential.unwrap().access_key_id, new.secret)
    };
    let (granted, by_first, by_second) =
        (key(create(ADMIN_TOKEN, "user/mira")).await, key(create(&first, "")).await, key(create(&second, "")).await);
    let login = async |key: &(String, String)| plane.iam.login(&key.0, &key.1, None).await.is_ok();

    let issue = IssueTokenRequest { principal: String::new(), ttl_s: 0 };
    let child = plane.tokens().issue(with(&first, issue)).await.unwrap().into_inner().token;
    assert_eq!(plane.credentials().create(create(&child, "")).await.unwrap_err().code(), Code::PermissionDenied);
    let read = |key: &(String, String)| with(&first, GetCredentialSecretRequest { access_key_id: key.0.clone() });
    assert!(plane.credentials().get_credential_secret(read(&by_first)).await.is_ok());
    let stolen = plane.credentials().get_credential_secret(read(&granted)).await.unwrap_err();
    assert_eq!(stolen.code(), Code::PermissionDenied, "a token is no way to a secret that outlives it");

    let jti = plane.bearer(&first).await.unwrap().token_id.unwrap();
    let revoke = |what| with(ADMIN_TOKEN, RevokeTokenRequest { what: Some(what), wait_s: 0 });
    plane.tokens().revoke(revoke(What::Jti(jti))).await.unwrap();
    assert_eq!((login(&granted).await, login(&by_first).await, login(&by_second).await), (true, false, true));
    plane.tokens().revoke(revoke(What::Principal("user/mira".into()))).await.unwrap();
    assert_eq!((login(&granted).await, login(&by_second).await), (true, false));
}

/// A server whose clock is ahead issues what another one revokes a moment later.
#[tokio::test]
async fn a_revocation_needs_no_clock() {
    let plane = Plane::start().await;
    plane.principal("user/mira", "reader").await;
    let (ahead, folder) = (TestClock::new(), TempDir::new().unwrap());
    ahead.now_ms.fetch_add(25_000, Ordering::Relaxed);
    let (iam, running) = open(&plane.store, &ahead, folder.path(), &Environment::default(), |_| {}).unwrap();
    iam.settled().await;
    let issue = || IssueTokenRequest { principal: "user/mira".into(), ttl_s: 0 };
    let mut other = TokensClient::new(api(&iam));
    let early = other.issue(with(ADMIN_TOKEN, issue())).await.unwrap().into_inner().token;
    assert!(plane.bearer(&early).await.is_ok());
    let revoke = RevokeTokenRequest { what: Some(What::Principal("user/mira".into())), ..Default::default() };
    plane.tokens().revoke(with(ADMIN_TOKEN, revoke)).await.unwrap();
    assert_eq!(plane.bearer(&early).await.unwrap_err(), Refusal::Unauthenticated);
    assert_eq!(bearer(&iam, &early).await.unwrap_err(), Refusal::Unauthenticated);
    // In the same second, by the server whose clock is behind, and good everywhere.
    let late = plane.tokens().issue(with(ADMIN_TOKEN, issue())).await.unwrap().into_inner().token;
    assert!(plane.bearer(&late).await.is_ok() && bearer(&iam, &late).await.is_ok());
    running.end().await;
}

#[tokio::test]
async fn only_admins_revoke_what_is_not_theirs() {
    let plane = Plane::start().await;
    let (mira, noor) = (plane.principal("user/mira", "operator").await, plane.principal("user/noor", "").await);
    let jti = plane.bearer(&noor).await.unwrap().token_id.unwrap();
    for what in [What::Jti(jti.clone()), What::Principal("user/noor".into())] {
        let request = with(&mira, RevokeTokenRequest { what: Some(what), wait_s: 0 });
        assert_eq!(plane.tokens().revoke(request).await.unwrap_err().code(), Code::PermissionDenied);
    }
    plane.tokens().revoke(with(&noor, RevokeTokenRequest { what: Some(What::Jti(jti)), wait_s: 0 })).await.unwrap();
    assert!(plane.bearer(&noor).await.is_err());
    for what in [None, Some(What::Jti("../x".into())), Some(What::Principal("x".into()))] {
        let request = with(ADMIN_TOKEN, RevokeTokenRequest { what, wait_s: 0 });
        assert_eq!(plane.tokens().revoke(request).await.unwrap_err().code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn signing_keys_rotate_with_overlap() {
    let plane = Plane::start().await;
    let old = plane.principal("user/mira", "").await;
    let rehearsal = AddSigningKeyRequest { dry_run: true, ..Default::default() };
    plane.admin().add_signing_key(with(ADMIN_TOKEN, rehearsal)).await.unwrap();
    let add = AddSigningKeyRequest { algorithm: "ES256".into(), ..Default::default() };
    let added = plane.admin().add_signing_key(with(ADMIN_TOKEN, add)).await.unwrap().into_inner();
    assert_eq!(states(&added), ["active", "pending"]);
    let (first, second) = (added.keys[0].kid.clone(), added.kid.clone());
    let step = |kid: &str| with(ADMIN_TOKEN, StepSigningKeyRequest { kid: kid.into(), ..Default::default() });

    let early = plane.admin().activate_signing_key(step(&second)).await.unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition);
    assert!(early.message().contains("pending") && early.message().contains("in 300 s"), "{}", early.message());
    plane.advance(Duration::from_secs(300));
    let stale = StepSigningKeyRequest { kid: second.clone(), expected_revision: 1, ..Default::default() };
    assert_eq!(plane.admin().activate_signing_key(with(ADMIN_TOKEN, stale)).await.unwrap_err().code(), Code::Aborted);
    let active = plane.admin().activate_signing_key(step(&second)).await.unwrap().into_inner();
    assert_eq!(states(&active), ["verify-only", "active"]);
    let again = plane.admin().activate_signing_key(step(&second)).await.unwrap().into_inner();
    assert_eq!(again.revision, active.revision, "repeating changes nothing");

    let new = plane.token("user/mira").await;
    for token in [&old, &new] {
        assert!(plane.bearer(token).await.is_ok(), "the overlap");
    }
    let header = |token: &str| token.split('.').next().unwrap().to_owned();
    assert_ne!(header(&old), header(&new));

    let early = plane.admin().retire_signing_key(step(&first)).await.unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition);
    plane.advance(Duration::from_secs(24 * 3600 + 300 + 30));
    plane.admin().retire_signing_key(step(&first)).await.unwrap();
    assert_eq!(plane.admin().purge_signing_key(step(&first)).await.unwrap_err().code(), Code::FailedPrecondition);
    plane.advance(Duration::from_secs(24 * 3600));
    plane.admin().purge_signing_key(step(&first)).await.unwrap();
    plane.admin().purge_signing_key(step(&first)).await.unwrap();
    let left = plane.admin().list_signing_keys(with(ADMIN_TOKEN, ListSigningKeysRequest {})).await.unwrap();
    assert_eq!(states(left.get_ref()), ["active"]);
    assert!(plane.bearer(&plane.token("user/mira").await).await.is_ok());
}

#[tokio::test]
async fn a_retired_key_voids_tokens_that_were_seen_before() {
    let plane = Plane::start().await;
    let token = plane.principal("user/mira", "").await;
    assert!(plane.bearer(&token).await.is_ok());
    let added = plane.admin().add_signing_key(with(ADMIN_TOKEN, Default::default())).await.unwrap().into_inner();
    let now = StepSigningKeyRequest { kid: added.kid, now: true, ..Default::default() };
    plane.admin().activate_signing_key(with(ADMIN_TOKEN, now)).await.unwrap();
    plane.advance(Duration::from_secs(24 * 3600 + 330));
    let first = StepSigningKeyRequest { kid: added.keys[0].kid.clone(), ..Default::default() };
    plane.admin().retire_signing_key(with(ADMIN_TOKEN, first)).await.unwrap();
    assert_eq!(plane.bearer(&token).await.unwrap_err(), Refusal::Unauthenticated);
}

#[tokio::test]
async fn the_bootstrap_token_ends_for_good() {
    let plane = Plane::start().await;
    let mira = plane.principal("user/mira", "admin").await;
    let disable = DisableBootstrapTokenRequest { reason: "mira is an admin".into() };
    let itself = plane.admin().disable_bootstrap_token(with(ADMIN_TOKEN, disable.clone())).await.unwrap_err();
    assert_eq!(itself.code(), Code::FailedPrecondition, "nobody locks everybody out");
    let create = |principal: &str| CreateCredentialRequest { principal: principal.into(), note: String::new() };
    for of in ["user/noor", "user/sol"] {
        plane.principal(of, if of == "user/sol" { "admin" } else { "reader" }).await;
        plane.credentials().create(with(ADMIN_TOKEN, create(of))).await.unwrap();
    }
    let sol = SetPrincipalRequest { id: "user/sol".into(), disabled: true, ..Default::default() };
    plane.admin().set_principal(with(ADMIN_TOKEN, sol)).await.unwrap();
    let alone = plane.admin().disable_bootstrap_token(with(&mira, disable.clone())).await.unwrap_err();
    assert_eq!(alone.code(), Code::FailedPrecondition, "a token ends, a reader is no admin, and sol may not act");
    assert!(alone.message().contains("florctl iam credential create"), "{}", alone.message());
    plane.credentials().create(with(&mira, create("user/mira"))).await.unwrap();
    plane.admin().disable_bootstrap_token(with(&mira, disable.clone())).await.unwrap();
    plane.admin().disable_bootstrap_token(with(&mira, disable)).await.unwrap();
    assert_eq!(plane.bearer(ADMIN_TOKEN).await.unwrap_err(), Refusal::Unauthenticated);
    let status = plane.admin().status(with(&mira, StatusRequest {})).await.unwrap().into_inner();
    assert!(!status.bootstrap_token_enabled && status.state == "ready");
}

/// It ends with its four hours, and would leave nobody behind.
#[tokio::test]
async fn a_grant_for_an_emergency_does_not_disable_the_bootstrap_token() {
    let operator = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap();
    let keys = vec![OperatorKey::from_pem(&operator.public_pem()).unwrap()];
    let opens = |settings: &mut Settings| settings.break_glass = Some(BreakGlass { keys, threshold: 1 });
    let plane = Plane::set_up(Environment::default(), opens).await;
    plane.principal("user/mira", "admin").await;
    let key = CreateCredentialRequest { principal: "user/mira".into(), note: String::new() };
    plane.credentials().create(with(ADMIN_TOKEN, key)).await.unwrap();
    let grant = Grant {
        id: "0011".into(),
        trust_domain: "harbour.example".into(),
        server: None,
        roles: vec!["admin".into()],
        reason: "the quorum is lost".into(),
        not_before_ms: plane.clock.now_ms(),
        not_after_ms: plane.clock.now_ms() + 3_600_000,
    };
    let mut signed = SignedGrant::new(&grant).unwrap();
    signed.sign(&operator).unwrap();
    let disable = DisableBootstrapTokenRequest { reason: "an emergency".into() };
    let refused = plane.admin().disable_bootstrap_token(with(&signed.text(), disable)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(plane.bearer(ADMIN_TOKEN).await.is_ok());
}

#[tokio::test]
async fn guessers_are_slowed_down_and_tokens_are_not() {
    let plane = Plane::start().await;
    let token = plane.principal("user/mira", "reader").await;
    let request = || StatusRequest {};
    for _ in 0..10 {
        let wrong = plane.admin().status(with("a-wrong-guess", request())).await.unwrap_err();
        assert_eq!((wrong.code(), wrong.message()), (Code::Unauthenticated, "authentication failed"));
    }
    let slowed = plane.admin().status(with("a-wrong-guess", request())).await.unwrap_err();
    assert_eq!(slowed.code(), Code::ResourceExhausted);
    assert_eq!(plane.admin().status(with(ADMIN_TOKEN, request())).await.unwrap_err().code(), Code::ResourceExhausted);
    assert!(plane.admin().status(with(&token, request())).await.is_ok());
    plane.advance(Duration::from_secs(1));
    assert!(plane.admin().status(with(ADMIN_TOKEN, request())).await.is_ok());
}

#[tokio::test]
async fn forgers_are_slowed_down_and_old_tokens_are_not() {
    let plane = Plane::start().await;
    let (token, old) = (plane.principal("user/mira", "reader").await, plane.token("user/mira").await);
    let jti = plane.bearer(&old).await.unwrap().token_id.unwrap();
    plane
        .tokens()
        .revoke(with(ADMIN_TOKEN, RevokeTokenRequest { what: Some(What::Jti(jti)), wait_s: 0 }))
        .await
        .unwrap();
    let status =
        async |token: &str| plane.admin().status(with(token, StatusRequest {})).await.map_err(|error| error.code());
    for _ in 0..20 {
        assert_eq!(status(&old).await.unwrap_err(), Code::Unauthenticated);
    }
    let (header, rest) = token.split_once('.').unwrap();
    let flipped = if rest.ends_with('A') { "Q" } else { "A" };
    let forged = format!("{header}.{}{flipped}", &rest[..rest.len() - 1]);
    for _ in 0..10 {
        assert_eq!(status(&forged).await.unwrap_err(), Code::Unauthenticated);
    }
    assert_eq!(status(&forged).await.unwrap_err(), Code::Unauthenticated, "one answer, however often");
    assert_eq!(status("a-wrong-guess").await.unwrap_err(), Code::ResourceExhausted);
    assert!(status(&token).await.is_ok(), "who has a good one is not held up");
}
