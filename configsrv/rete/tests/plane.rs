//! Two nodes on the loopback: what passes, and what is cut when permissions, certificates or processes change.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use configsrv_rete::{Plane, Side};
use support::{Ca, Node, broken, connect, echo, id, ping, request, tcp_port, udp_port, until};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

const STOCK: &str = "stock.quay.test.rete";

/// A tablet of two people, and a server with the service `stock`.
struct Pair {
    ca: Ca,
    tablet: Node,
    server: Node,
    mira: u16,
    tomas: u16,
}

impl Pair {
    /// Both people may dial; the server lets `allow` in.
    fn new(upstream: &str, allow: &[&str]) -> Self {
        let (udp, mira, tomas) = (udp_port(), tcp_port(), tcp_port());
        let tablet = Node::new("tablet").user("mira", mira).user("tomas", tomas);
        let tablet = tablet.dials("stock", "server", udp, &["user/mira", "user/tomas"]);
        let server = Node::new("server").listening(udp).service("stock", upstream, allow);
        Self { ca: Ca::new(), tablet, server, mira, tomas }
    }

    async fn tablet(&self) -> (Plane, Arc<configsrv_rete::Counters>) {
        self.tablet.start(self.ca.identities(&["node/tablet", "user/mira", "user/tomas"])).await
    }

