//! The rotation of the authority that issues certificates, on three servers as operators run them, with connections that are
//! open meanwhile, and servers that are killed between the steps.

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use holdfast_proto::{
    configsrv::{WatchRequest, WatchResponse, config_service_client::ConfigServiceClient},
    iam::{EnrollRequest, EnrollResponse, enrollment_client::EnrollmentClient},
};
use holdfast_testkit::{Endpoints, wait_until};
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject as _},
};
use serde_json::Value;
use tonic::{
    Streaming,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::{lab::SOON, plane::Plane};

const RUNBOOK: &str = include_str!("../../../deploy/runbooks/trust-rotation.md");
const CACHE: &str = "jwks_cache_s: 2";
/// How soon a connection ends after the change that ends it, and how long it takes to see that.
const CUT: Duration = Duration::from_secs(1);

/// A node with a certificate.
struct Node {
    key: KeyPair,
    answer: EnrollResponse,
}

impl Node {
    async fn enroll(plane: &Plane, at: usize, name: &str) -> Result<Self> {
        let token = plane.admin(at, &format!("join-token create {name}"))?;
        let join_token = token["join_token"].as_str().context("a join token")?.to_owned();
        let key = KeyPair::generate()?;
        let csr_der = CertificateParams::default().serialize_request(&key)?.der().to_vec().into();
        let channel = channel(plane, &plane.endpoints(at)?, None)?;
        let answer = EnrollmentClient::new(channel).enroll(EnrollRequest { join_token, csr_der }).await?.into_inner();
        Ok(Self { key, answer })
    }

    fn pem(&self) -> String {
        let chain = self.answer.certificate_chain.iter().map(|der| pem::certificate(der));
        chain.collect()
    }

    /// Whether server `at` knows it by its certificate.
    async fn is_known(&self, plane: &Plane, at: usize) -> Result<bool> {
        let channel = channel(plane, &plane.endpoints(at)?, Some(self))?;
        match ConfigServiceClient::new(channel).watch(WatchRequest {}).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == tonic::Code::Unauthenticated => Ok(false),
            Err(status) => bail!("{status}"),
        }
    }
}

mod pem {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    pub(super) fn certificate(der: &[u8]) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der))
    }
}

fn channel(plane: &Plane, at: &Endpoints, node: Option<&Node>) -> Result<Channel> {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(fs::read(&plane.ca)?));
    if let Some(node) = node {
        tls = tls.identity(Identity::from_pem(node.pem(), node.key.serialize_pem()));
    }
    Ok(Endpoint::new(format!("https://{}", at.api))?.tls_config(tls)?.connect_lazy())
}

/// What a node holds open at one server.
struct Open {
    watch: Streaming<WatchResponse>,
    doors: Vec<StreamOwned<ClientConnection, TcpStream>>,
}

impl Open {
    async fn at(plane: &Plane, at: usize, node: &Node) -> Result<Self> {
        let endpoints = plane.endpoints(at)?;
        let mut client = ConfigServiceClient::new(channel(plane, &endpoints, Some(node))?);
        let mut watch = client.watch(WatchRequest {}).await?.into_inner();
        ensure!(watch.message().await?.is_some(), "the version of now");
        let doors = [&endpoints.api, &endpoints.http].map(|door| connection(plane, door, node));
        Ok(Self { watch, doors: doors.into_iter().collect::<Result<_>>()? })
    }

    /// Waits for the end of everything, and says when that was.
    async fn ended(mut self) -> Result<Instant> {
        while let Ok(Some(_)) = self.watch.message().await {}
        for mut door in self.doors {
            ensure!(is_closed(&mut door)?, "a connection is still open");
        }
        Ok(Instant::now())
    }
}

/// A connection that has been used once.
fn connection(plane: &Plane, door: &str, node: &Node) -> Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(&fs::read(&plane.ca)?) {
        roots.add(root?)?;
    }
    let chain = node.answer.certificate_chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(node.key.serialize_der()));
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    let tcp = TcpStream::connect(door)?;
    tcp.set_read_timeout(Some(SOON))?;
    let mut stream =
        StreamOwned::new(ClientConnection::new(Arc::new(config), ServerName::try_from("127.0.0.1")?)?, tcp);
    // Anything that is not public will do: it is not there, or not for nodes.
    stream.write_all(b"GET /nodes HTTP/1.1\r\nHost: server\r\n\r\n")?;
    let mut first = [0; 12];
    stream.read_exact(&mut first)?;
    ensure!(!first.ends_with(b"401"), "{}", String::from_utf8_lossy(&first));
    Ok(stream)
}

/// Reads what is left of an answer until the server closes.
fn is_closed(stream: &mut StreamOwned<ClientConnection, TcpStream>) -> Result<bool> {
    loop {
        match stream.read(&mut [0; 4096]) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(false),
            Err(_) => return Ok(true),
        }
    }
}

fn states(answer: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let roots = answer["roots"].as_array().map(Vec::as_slice).unwrap_or_default();
    roots.iter().map(|root| (text(&root["id"]), text(&root["state"]))).collect()
}

