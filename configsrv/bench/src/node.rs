use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use holdfast_bench::Certified;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A node as far as servers can tell: its certificate, and one connection that it keeps.
pub(crate) struct Node {
    name: String,
    /// `host:port` of its server's HTTP door.
    server: String,
    wire: SendRequest<Empty<Bytes>>,
    /// What it has.
    pub(crate) version: u64,
    etag: String,
}

/// Whether there was something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    New,
    Nothing,
}

impl Node {
    pub(crate) async fn connect(known: &Certified, roots: &Arc<RootCertStore>, server: &str) -> Result<Self> {
        let chain = known.chain.iter().cloned().map(CertificateDer::from).collect();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(known.key.serialize_der()));
        let mut tls =
            ClientConfig::builder().with_root_certificates(Arc::clone(roots)).with_client_auth_cert(chain, key)?;
        // It never comes back on another connection.
        tls.resumption = Resumption::disabled();
        let (host, _) = server.rsplit_once(':').context("a server's address has a port")?;
        let name = ServerName::try_from(host.to_owned())?;
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await?;
        let (wire, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { name: known.node.clone(), server: server.to_owned(), wire, version: 0, etag: String::new() })
    }

    /// Asks whether there is something else than it has, and takes it.
    pub(crate) async fn look(&mut self) -> Result<Answer> {
        let request = Request::get(format!("/artifact/{}", self.name)).header(header::IF_NONE_MATCH, &self.etag);
        self.ask(request).await
    }

    /// The same, but waits so long for something newer.
    pub(crate) async fn wait(&mut self, seconds: u64) -> Result<Answer> {
        let path = format!("/artifact/{}?have={}&wait={seconds}s", self.name, self.version);
        self.ask(Request::get(path)).await
    }

    async fn ask(&mut self, request: http::request::Builder) -> Result<Answer> {
        let request = request.header(header::HOST, &self.server).body(Empty::new())?;
        self.wire.ready().await?;
        let response = self.wire.send_request(request).await?;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await?.to_bytes();
        match parts.status {
            StatusCode::NOT_MODIFIED => Ok(Answer::Nothing),
            status => {
                ensure!(status == StatusCode::OK, "{status}: {}", String::from_utf8_lossy(&bytes));
                ensure!(bytes.starts_with(b"{"), "{} was served no artifact", self.name);
                self.etag = text(&parts.headers, "etag")?.to_owned();
                self.version = text(&parts.headers, "flor-version")?.parse()?;
                Ok(Answer::New)
            }
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str> {
    Ok(headers.get(name).with_context(|| format!("the answer has no {name}"))?.to_str()?)
}
