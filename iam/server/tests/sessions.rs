//! Open connections end with those who are behind them.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use holdfast_proto::iam::{RevokeTokenRequest, SetPrincipalRequest, revoke_token_request::What};
use support::{ADMIN_TOKEN, Plane, node::Node, open::Open, with};

async fn set_principal(plane: &Plane, id: &str, disabled: bool) {
    let request = SetPrincipalRequest { id: id.into(), disabled, ..Default::default() };
    plane.admin().set_principal(with(ADMIN_TOKEN, request)).await.unwrap();
}

#[tokio::test]
async fn a_disabled_principal_is_cut_and_others_are_not() {
    let plane = Plane::start().await;
    let (mira, noor) = (plane.principal("user/mira", "reader").await, plane.principal("user/noor", "reader").await);
    let [mut of_mira, mut of_noor, mut of_both] =
        [Open::to(&plane, vec![]).await, Open::to(&plane, vec![]).await, Open::to(&plane, vec![]).await];
    assert!(of_mira.is_known(Some(&mira)).await && of_noor.is_known(Some(&noor)).await);
    assert!(of_both.is_known(Some(&mira)).await && of_both.is_known(Some(&noor)).await);
    set_principal(&plane, "user/mira", true).await;
    assert!(of_mira.ends().await);
    assert!(of_noor.is_known(Some(&noor)).await && !of_noor.is_known(Some(&mira)).await);
    assert!(of_both.is_known(Some(&noor)).await, "a proxy's connection stays for its other callers");
    set_principal(&plane, "user/noor", true).await;
    assert!(of_noor.ends().await && of_both.ends().await);
}

#[tokio::test]
async fn a_revoked_token_takes_its_connection_along() {
    let plane = Plane::start().await;
    let token = plane.principal("service/ci", "reader").await;
    let mut open = Open::to(&plane, vec![]).await;
    assert!(open.is_known(Some(&token)).await);
    let jti = plane.bearer(&token).await.unwrap().token_id.unwrap();
    let what = Some(What::Jti(jti));
    plane.tokens().revoke(with(ADMIN_TOKEN, RevokeTokenRequest { what, wait_s: 0 })).await.unwrap();
    assert!(open.ends().await);
}

#[tokio::test]
async fn a_certificate_s_connection_ends_with_its_principal_whatever_else_is_sent_on_it() {
    let plane = Plane::start().await;
    let mira = plane.principal("user/mira", "reader").await;
    let chain = Node::enroll(&plane, "pier2").await.chain;
    let mut open = Open::to(&plane, chain).await;
    assert!(open.is_known(None).await && open.is_known(Some(&mira)).await);
    set_principal(&plane, "node/pier2", true).await;
    assert!(open.ends().await);
}

#[tokio::test]
async fn who_may_do_nothing_is_cut_all_the_same() {
    let plane = Plane::start().await;
    let token = plane.principal("user/mira", "").await;
    let mut open = Open::to(&plane, vec![]).await;
    assert!(open.is_denied(&token).await);
    set_principal(&plane, "user/mira", true).await;
    assert!(open.ends().await);
}
