//! Open connections end with those who are behind them.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Extension, body::Body};
use holdfast_proto::iam::{
    CreateJoinTokenRequest, EnrollRequest, RevokeTokenRequest, SetPrincipalRequest, revoke_token_request::What,
};
use holdfast_rpc::{Connection, Limits};
use holdfast_service::Stop;
use http::{Request, StatusCode};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair};
use support::{ADMIN_TOKEN, Plane, with};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

/// How soon a connection is to be closed.
const SOON: Duration = Duration::from_secs(1);

/// A door of the plane, and a connection to it.
struct Open {
    sender: SendRequest<Body>,
    connection: JoinHandle<hyper::Result<()>>,
    _stop: Stop,
}

impl Open {
    /// `certificates` are what the client shows; there is no TLS here to show them in.
    async fn to(plane: &Plane, certificates: Vec<Vec<u8>>) -> Self {
        let certificates: Arc<[Arc<[u8]>]> = certificates.into_iter().map(Into::into).collect();
        let source: SocketAddr = "192.0.2.7:40000".parse().unwrap();
        let router = support::routes(&plane.iam).layer(Extension(Connection { source, certificates }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), Stop::new());
        tokio::spawn(holdfast_rpc::serve(listener, router, None, Limits::default(), stop.clone()));
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        Self { sender, connection: tokio::spawn(connection), _stop: stop }
    }

    /// Whether the layer knows the caller of a request with this token.
    async fn is_known(&mut self, token: Option<&str>) -> bool {
        let mut request = Request::get("http://server/iam.v1.Tokens/Nothing");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = self.sender.send_request(request.body(Body::empty()).unwrap()).await.unwrap();
        answer.status() != StatusCode::UNAUTHORIZED
    }

    async fn ends(self) -> bool {
        timeout(SOON, self.connection).await.is_ok()
    }
}

async fn set_principal(plane: &Plane, id: &str, disabled: bool) {
    let request = SetPrincipalRequest { id: id.into(), disabled };
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
    let request = CreateJoinTokenRequest { node: "pier2".into(), ttl_s: 600 };
    let join_token = plane.enrollment().create_join_token(with(ADMIN_TOKEN, request)).await.unwrap().into_inner();
    let key = KeyPair::generate().unwrap();
    let csr_der = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec().into();
    let request = EnrollRequest { join_token: join_token.join_token, csr_der };
    let chain = plane.enrollment().enroll(request).await.unwrap().into_inner().certificate_chain;
    let mut open = Open::to(&plane, chain.iter().map(|der| der.to_vec()).collect()).await;
    assert!(open.is_known(None).await && open.is_known(Some(&mira)).await);
    set_principal(&plane, "node/pier2", true).await;
    assert!(open.ends().await);
}
