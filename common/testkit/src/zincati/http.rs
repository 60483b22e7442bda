use std::{
    fmt,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;

use super::{
    reply::{Failure, outcome},
    url::Url,
};

/// The real one waits for half an hour. A test wants to hear of a server that hangs.
const PATIENCE: Duration = Duration::from_secs(30);
const MOST_REDIRECTS: usize = 10;
/// Larger than any answer of this protocol.
const LARGEST: u64 = 1 << 20;

/// The two calls of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    PreReboot,
    SteadyState,
}

/// The lock manager of one machine.
#[derive(Clone, Debug)]
pub struct Lock {
    base: Url,
    id: String,
    group: String,
}

#[derive(Serialize)]
struct Body<'a> {
    client_params: Params<'a>,
}

#[derive(Serialize)]
struct Params<'a> {
    id: &'a str,
    group: &'a str,
}

struct Reply {
    status: u16,
    location: Option<String>,
    body: Vec<u8>,
}

impl Lock {
    /// `base` is the `base_url` of the agent's configuration; only plain HTTP is spoken here.
    pub fn new(base: Url, group: &str, id: &str) -> Self {
        Self { base, id: id.to_owned(), group: group.to_owned() }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// The same machine after it was imaged anew.
    #[must_use]
    pub fn with_id(self, id: &str) -> Self {
        Self { id: id.to_owned(), ..self }
    }

    /// # Errors
    /// When the final answer is no 2xx, or there is none.
    pub fn ask(&self, operation: Operation) -> Result<(), Failure> {
        self.follow(operation)
            .map_or_else(|error| Err(Failure::of_request(&error)), |reply| outcome(reply.status, &reply.body))
    }

    /// Sends the request and hangs up, as a client does whose time is over: the server may still act on it.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn abandon(&self, operation: Operation) -> io::Result<()> {
        let url = self.url(operation)?;
        connect(&url)?.write_all(&request(&url, Some(&self.body()?), url.userinfo()))
    }

    /// Redirects are followed. 307 and 308 keep method and body; the others turn the request into a GET, which still
    /// carries the protocol's header.
    fn follow(&self, operation: Operation) -> io::Result<Reply> {
        let mut url = self.url(operation)?;
        let first = url.clone();
        let mut body = Some(self.body()?);
        for _ in 0..=MOST_REDIRECTS {
            let userinfo = first.userinfo().filter(|_| url.is_same_host(&first));
            let mut stream = connect(&url)?;
            stream.write_all(&request(&url, body.as_deref(), userinfo))?;
            let reply = read(&stream)?;
            let Some(location) =
                reply.location.as_ref().filter(|_| matches!(reply.status, 301 | 302 | 303 | 307 | 308))
            else {
                return Ok(reply);
            };
            url = url.join(location).map_err(io::Error::other)?;
            if matches!(reply.status, 301..=303) {
                body = None;
            }
        }
        Err(io::Error::other("too many redirects"))
    }

    fn url(&self, operation: Operation) -> io::Result<Url> {
        self.base.join(&format!("v1/{operation}")).map_err(io::Error::other)
    }

    fn body(&self) -> io::Result<String> {
        let body = Body { client_params: Params { id: &self.id, group: &self.group } };
        serde_json::to_string_pretty(&body).map_err(io::Error::other)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::PreReboot => "pre-reboot",
            Self::SteadyState => "steady-state",
        })
    }
}

/// What was seen of the real agent: no content type, no user agent. Without a body it is a GET.
fn request(url: &Url, body: Option<&str>, userinfo: Option<&str>) -> Vec<u8> {
    let method = if body.is_some() { "POST" } else { "GET" };
    let mut text = format!(
        "{method} {} HTTP/1.1\r\nfleet-lock-protocol: true\r\naccept: */*\r\nhost: {}\r\n",
        url.target(),
        url.host()
    );
    if let Some(userinfo) = userinfo {
        text.push_str(&format!("authorization: Basic {}\r\n", STANDARD.encode(userinfo)));
    }
    if let Some(body) = body {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body.unwrap_or_default());
    text.into_bytes()
}

