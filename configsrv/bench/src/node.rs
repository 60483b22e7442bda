use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use holdfast_bench::Certified;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::TlsConnector;

/// How long requests are held.
const HELD_S: u64 = 55;

/// A node as far as servers can tell: its certificate, and one connection at a time.
pub(crate) struct Node {
    name: String,
    /// `host:port` of its server's HTTP door.
    server: String,
    host: ServerName<'static>,
    tls: TlsConnector,
    wire: Option<SendRequest<Empty<Bytes>>>,
    /// The request that waits for revocations.
    revocations: Option<JoinHandle<()>>,
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
    pub(crate) fn new(known: &Certified, roots: &Arc<RootCertStore>, server: &str) -> Result<Self> {
        let chain = known.chain.iter().cloned().map(CertificateDer::from).collect();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(known.key.serialize_der()));
        let mut tls =
            ClientConfig::builder().with_root_certificates(Arc::clone(roots)).with_client_auth_cert(chain, key)?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        // It knows one server.
        tls.resumption = Resumption::in_memory_sessions(1);
        let (host, _) = server.rsplit_once(':').context("a server's address has a port")?;
        Ok(Self {
            name: known.node.clone(),
            server: server.to_owned(),
            host: ServerName::try_from(host.to_owned())?,
            tls: TlsConnector::from(Arc::new(tls)),
            wire: None,
            revocations: None,
            version: 0,
            etag: String::new(),
        })
    }

    /// Its connection, a new one where the server has ended the one before.
    async fn wire(&mut self) -> Result<&mut SendRequest<Empty<Bytes>>> {
        let open = match self.wire.take() {
            Some(mut wire) => wire.ready().await.is_ok().then_some(wire),
            None => None,
        };
        let wire = match open {
            Some(wire) => wire,
            None => {
                let stream = TcpStream::connect(&self.server).await?;
                stream.set_nodelay(true)?;
                let stream = self.tls.connect(self.host.clone(), stream).await?;
                let (wire, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                wire
            }
        };
        Ok(self.wire.insert(wire))
    }

    /// Gives up its connection.
    pub(crate) fn leave(&mut self) {
        self.wire = None;
        if let Some(waiting) = self.revocations.take() {
            waiting.abort();
        }
    }

    /// Asks whether there is something else than it has, and takes it.
    pub(crate) async fn look(&mut self) -> Result<Answer> {
        let request = self.request(&format!("/artifact/{}", self.name)).header(header::IF_NONE_MATCH, &self.etag);
        self.ask(request).await
    }

    /// The same, but waits for something newer.
    pub(crate) async fn wait(&mut self) -> Result<Answer> {
        let request = self.request(&format!("/artifact/{}?have={}&wait={HELD_S}s", self.name, self.version));
        self.ask(request).await
    }

    /// Has a request wait for revocations, of which there are none, on the connection on which everything is asked.
    pub(crate) async fn follow_revocations(&mut self) -> Result<()> {
        if self.revocations.as_ref().is_none_or(JoinHandle::is_finished) {
            let request = self.request(&format!("/revocations?have=0&wait={HELD_S}s")).body(Empty::new())?;
            let mut wire = self.wire().await?.clone();
            self.revocations = Some(tokio::spawn(async move { drop(wire.send_request(request).await) }));
        }
        Ok(())
    }

    fn request(&self, path: &str) -> http::request::Builder {
        Request::get(format!("https://{}{path}", self.server))
    }

    async fn ask(&mut self, request: http::request::Builder) -> Result<Answer> {
        let request = request.body(Empty::new())?;
        let response = self.wire().await?.send_request(request).await?;
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
