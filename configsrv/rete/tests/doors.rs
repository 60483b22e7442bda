//! What strangers and liars get at the QUIC and the SOCKS5 door, and that the others get through meanwhile.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

#[path = "support/raw.rs"]
mod raw;
mod support;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use configsrv_rete::{Counters, Plane};
use support::{Ca, Node, PATIENCE, connect, echo, id, ping, tcp_port, udp_port, until};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
};

const STOCK: &str = "stock.quay.test.rete";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A server with `stock` for mira and `ledger` for nobody, and mira at a tablet.
struct Quay {
    ca: Ca,
    udp: u16,
    mira: u16,
    tablet: Plane,
    server: Plane,
    counters: Arc<Counters>,
}

impl Quay {
    async fn new() -> Self {
        let (ca, udp, mira, upstream) = (Ca::new(), udp_port(), tcp_port(), echo().await.to_string());
        let server = Node::new("server").listening(udp).service("stock", &upstream, &["user/mira"]);
        let server = server.service("ledger", &upstream, &[]);
        let (server, counters) = server.start(ca.identities(&["service/stock", "service/ledger"])).await;
        let tablet = Node::new("tablet").user("mira", mira).dials("stock", "server", udp, &["user/mira"]);
        let (tablet, _) = tablet.start(ca.identities(&["user/mira"])).await;
        Self { ca, udp, mira, tablet, server, counters }
    }

    async fn works(&self) {
        ping(&mut connect(self.mira, STOCK).await.unwrap(), "hello").await.unwrap();
    }

    fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.udp).into()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_dials_in_is_who_the_certificate_says() {
    let quay = Quay::new().await;
    let leaf = |ca: &Ca, subject: &str| ca.leaf(subject, DAY);
    let to = quay.address();
    let mira = leaf(&quay.ca, "user/mira");
    raw::tunnel(Some(&mira), to, STOCK).await.unwrap();
    // Another name, or none, and names that nobody has here.
    let tomas = leaf(&quay.ca, "user/tomas");
    assert!(raw::tunnel(Some(&tomas), to, STOCK).await.unwrap_err().contains("not allowed"));
    assert!(raw::tunnel(Some(&mira), to, "ledger.quay.test.rete").await.unwrap_err().contains("not allowed"));
    for name in ["shell.quay.test.rete", "stock.dock.test.rete", "quay.test", "localhost"] {
        assert!(raw::tunnel(Some(&mira), to, name).await.is_err(), "{name}");
    }
    assert!(raw::tunnel(None, to, STOCK).await.is_err());
    // The right name from another authority; a certificate that has ended; a key that signs artifacts.
    assert!(raw::tunnel(Some(&leaf(&Ca::new(), "user/mira")), to, STOCK).await.is_err());
    let ended = quay.ca.leaf("user/mira", Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(raw::tunnel(Some(&ended), to, STOCK).await.is_err());
    assert!(raw::tunnel(Some(&leaf(&quay.ca, "management-plane/primary")), to, STOCK).await.is_err());
    let counted = quay.counters.denials();
    assert_eq!(counted[&(id("user/tomas"), "ingress")], 1, "{counted:?}");
    assert_eq!(counted[&(id("user/mira"), "ingress")], 1, "{counted:?}");
    // Who is refused may hear so before it is counted.
    let reasons = [("no_certificate", 1), ("authority", 1), ("expired", 1), ("certificate", 1), ("no_such_service", 4)];
    let counted = async {
        loop {
            let failures = quay.counters.handshake_failures();
            if reasons.iter().all(|(reason, least)| failures.get(reason).is_some_and(|count| count >= least)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let counted = tokio::time::timeout(Duration::from_secs(10), counted).await;
    assert!(counted.is_ok(), "{:?}", quay.counters.handshake_failures());
    quay.works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_is_who_was_dialled() {
    let ca = Ca::new();
    for (what, leaf) in [
        ("another service", ca.leaf("service/ledger", DAY)),
        ("a node", ca.leaf("node/server", DAY)),
        ("the service of another authority", Ca::new().leaf("service/stock", DAY)),
    ] {
        let (address, deceived) = raw::impostor(&leaf);
        let mira = tcp_port();
        let tablet = Node::new("tablet").user("mira", mira).dials("stock", "server", address.port(), &["user/mira"]);
        let (_tablet, counters) = tablet.start(ca.identities(&["user/mira"])).await;
        assert_eq!(connect(mira, STOCK).await.unwrap_err(), 4, "{what}");
        assert_eq!(deceived.load(Ordering::SeqCst), 0, "{what} saw a finished handshake");
        assert_eq!(counters.handshake_failures().values().sum::<u64>(), 1, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_dialled_without_an_identity() {
    let quay = Quay::new().await;
    quay.tablet.set_identities(quay.ca.identities(&["node/tablet"]));
    assert_eq!(connect(quay.mira, STOCK).await.unwrap_err(), 2);
    quay.tablet.set_identities(quay.ca.identities(&["user/mira"]));
    quay.works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_initiator_does_not_take_all_the_room() {
    let quay = Quay::new().await;
    let mira = quay.ca.leaf("user/mira", DAY);
    let mut open = Vec::new();
    let mut refused = None;
    for _ in 0..70 {
        let (endpoint, config) = raw::client(Some(&mira), b"rete/1");
        let quic = endpoint.connect_with(config, quay.address(), STOCK).unwrap().await.unwrap();
        if open.len() >= 64 {
            refused = Some(tokio::time::timeout(PATIENCE, quic.closed()).await.unwrap());
            break;
        }
        until("it to be taken", || quay.server.status().connections.len() > open.len()).await;
        open.push((endpoint, quic));
    }
    let refused = refused.unwrap().to_string();
    assert!(refused.contains("too many"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_at_the_quic_door_changes_nothing() {
    let quay = Quay::new().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut seed = 7_u64;
    let mut byte = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u8
    };
    for at in 0..2000 {
        let mut bytes: Vec<u8> = (0..at % 1400).map(|_| byte()).collect();
        if let Some(first) = bytes.first_mut().filter(|_| at % 2 == 0) {
            // As a long header of version 1, which is looked at more closely.
            *first |= 0xc0;
            bytes.splice(1..bytes.len().min(5), [0, 0, 0, 1]);
        }
        socket.send_to(&bytes, quay.address()).await.unwrap();
    }
    quay.works().await;
    // Another protocol over the right TLS, and streams that say the wrong thing or nothing.
    let mira = quay.ca.leaf("user/mira", DAY);
    let (endpoint, config) = raw::client(Some(&mira), b"h3");
    assert!(endpoint.connect_with(config, quay.address(), STOCK).unwrap().await.is_err());
    let (endpoint, config) = raw::client(Some(&mira), b"rete/1");
    let quic = endpoint.connect_with(config, quay.address(), STOCK).unwrap().await.unwrap();
    let (mut send, mut receive) = quic.open_bi().await.unwrap();
    send.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert!(receive.read_exact(&mut [0; 1]).await.is_err());
    let (mut send, mut receive) = quic.open_bi().await.unwrap();
    send.finish().unwrap();
    assert!(receive.read_exact(&mut [0; 1]).await.is_err());
    assert!(quic.close_reason().is_none(), "the connection is as good as before");
    quay.works().await;
}

/// Somebody at an address of their own who says the first word and goes silent; if `there`, not before they have shown where
/// they are to whoever asks.
async fn silent(
    mira: &(Vec<u8>, Vec<u8>),
    address: [u8; 4],
    to: SocketAddr,
    there: bool,
) -> (UdpSocket, quinn::Endpoint, quinn::Connecting) {
    let relay = UdpSocket::bind(SocketAddr::from((address, 0))).await.unwrap();
    let (endpoint, config) = raw::client(Some(mira), b"rete/1");
    let connecting = endpoint.connect_with(config, relay.local_addr().unwrap(), STOCK).unwrap();
    let mut packet = [0; 1500];
    let (length, client) = relay.recv_from(&mut packet).await.unwrap();
    relay.send_to(&packet[..length], to).await.unwrap();
    if there {
        let length = heard(&relay, to, &mut packet).await;
        // A Retry packet, RFC 9000 §17.2.5.
        if packet[0] & 0xf0 == 0xf0 {
            relay.send_to(&packet[..length], client).await.unwrap();
            let length = heard(&relay, client, &mut packet).await;
            relay.send_to(&packet[..length], to).await.unwrap();
        }
    }
    (relay, endpoint, connecting)
}

/// The length of the next packet of one peer.
async fn heard(relay: &UdpSocket, peer: SocketAddr, packet: &mut [u8]) -> usize {
    loop {
        let (length, from) = relay.recv_from(packet).await.unwrap();
        if from == peer {
            return length;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_source_does_not_take_the_room_of_all_others() {
    let quay = Quay::new().await;
    let mira = quay.ca.leaf("user/mira", DAY);
    let start = Instant::now();
    let mut open = Vec::new();
    for _ in 0..300 {
        open.push(silent(&mira, [127, 0, 1, 1], quay.address(), true).await);
    }
    raw::tunnel(Some(&mira), quay.address(), STOCK).await.unwrap();
    quay.works().await;
    let failed = |reason: &str| quay.counters.handshake_failures().get(reason).copied().unwrap_or_default();
    until("the silent to be dropped", || failed("timeout") >= 16).await;
    let rounds = 1 + start.elapsed().as_secs() / 5;
    assert!(failed("timeout") <= 16 * rounds, "{} in {:?}", failed("timeout"), start.elapsed());
    assert!(failed("busy") > 0, "the others were refused at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_never_end_are_few_and_end() {
    let quay = Quay::new().await;
    quay.works().await;
    // Hundreds of clients, a few at each address.
    let mira = quay.ca.leaf("user/mira", DAY);
    let start = Instant::now();
    let mut open = Vec::new();
    for last in (1..=100).cycle().take(400) {
        open.push(silent(&mira, [127, 0, 1, last], quay.address(), false).await);
    }
    quay.works().await;
    let fresh = quay.ca.leaf("user/mira", DAY);
    raw::tunnel(Some(&fresh), quay.address(), STOCK).await.unwrap();
    // Those who had not shown where they are were sent back at once; the others are dropped in time.
    let dropped = || quay.counters.handshake_failures().get("timeout").copied().unwrap_or_default();
    until("the silent to be dropped", || dropped() >= 60).await;
    let rounds = 1 + start.elapsed().as_secs() / 5;
    assert!(dropped() <= 66 * rounds, "{} in {:?}", dropped(), start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_at_the_socks_door_changes_nothing() {
    let quay = Quay::new().await;
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &[4, 1, 0, 80, 127, 0, 0, 1, 0],
        &[5, 0],
        &[5, 1, 2],
        &[5, 255],
        &[5, 1, 0, 5, 1, 7, 3],
        &[5, 1, 0, 5, 1, 0, 9],
        &[5, 1, 0, 5, 1, 0, 3, 4, 0xff, 0xfe, 0xfd, 0xfc, 0, 80],
        &[5, 1, 0, 6, 1, 0, 3],
        &[0; 1000],
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", quay.mira)).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut said = Vec::new();
        // Closed with or without a word; a reset is as good.
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("it is closed");
        assert!(said.len() <= 12, "{garbage:?}: {said:?}");
    }
    quay.works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_say_nothing_are_dropped() {
    let quay = Quay::new().await;
    let mut silent = Vec::new();
    for at in 0..200 {
        let mut stream = TcpStream::connect(("127.0.0.1", quay.mira)).await.unwrap();
        if at % 2 == 0 {
            stream.write_all(&[5, 1]).await.unwrap();
        }
        silent.push(stream);
    }
    let start = Instant::now();
    quay.works().await;
    assert!(start.elapsed() < Duration::from_secs(2), "others get through meanwhile");
    for stream in &mut silent {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("it is closed");
        assert!(matches!(read, Ok(0) | Err(_)));
    }
    assert!(start.elapsed() < Duration::from_secs(8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_silent_programs_keeps_nobody_out() {
    let quay = Quay::new().await;
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(TcpStream::connect(("127.0.0.1", quay.mira)).await.unwrap());
    }
    let start = Instant::now();
    quay.works().await;
    // The oldest had to make room for them.
    let read = tokio::time::timeout(PATIENCE, silent[0].read(&mut [0; 1])).await.expect("it is closed");
    assert!(matches!(read, Ok(0) | Err(_)));
    assert!(start.elapsed() < Duration::from_secs(2), "nobody waits for the silent");
}