fn connect(url: &Url) -> io::Result<TcpStream> {
    if url.scheme() != "http" {
        return Err(io::Error::other("only plain HTTP is spoken here"));
    }
    let stream = TcpStream::connect(url.address())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn read(stream: &TcpStream) -> io::Result<Reply> {
    let mut reader = BufReader::new(stream.take(LARGEST));
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no HTTP answer but {line:?}")))?;
    let (mut location, mut length) = (None, None);
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "location" => location = Some(value.trim().to_owned()),
            "content-length" => length = value.trim().parse::<u64>().ok(),
            _ => {}
        }
    }
    let mut body = Vec::new();
    // An answer without a length ends with its connection.
    reader.take(length.unwrap_or(LARGEST)).read_to_end(&mut body)?;
    Ok(Reply { status, location, body })
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    const ID: &str = "978a225b3d7b40e9acd7ce9b62f68444";

    /// A server that gives these answers, one a connection, and the requests that it got.
    fn scripted(answers: &[&str]) -> (Url, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://key:secret@{}/", listener.local_addr().unwrap()).parse().unwrap();
        let answers: Vec<_> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        let serve = move || {
            let answer = |answer: String| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut seen = String::new();
                while !seen.ends_with("\r\n\r\n") {
                    reader.read_line(&mut seen).unwrap();
                }
                let length = seen.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                reader.take(length.unwrap_or(0)).read_to_string(&mut seen).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                seen
            };
            answers.into_iter().map(answer).collect()
        };
        (base, thread::spawn(serve))
    }

    fn ask(answers: &[&str]) -> (Result<(), Failure>, Vec<String>) {
        let (base, server) = scripted(answers);
        let outcome = Lock::new(base, "default", ID).ask(Operation::PreReboot);
        (outcome, server.join().unwrap())
    }

    #[test]
    fn the_request_is_byte_for_byte_what_was_seen() {
        let (outcome, seen) = ask(&["HTTP/1.1 202 Accepted\r\ncontent-length: 4\r\n\r\nwait"]);
        assert_eq!(outcome, Ok(()));
        let (head, body) = seen[0].split_once("\r\n\r\n").unwrap();
        assert_eq!(body.len(), 97);
        assert_eq!(
            body,
            format!("{{\n  \"client_params\": {{\n    \"id\": \"{ID}\",\n    \"group\": \"default\"\n  }}\n}}")
        );
        let names: Vec<_> = head.lines().skip(1).filter_map(|line| line.split(':').next()).collect();
        assert_eq!(names, ["fleet-lock-protocol", "accept", "host", "authorization", "content-length"]);
        assert!(head.starts_with("POST /v1/pre-reboot HTTP/1.1\r\nfleet-lock-protocol: true\r\n"), "{head}");
        assert!(head.contains("authorization: Basic a2V5OnNlY3JldA=="), "{head}");
    }

    #[test]
    fn redirects_that_keep_the_method_and_those_that_do_not() {
        let done = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        for (status, method) in [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")] {
            let there = format!("HTTP/1.1 {status} There\r\nlocation: ../else\r\ncontent-length: 0\r\n\r\n");
            let (outcome, seen) = ask(&[&there, done]);
            assert_eq!(outcome, Ok(()));
            assert!(
                seen[1].starts_with(&format!("{method} /else HTTP/1.1\r\nfleet-lock-protocol: true\r\n")),
                "{seen:?}"
            );
            assert_eq!(seen[1].contains(ID), method == "POST");
        }
        let again = "HTTP/1.1 307 Again\r\nlocation: /v1/pre-reboot\r\ncontent-length: 0\r\n\r\n";
        let (outcome, seen) = ask(&[again; MOST_REDIRECTS + 1]);
        assert_eq!((outcome.unwrap_err().kind.as_str(), seen.len()), ("client_failed_request", MOST_REDIRECTS + 1));
    }

    #[test]
    fn no_answer_is_a_kind_of_the_client_s() {
        let (outcome, _) = ask(&[""]);
        assert_eq!(outcome.unwrap_err().kind, "client_failed_request");
        let (outcome, _) =
            ask(&["HTTP/1.1 423 Locked\r\ncontent-length: 32\r\n\r\n{\"kind\":\"k\",\"value\":\"v\",\"a\":[1]}"]);
        let failure = outcome.unwrap_err();
        assert_eq!((failure.kind.as_str(), failure.status), ("k", Some(423)));
    }
}
