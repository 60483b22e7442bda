//! Open connections to the plane.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Extension, body::Body};
use holdfast_rpc::{Connection, Limits};
use holdfast_service::Stop;
use http::{Request, StatusCode};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

use super::{Plane, routes};

/// How soon a connection is to be closed.
const SOON: Duration = Duration::from_secs(1);

/// A door of the plane, and a connection to it.
pub(crate) struct Open {
    sender: SendRequest<Body>,
    connection: JoinHandle<hyper::Result<()>>,
    _stop: Stop,
}

impl Open {
    /// `certificates` are what the client shows; there is no TLS here to show them in.
    pub(crate) async fn to(plane: &Plane, certificates: Vec<Vec<u8>>) -> Self {
        let certificates: Arc<[Arc<[u8]>]> = certificates.into_iter().map(Into::into).collect();
        let source: SocketAddr = "192.0.2.7:40000".parse().unwrap();
        let router = routes(&plane.iam).layer(Extension(Connection { source, certificates }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), Stop::new());
        tokio::spawn(holdfast_rpc::serve(listener, router, None, Limits::default(), stop.clone()));
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        Self { sender, connection: tokio::spawn(connection), _stop: stop }
    }

    /// Whether the layer knows the caller of a request with this token.
    pub(crate) async fn is_known(&mut self, token: Option<&str>) -> bool {
        let mut request = Request::get("http://server/iam.v1.Tokens/Nothing");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = self.sender.send_request(request.body(Body::empty()).unwrap()).await.unwrap();
        answer.status() != StatusCode::UNAUTHORIZED
    }

    /// Whether the layer denies what only admins may do.
    pub(crate) async fn is_denied(&mut self, token: &str) -> bool {
        let request = Request::get("http://server/iam.v1.Admin/Nothing");
        let request = request.header("authorization", format!("Bearer {token}"));
        let answer = self.sender.send_request(request.body(Body::empty()).unwrap()).await.unwrap();
        answer.status() == StatusCode::FORBIDDEN
    }

    pub(crate) async fn ends(self) -> bool {
        timeout(SOON, self.connection).await.is_ok()
    }
}
