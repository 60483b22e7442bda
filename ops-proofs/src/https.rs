//! One connection to a server's door, as somebody with a certificate or as nobody: HTTP/1.1 over TLS, kept open.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};

const CALL: Duration = Duration::from_secs(20);
/// The longest answer that is read.
const LONGEST: usize = 1 << 20;

/// A certificate and its key, as files with PEM.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

pub(crate) struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    address: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Connection {
    /// `address` is `host:port`; the server's certificate has to chain to `authority`, a file with PEM.
    pub(crate) fn open(address: &str, authority: &Path, identity: Option<&Identity>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(authority)? {
            roots.add(certificate)?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match identity {
            None => config.with_no_client_auth(),
            Some(Identity { certificate, key }) => {
                let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("no key in {}", key.display()))?;
                config.with_client_auth_cert(certificates(certificate)?, key)?
            }
        };
        let tcp = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        tcp.set_read_timeout(Some(CALL))?;
        tcp.set_write_timeout(Some(CALL))?;
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned();
        let tls = ClientConnection::new(Arc::new(config), ServerName::try_from(host)?)?;
        Ok(Self { stream: StreamOwned::new(tls, tcp), address: address.to_owned() })
    }

    pub(crate) fn get(&mut self, path: &str) -> Result<Answer> {
        self.ask("GET", path, "", "")
    }

    /// `headers` end with a line end each.
    pub(crate) fn ask(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Result<Answer> {
        let Self { address, .. } = self;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).with_context(|| format!("cannot ask {}", self.address))?;
        self.answer().with_context(|| format!("no answer of {} to {method} {path}", self.address))
    }

    fn answer(&mut self) -> Result<Answer> {
        let mut received = Vec::new();
        let mut piece = [0; 4096];
        loop {
            if let Some(answer) = parse(&received)? {
                return Ok(answer);
            }
            let read = self.stream.read(&mut piece)?;
            if read == 0 || received.len() > LONGEST {
                bail!("it ended after {} bytes", received.len());
            }
            received.extend_from_slice(piece.get(..read).unwrap_or_default());
        }
    }

    /// Waits for the server to close the connection, and says when that was.
    pub(crate) fn closed(mut self) -> Result<Instant> {
        loop {
            match self.stream.read(&mut [0; 4096]) {
                Ok(0) => return Ok(Instant::now()),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    bail!("the connection to {} is still open after {CALL:?}", self.address);
                }
                Err(_) => return Ok(Instant::now()),
            }
        }
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, _>>();
    read().with_context(|| format!("no certificate in {}", file.display()))
}

/// A complete answer whose length is told in its head.
fn parse(received: &[u8]) -> Result<Option<Answer>> {
    let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let (head, rest) = received.split_at(end + 4);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).context("no HTTP")?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let length: usize = length.with_context(|| format!("an answer without length: {head}"))?;
    Ok(rest.get(..length).map(|body| Answer { status, body: body.to_vec() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_when_its_body_is() {
        let text = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(parse(&text[..text.len() - 1]).unwrap(), None);
        assert_eq!(parse(text).unwrap(), Some(Answer { status: 403, body: b"{}".to_vec() }));
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