    async fn server(&self) -> (Plane, Arc<configsrv_rete::Counters>) {
        self.server.start(self.ca.identities(&["node/server", "service/stock"])).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_pass_in_both_directions_to_their_ends() {
    let pair = Pair::new(&echo().await.to_string(), &["user/mira"]);
    let ((tablet, counters), (server, _)) = (pair.tablet().await, pair.server().await);
    let stream = connect(pair.mira, STOCK).await.unwrap();
    let sent: Vec<u8> = (0..5_000_000_u32).map(|at| (at % 251) as u8).collect();
    let (mut read, mut write) = stream.into_split();
    let writing = tokio::spawn({
        let sent = sent.clone();
        async move {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        }
    });
    let mut back = Vec::new();
    read.read_to_end(&mut back).await.unwrap();
    writing.await.unwrap();
    assert!(back == sent, "{} of {} bytes", back.len(), sent.len());
    until("the tunnel to be over", || counters.closed.get() == 1).await;
    assert_eq!((counters.bytes_out.get(), counters.bytes_in.get()), (5_000_000, 5_000_000));
    assert_eq!(tablet.status().connections.len(), 1, "one connection, whatever it carries");
    assert_eq!(server.status().connections[0].side, Side::Target);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_neighbour_on_the_same_node_is_reached_without_the_network() {
    let (ca, udp, mira) = (Ca::new(), udp_port(), tcp_port());
    let node = Node::new("server").listening(udp).user("mira", mira);
    // Nobody answers at the address that other nodes would dial.
    let node =
        node.service("stock", &echo().await.to_string(), &["user/mira"]).dials("stock", "server", 9, &["user/mira"]);
    let (_plane, _) = node.start(ca.identities(&["node/server", "service/stock", "user/mira"])).await;
    ping(&mut connect(mira, STOCK).await.unwrap(), "hello").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_decides_whatever_the_initiator_believes() {
    // The tablet's tables let both dial; the server's let nobody in: an empty row, then no such service.
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut pair = Pair::new(&upstream.local_addr().unwrap().to_string(), &[]);
    let (_tablet, _) = pair.tablet().await;
    let (server, counters) = pair.server().await;
    assert_eq!(connect(pair.mira, STOCK).await.unwrap_err(), 2);
    assert_eq!(counters.denials()[&(id("user/mira"), "ingress")], 1);
    // Somebody else being allowed changes nothing.
    pair.server = Node::new("server").service("stock", "127.0.0.1:9", &["user/tomas"]);
    assert_eq!(server.swap(&pair.server.payload()), 0);
    // The tablet asks again once its pause is over.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(connect(pair.mira, STOCK).await.unwrap_err(), 2);
    assert_eq!(counters.denials()[&(id("user/mira"), "ingress")], 2);
    let reached = tokio::time::timeout(Duration::from_millis(50), upstream.accept()).await;
    assert!(reached.is_err(), "nothing reached the service");
    assert!(server.status().connections.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dial_table_spares_a_refusal() {
    let pair = Pair::new("127.0.0.1:9", &["user/mira"]);
    let tablet = Node::new("tablet").user("mira", pair.mira).dials("stock", "server", 9, &["user/tomas"]);
    let (_tablet, counters) = tablet.start(pair.ca.identities(&["user/mira"])).await;
    assert_eq!(connect(pair.mira, STOCK).await.unwrap_err(), 2);
    assert_eq!(counters.denials()[&(id("user/mira"), "egress")], 1);
    assert_eq!(connect(pair.mira, "ledger.quay.test.rete").await.unwrap_err(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_services_by_name_are_dialled() {
    let pair = Pair::new(&echo().await.to_string(), &["user/mira"]);
    let ((_tablet, counters), (_server, _)) = (pair.tablet().await, pair.server().await);
    for host in ["127.0.0.1", "localhost", "quay.test.rete", "stock.dock.test.rete", "stock.quay.test", ""] {
        assert_eq!(connect(pair.mira, host).await.unwrap_err(), 4, "{host}");
    }
    assert_eq!(request(pair.mira, 1, &[1, 127, 0, 0, 1]).await.unwrap_err(), 8, "an IPv4 address");
    let v6 = [&[4][..], &[0; 16]].concat();
    assert_eq!(request(pair.mira, 1, &v6).await.unwrap_err(), 8, "an IPv6 address");
    let name = [&[3, 20][..], STOCK.as_bytes()].concat();
    assert_eq!(request(pair.mira, 2, &name).await.unwrap_err(), 7, "BIND");
    assert_eq!(request(pair.mira, 3, &name).await.unwrap_err(), 7, "UDP ASSOCIATE");
    assert_eq!(counters.socks_failures.get(), 4);
    ping(&mut connect(pair.mira, STOCK).await.unwrap(), "hello").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_and_an_edited_permission() {
    let pair = Pair::new(&echo().await.to_string(), &["user/mira", "user/tomas"]);
    let ((_tablet, _), (server, counters)) = (pair.tablet().await, pair.server().await);
    let (mut stays, mut goes) = (Vec::new(), Vec::new());
    for _ in 0..500 {
        stays.push(connect(pair.mira, STOCK).await.unwrap());
        goes.push(connect(pair.tomas, STOCK).await.unwrap());
    }
    for stream in stays.iter_mut().chain(&mut goes) {
        ping(stream, "before").await.unwrap();
    }
    assert_eq!(counters.opened.get(), 1000);
    let upstream = pair.server.payload().local_services[0].upstream_addr.to_string();
    let edited = Node::new("server").service("stock", &upstream, &["user/mira"]).payload();
    let since = Instant::now();
    assert_eq!(server.swap(&edited), 1, "one connection carries all of one initiator's");
    let mut slowest = Duration::ZERO;
    for stream in &mut goes {
        slowest = slowest.max(broken(stream, since).await);
    }
    assert!(slowest < Duration::from_secs(1), "the last was closed after {slowest:?}");
    for stream in &mut stays {
        ping(stream, "after").await.unwrap();
    }
    assert_eq!(connect(pair.tomas, STOCK).await.unwrap_err(), 2);
    // The same at the initiator's end: the dial table is narrowed there.
    let udp = pair.server.payload().listen_udp.unwrap().port;
    let edited = Node::new("tablet").dials("stock", "server", udp, &[]).payload();
    let since = Instant::now();
    assert_eq!(_tablet.swap(&edited), 1);
    for stream in &mut stays {
        slowest = slowest.max(broken(stream, since).await);
    }
    assert!(slowest < Duration::from_secs(1), "the last was closed after {slowest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_counts_for_new_handshakes_only() {
    let pair = Pair::new(&echo().await.to_string(), &["user/mira", "user/tomas"]);
    let ((tablet, _), (server, _)) = (pair.tablet().await, pair.server().await);
    let mut stream = connect(pair.mira, STOCK).await.unwrap();
    tablet.set_identities(pair.ca.identities(&["user/mira", "user/tomas"]));
    server.set_identities(pair.ca.identities(&["service/stock"]));
    ping(&mut stream, "as before").await.unwrap();
    ping(&mut connect(pair.tomas, STOCK).await.unwrap(), "anew").await.unwrap();
    // A certificate that is gone, or an authority that nobody knows, ends nothing that is open, and begins nothing.
    server.set_identities(Ca::new().identities(&["service/stock"]));
    ping(&mut stream, "still").await.unwrap();
    server.set_identities(pair.ca.identities(&[]));
    ping(&mut stream, "still").await.unwrap();
    assert_eq!(tablet.status().connections.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_end_with_the_certificates_they_were_opened_with() {
    let pair = Pair::new(&echo().await.to_string(), &["user/mira", "user/tomas"]);
    let mut short = pair.ca.identities(&["user/tomas"]);
    let (leaf, key) = pair.ca.leaf("user/mira", Duration::from_secs(4));
    short.add(leaf, &key, support::now_ms()).unwrap();
    let (tablet, _) = pair.tablet.start(short).await;
    let (server, _) = pair.server().await;
    let (mut ends, mut stays) = (connect(pair.mira, STOCK).await.unwrap(), connect(pair.tomas, STOCK).await.unwrap());
    let since = Instant::now();
    ping(&mut ends, "good for a while").await.unwrap();
    // A newer certificate does not prolong what the old one opened.
    tablet.set_identities(pair.ca.identities(&["user/mira", "user/tomas"]));
    assert!(broken(&mut ends, since).await < Duration::from_secs(6));
    ping(&mut stays, "still").await.unwrap();
    ping(&mut connect(pair.mira, STOCK).await.unwrap(), "with the new one").await.unwrap();
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plane_that_stops_breaks_what_it_carried_and_comes_back_on_its_ports() {
    let pair = Pair::new(&echo().await.to_string(), &["user/mira"]);
    let ((_tablet, _), (server, _)) = (pair.tablet().await, pair.server().await);
    let mut stream = connect(pair.mira, STOCK).await.unwrap();
    ping(&mut stream, "hello").await.unwrap();
    let since = Instant::now();
    server.stop().await;
    assert!(broken(&mut stream, since).await < Duration::from_secs(2));
    let (_server, _) = pair.server().await;
    let mut again = None;
    for _ in 0..50 {
        match connect(pair.mira, STOCK).await {
            Ok(stream) => again = Some(stream),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
        if again.is_some() {
            break;
        }
    }
    ping(&mut again.unwrap(), "hello again").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_down_and_a_node_that_is_gone_are_told_apart() {
    let closed = tcp_port();
    let pair = Pair::new(&format!("127.0.0.1:{closed}"), &["user/mira"]);
    let ((_tablet, counters), (server, _)) = (pair.tablet().await, pair.server().await);
    assert_eq!(connect(pair.mira, STOCK).await.unwrap_err(), 5);
    // The service comes: nothing was remembered against it.
    let _service = TcpListener::bind(("127.0.0.1", closed)).await.unwrap();
    drop(connect(pair.mira, STOCK).await.unwrap());
    server.stop().await;
    assert_eq!(connect(pair.mira, STOCK).await.unwrap_err(), 4);
    assert_eq!(counters.connect_failures.get(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_on_several_nodes_is_reached_on_one_that_answers() {
    let (ca, mira, up) = (Ca::new(), tcp_port(), udp_port());
    let (refusing, down) = (udp_port(), udp_port());
    let tablet = Node::new("tablet").user("mira", mira);
    let tablet = [("a", refusing), ("b", down), ("c", up)]
        .iter()
        .fold(tablet, |tablet, (node, udp)| tablet.dials("stock", node, *udp, &["user/mira"]));
    let stock =
        |udp: u16, upstream: &str, allow: &[&str]| Node::new("server").listening(udp).service("stock", upstream, allow);
    let (_one, _) = stock(refusing, "127.0.0.1:9", &[]).start(ca.identities(&["service/stock"])).await;
    let upstream = echo().await.to_string();
    let (_two, _) = stock(up, &upstream, &["user/mira"]).start(ca.identities(&["service/stock"])).await;
    let (_tablet, _) = tablet.start(ca.identities(&["user/mira"])).await;
    ping(&mut connect(mira, STOCK).await.unwrap(), "hello").await.unwrap();
    let start = Instant::now();
    ping(&mut connect(mira, STOCK).await.unwrap(), "hello").await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1), "who did not answer is not waited for at once again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let node = Node::new("tablet").user("mira", port).payload();
    let ca = Ca::new();
    let Err(error) = Plane::start(&node, ca.identities(&[]), Arc::default()).await else { panic!("it is taken") };
    let text = error.to_string();
    assert!(text.contains("SOCKS5 for user/mira") && text.contains(&port.to_string()), "{text}");
}
