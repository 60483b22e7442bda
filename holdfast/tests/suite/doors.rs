//! Every port against what no client would send. The server answers or cuts the connection, in bounded time, and goes
//! on serving: after each piece of nonsense somebody is served.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use holdfast_testkit::Cluster;

use crate::{
    http::{Request, connect},
    lab::Lab,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A TLS 1.2 record that begins a ClientHello.
const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
/// A PostgreSQL startup packet that announces 2 GiB - 1, and one that announces less than itself.
const HUGE_STARTUP: &[u8] = b"\x7f\xff\xff\xff\x00\x03\x00\x00";
const TINY_STARTUP: &[u8] = b"\x00\x00\x00\x03\x00\x03\x00\x00";
/// Longer than the 10 s that a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(18);

/// The same on every run.
fn noise(length: u32) -> Vec<u8> {
    (0..length).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect()
}

fn nonsense() -> Vec<(&'static str, Vec<u8>)> {
    let endless_header = [b"GET /health HTTP/1.1\r\nhost: ".to_vec(), vec![b'a'; 2 << 20]].concat();
    vec![
        ("noise", noise(70_000)),
        ("zeros", vec![0; 4096]),
        ("ones", vec![0xff; 4096]),
        ("a TLS hello", [HELLO, &noise(507)].concat()),
        ("HTTP/2, then noise", [PREFACE, &noise(4096)].concat()),
        // A HEADERS frame that announces 16 MiB.
        ("HTTP/2 with a huge frame", [PREFACE, b"\0\0\0\x04\0\0\0\0\0", b"\xff\xff\xff\x01\x04\0\0\0\x01"].concat()),
        ("a header without end", endless_header),
        ("a request line without HTTP", b"GET\r\n\r\n".to_vec()),
        ("a chunk of negative length", b"POST /publish HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n".to_vec()),
        (
            "two lengths",
            b"POST /publish HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_vec(),
        ),
        ("a startup packet of 2 GiB", HUGE_STARTUP.to_vec()),
        ("a startup packet of 3 bytes", TINY_STARTUP.to_vec()),
    ]
}

/// Sends everything and says that nothing more comes.
fn throw(address: &str, bytes: &[u8]) -> Result<TcpStream> {
    let mut stream = connect(address)?;
    // The server may hang up in the middle.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    Ok(stream)
}

/// What the server says before it hangs up.
fn until_closed(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => Ok(answer),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(answer),
        Err(error) => Err(error.into()),
    }
}

fn serves(lab: &Lab) -> Result<()> {
    ensure!(Request::get("/health").send(&lab.at.api)?.status == 200);
    ensure!(Request::get("/healthz").send(&lab.at.http)?.status == 200);
    // "Do you speak TLS?" - "No."
    let mut sql = connect(&lab.at.sql)?;
    sql.write_all(b"\0\0\0\x08\x04\xd2\x16\x2f")?;
    let mut answer = [0];
    sql.read_exact(&mut answer)?;
    ensure!(&answer == b"N");
    Ok(())
}

#[test]
fn nonsense_is_cut_and_others_are_served() -> Result<()> {
    let mut lab = Lab::start()?;
    for door in [&lab.at.api, &lab.at.http, &lab.at.sql] {
        for (what, bytes) in nonsense() {
            let mut stream = throw(door, &bytes)?;
            let answer = until_closed(&mut stream)?;
            ensure!(answer.len() < 4096, "{what}: {} bytes in answer", answer.len());
            serves(&lab).map_err(|error| error.context(format!("after {what}")))?;
        }
    }
    ensure!(lab.server.is_running());
    Ok(())
}

/// A connection costs something as long as it is open, so nobody keeps one without saying something whole.
#[test]
fn who_says_half_and_waits_is_cut() -> Result<()> {
    let lab = Lab::start()?;
    let begun = Instant::now();
    let halves: [(&str, &[u8]); 4] = [
        (&lab.at.api, b"GET /health HT"),
        (&lab.at.http, b"POST /publish HTTP/1.1\r\nhost: a\r\ncontent-le"),
        (&lab.at.sql, b"\0\0\0\x30\0\x03\0\0user\0"),
        (&lab.at.sql, b""),
    ];
    let mut waiting = Vec::new();
    for (door, half) in halves {
        let mut stream = connect(door)?;
        stream.write_all(half)?;
        waiting.push(stream);
    }
    serves(&lab)?;
    for mut stream in waiting {
        until_closed(&mut stream)?;
    }
    ensure!(begun.elapsed() < HANDSHAKE, "cut after {:?}", begun.elapsed());
    serves(&lab)
}

#[test]
fn too_much_is_refused_before_it_is_kept() -> Result<()> {
    let lab = Lab::start()?;
    let tree = vec![b' '; (32 << 20) + 1];
    Request::post("/publish", tree.clone()).bearer(&lab.token).send(&lab.at.http)?.expect(413, "error", "too_large")?;
    // Nobody makes the server read a tree without being allowed to publish one.
    Request::post("/publish", tree).send(&lab.at.http)?.expect(401, "error", "authentication_required")?;
    let lock = Request::post("/v1/pre-reboot", vec![b' '; 5000]).header("fleet-lock-protocol", "true");
    lock.send(&lab.at.http)?.expect(413, "kind", "body_too_large")?;
    let form = Request::post("/oauth2/token", vec![b'a'; 4 << 20]).send(&lab.at.http)?;
    ensure!(form.status == 413 && form.json()?["error"] == "invalid_request", "{form:?}");
    let put = Request::grpc("/etcdserverpb.KV/Put", &vec![b'a'; 8 << 20]).bearer(&lab.token).send(&lab.at.api)?;
    ensure!(put.header("grpc-status") == Some("8"), "{put:?}");
    // A length of 4 GiB that never comes.
    let liar = Request::post("/flaredb.v1.Flaredb/Query", b"\0\xff\xff\xff\xff".to_vec());
    let answer = liar.header("content-type", "application/grpc").bearer(&lab.token).send(&lab.at.api)?;
    ensure!(answer.header("grpc-status").is_some_and(|status| status != "0"), "{answer:?}");
    serves(&lab)
}

/// The peer port speaks TLS with the other servers, and hangs up on everybody else.
#[test]
fn the_peer_port_hangs_up_on_strangers() -> Result<()> {
    let cluster = Cluster::start(3)?;
    for server in cluster.servers() {
        for (what, bytes) in nonsense() {
            let answer = until_closed(&mut throw(&server.endpoints()?.peer, &bytes)?)?;
            // A TLS alert at most.
            ensure!(answer.len() < 64, "{what}: {answer:?}");
        }
    }
    for server in cluster.servers() {
        ensure!(Request::get("/health").send(&server.endpoints()?.api)?.status == 200);
    }
    Ok(())
}