/// Waits until every server shows the authorities in these states.
fn settled(plane: &Plane, expected: &[(&str, &str)]) -> Result<()> {
    for at in 0..3 {
        wait_until(SOON, &format!("server {at} to show {expected:?}"), || {
            let found = states(&plane.admin(at, "trust list")?);
            Ok(found.iter().map(|(id, state)| (id.as_str(), state.as_str())).eq(expected.iter().copied()).then_some(()))
        })?;
    }
    Ok(())
}

/// The command of the runbook that begins with `words`, with these in the place of its capitals.
fn runbook(words: &str, old: &str, new: &str) -> Result<String> {
    let begin = format!("florctl iam {words}");
    let found = RUNBOOK.lines().map(str::trim).find(|line| line.starts_with(&begin));
    let line = found.with_context(|| format!("the runbook has no command that begins with {begin:?}"))?;
    let words = line.trim_start_matches("florctl iam ").replace("OLD-AUTHORITY", old).replace("NEW-AUTHORITY", new);
    Ok(words)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authority_is_rotated_and_its_removal_closes_connections_on_every_server() -> Result<()> {
    let Some(mut plane) = Plane::start(3, &[CACHE, "stale_limit_s: 10", "key_retirement_s: 2"])? else { return Ok(()) };
    let first = states(&plane.admin(0, &runbook("trust list", "", "")?)?).remove(0).0;
    let old = Node::enroll(&plane, 0, "pier1").await?;

    let added = plane.admin(1, &runbook("trust add", "", "")?)?;
    let second = added["id"].as_str().context("its id")?.to_owned();
    settled(&plane, &[(&first, "active"), (&second, "trusted")])?;
    let between = Node::enroll(&plane, 2, "pier2").await?;
    ensure!(between.answer.ca_bundle.len() == 2, "who joins meanwhile knows both");

    // Taken with a server down, which learns of it; its word is waited for, until time is up for it.
    plane.kill(0)?;
    plane.step_in_time(1, &runbook("trust activate", &first, &second)?, SOON)?;
    plane.start_again(0)?;
    settled(&plane, &[(&first, "overlap"), (&second, "active")])?;
    let new = Node::enroll(&plane, 0, "pier3").await?;
    for at in 0..3 {
        for node in [&old, &between, &new] {
            ensure!(node.is_known(&plane, at).await?, "both count, at server {at}");
        }
    }

    let early = plane.refused(2, &runbook("trust remove OLD-AUTHORITY", &first, &second)?)?;
    ensure!(early.contains("is overlap; to retire it becomes possible in"), "{early}");
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), old.pem())?;
    let check = runbook("trust check", &first, &second)?.replace("node.crt", &file.path().display().to_string());
    let check = plane.admin(0, &check)?;
    let verdict = |at: usize| (check["verdicts"][at]["when"].as_str(), check["verdicts"][at]["principal"].as_str());
    ensure!(verdict(0) == (Some("now"), Some("node/pier1")), "{check}");
    ensure!(verdict(1).1 == Some("") && verdict(2).1 == Some("node/pier1"), "{check}");

    let mut gone = Vec::new();
    let mut staying = Vec::new();
    for at in 0..3 {
        gone.push(tokio::spawn(Open::at(&plane, at, &old).await?.ended()));
        staying.push(Open::at(&plane, at, &new).await?);
    }
    let removed_at = Instant::now();
    let removed = plane.admin(1, &format!("trust remove {first} --force"))?;
    let answered_at = Instant::now();
    for (at, gone) in gone.into_iter().enumerate() {
        let ended = gone.await??;
        ensure!(ended <= answered_at + CUT, "server {at}: {:?} after the command began", ended - removed_at);
    }
    for server in removed["enforced"].as_array().context("what each server says")? {
        ensure!(server["enforced"] == true && server["closed"].as_u64() >= Some(3), "{removed}");
    }
    for (at, mut open) in staying.into_iter().enumerate() {
        let next = tokio::time::timeout(Duration::from_millis(1500), open.watch.message()).await;
        ensure!(next.is_err(), "the other node's watch goes on at server {at}");
        ensure!(!old.is_known(&plane, at).await? && new.is_known(&plane, at).await?, "at server {at}");
    }

    // What was decided stands whatever happens to the servers.
    for at in 0..3 {
        plane.kill(at)?;
    }
    for at in 0..3 {
        plane.cluster.servers_mut().get_mut(at).context("no such server")?.start_again()?;
    }
    plane.cluster.wait_ready()?;
    settled(&plane, &[(&first, "removed"), (&second, "active")])?;
    ensure!(!old.is_known(&plane, 0).await? && new.is_known(&plane, 2).await?);
    plane.step_in_time(2, &runbook("trust purge", &first, &second)?, SOON)?;
    settled(&plane, &[(&second, "active")])?;

    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), new.pem())?;
    let serial = plane.admin(0, &format!("trust check --cert {}", file.path().display()))?;
    let serial = serial["serial"].as_str().context("its serial number")?;
    let open = Open::at(&plane, 1, &new).await?;
    plane.admin(2, &runbook("trust deny", &first, &second)?.replace("SERIAL", serial))?;
    open.ended().await?;
    for at in 0..3 {
        ensure!(!new.is_known(&plane, at).await?, "denied at server {at}");
    }
    plane.admin(2, &runbook("trust allow", &first, &second)?.replace("SERIAL", serial))?;
    ensure!(new.is_known(&plane, 2).await?);
    Ok(())
}
