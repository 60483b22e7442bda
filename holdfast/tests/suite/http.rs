//! HTTP by hand: what a client library would not send, and answers as they are on the wire.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Longer than any limit of the server, so that a test fails rather than hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Status line and headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A request under construction.
#[derive(Clone, Debug)]
pub(crate) struct Request<'a> {
    method: &'a str,
    path: &'a str,
    headers: Vec<(&'a str, String)>,
    body: Vec<u8>,
}

impl<'a> Request<'a> {
    pub(crate) fn new(method: &'a str, path: &'a str) -> Self {
        Self { method, path, headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn get(path: &'a str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn post(path: &'a str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::new("POST", path) }
    }

    /// A gRPC call with one message. The server speaks gRPC over HTTP/1.1 too, where headers can be read as text.
    pub(crate) fn grpc(path: &'a str, message: &[u8]) -> Self {
        // A message's length is below 4 GiB by far.
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let framed = [&[0], &length.to_be_bytes()[..], message].concat();
        Self::post(path, framed).header("content-type", "application/grpc").header("te", "trailers")
    }

    pub(crate) fn header(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// Sends it on a connection of its own.
    pub(crate) fn send(&self, address: &str) -> Result<Answer> {
        self.exchange(address, connect(address)?)
    }

    /// Sends it as the only one on this connection to `address`.
    pub(crate) fn exchange(&self, address: &str, mut stream: impl Read + Write) -> Result<Answer> {
        let mut head = format!("{} {} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", self.body.len()));
        stream.write_all(head.as_bytes())?;
        // A server that refuses a body answers and hangs up while it is being sent; the answer counts.
        let _ = stream.write_all(&self.body);
        let mut bytes = Vec::new();
        let end = stream.read_to_end(&mut bytes);
        Answer::parse(&bytes).with_context(|| format!("{} {}: {end:?}", self.method, self.path))
    }
}

impl Answer {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("no HTTP answer but {text:?}"))?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok(Self { status, head: head.to_lowercase(), body: body.to_owned() })
    }

    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("not JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| *found == name).map(|(_, value)| value).next()
    }

    /// A refusal with a machine word in `member`, and a text for people.
    pub(crate) fn expect(&self, status: u16, member: &str, word: &str) -> Result<()> {
        let found = self.json()?;
        ensure!((self.status, found[member].as_str()) == (status, Some(word)), "not {status} {word}: {self:?}");
        let text = if member == "kind" { "value" } else { "message" };
        ensure!(found[text].as_str().is_some_and(|text| !text.is_empty()), "no text: {self:?}");
        Ok(())
    }

    /// A gRPC error; `message` may be a part of the text.
    pub(crate) fn expect_grpc(&self, code: tonic::Code, message: &str) -> Result<()> {
        let status = self.header("grpc-status").with_context(|| format!("no gRPC status: {self:?}"))?;
        let text = self.header("grpc-message").unwrap_or_default().replace("%20", " ");
        let right = status == (code as i32).to_string() && text.contains(&message.to_lowercase());
        ensure!(right, "not {code:?} {message:?}: {self:?}");
        Ok(())
    }
}

pub(crate) fn connect(address: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}
