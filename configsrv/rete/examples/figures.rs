//! What a decision, a swap and a tunnel cost on this machine.
//!
//! `cargo run --release -p configsrv-rete --example figures`
#![allow(clippy::unwrap_used, reason = "a measurement ends where it fails")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    hint::black_box,
    net::SocketAddr,
    time::{Duration, Instant},
};

use configsrv_fleet::SpiffeId;
use configsrv_rete::Tables;
use support::{Ca, Node, connect, id, tcp_port, udp_port};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

const ROWS: usize = 10_000;
const MEBIBYTES: usize = 512;

#[tokio::main]
async fn main() {
    decisions().await;
    tunnel().await;
}

/// A hundred services, each for a hundred users.
async fn decisions() {
    let users: Vec<String> = (0..100).map(|at| format!("user/u{at}")).collect();
    let allowed: Vec<&str> = users.iter().map(String::as_str).collect();
    let node = (0..ROWS / 100).fold(Node::new("server").listening(udp_port()), |node, at| {
        node.service(&format!("s{at}"), "127.0.0.1:9", &allowed)
    });
    let payload = node.payload();
    let tables = Tables::of(&payload);
    let (initiator, target): (SpiffeId, SpiffeId) =
        (id("user/u77").parse().unwrap(), id("service/s55").parse().unwrap());
    let start = Instant::now();
    const TIMES: u32 = 1_000_000;
    for _ in 0..TIMES {
        assert!(black_box(tables.decide(black_box(&initiator), black_box(&target))).is_ok());
    }
    println!("decision: {:?}", start.elapsed() / TIMES);
    let (plane, _) = node.start(Ca::new().identities(&[])).await;
    let mut swaps: Vec<Duration> = (0..51)
        .map(|_| {
            let start = Instant::now();
            plane.swap(&payload);
            start.elapsed()
        })
        .collect();
    swaps.sort();
    println!("swap of {ROWS} permissions: median {:?}, worst {:?}", swaps[25], swaps[50]);
}

/// One connection through a tunnel, and through a TCP proxy in the same process.
async fn tunnel() {
    let (ca, udp, mira, sink) = (Ca::new(), udp_port(), tcp_port(), sink().await);
    let server = Node::new("server").listening(udp).service("stock", &sink.to_string(), &["user/mira"]);
    let (_server, _) = server.start(ca.identities(&["service/stock"])).await;
    let tablet = Node::new("tablet").user("mira", mira).dials("stock", "server", udp, &["user/mira"]);
    let (_tablet, _) = tablet.start(ca.identities(&["user/mira"])).await;
    let proxy = proxy(sink).await;
    let (mut tunnelled, mut proxied) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        tunnelled.push(rate(connect(mira, "stock.quay.test.rete").await.unwrap()).await);
        proxied.push(rate(TcpStream::connect(proxy).await.unwrap()).await);
    }
    let best = |rates: &[f64]| rates.iter().copied().fold(0.0, f64::max);
    let (tunnelled, proxied) = (best(&tunnelled), best(&proxied));
    println!("tunnel {tunnelled:.0} MiB/s, TCP proxy {proxied:.0} MiB/s: {:.0} %", 100.0 * tunnelled / proxied);
}

/// MiB per second until the other end has all of it.
async fn rate(mut stream: TcpStream) -> f64 {
    let chunk = vec![7; 1 << 20];
    let start = Instant::now();
    for _ in 0..MEBIBYTES {
        stream.write_all(&chunk).await.unwrap();
    }
    stream.shutdown().await.unwrap();
    stream.read_exact(&mut [0; 1]).await.unwrap();
    MEBIBYTES as f64 / start.elapsed().as_secs_f64()
}

/// Takes everything, then says one byte.
async fn sink() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut chunk = vec![0; 1 << 20];
                while stream.read(&mut chunk).await.unwrap() > 0 {}
                stream.write_all(&[1]).await.unwrap();
            });
        }
    });
    address
}

async fn proxy(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut onward = TcpStream::connect(to).await.unwrap();
                copy_bidirectional(&mut stream, &mut onward).await.unwrap();
            });
        }
    });
    address
}
