//! Nodes on the loopback: real planes, real certificates, programs that speak SOCKS5.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{
    net::{SocketAddr, TcpListener as StdListener, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use configsrv_fleet::{ClusterName, Payload, ca::Authority};
use configsrv_rete::{Counters, Identities, Plane};
use iam_ca::PrivateKey;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An id of the cluster.
pub(crate) fn id(subject: &str) -> String {
    format!("spiffe://quay.test/{subject}")
}

/// A port that is free now.
pub(crate) fn tcp_port() -> u16 {
    StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) fn udp_port() -> u16 {
    UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port()
}

/// The authority of a cluster, and what it issues.
pub(crate) struct Ca {
    authority: Authority,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let cluster: ClusterName = "quay.test".parse().unwrap();
        Self { authority: Authority::create(&cluster, OffsetDateTime::now_utc(), 3650).unwrap().0 }
    }

    pub(crate) fn root(&self) -> Vec<u8> {
        self.authority.certificate().der().to_vec()
    }

    /// Identities of these subjects.
    pub(crate) fn identities(&self, subjects: &[&str]) -> Identities {
        self.until(subjects, Duration::from_secs(24 * 3600))
    }

    /// With certificates that end after `life`, which is at most a day.
    pub(crate) fn until(&self, subjects: &[&str], life: Duration) -> Identities {
        let mut identities = Identities::new(self.authority.cluster().clone(), self.root());
        for subject in subjects {
            let (leaf, key) = self.leaf(subject, life);
            identities.add(leaf, &key, now_ms()).unwrap();
        }
        identities
    }

    /// Certificate and key, DER.
    pub(crate) fn leaf(&self, subject: &str, life: Duration) -> (Vec<u8>, Vec<u8>) {
        let issued_at = OffsetDateTime::now_utc() + life - time::Duration::days(1);
        let issued = self.authority.issue(&subject.parse().unwrap(), issued_at, 1).unwrap();
        let key = PrivateKey::from_pem(&issued.key_pem).unwrap().der().to_vec();
        (issued.certificate.der().to_vec(), key)
    }
}

pub(crate) fn now_ms() -> u64 {
    u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap() * 1000
}

/// A node's payload in the making.
#[derive(Clone)]
pub(crate) struct Node(Value);

impl Node {
    pub(crate) fn new(name: &str) -> Self {
        let own = id(&format!("node/{name}"));
        Self(json!({
            "schema_version": "1.0", "node": name, "labels": {},
            "local_node": { "spiffe_id": own, "socks5_proxy": format!("127.0.0.1:{}", tcp_port()) },
            "local_users": [], "local_services": [], "ingress": [], "egress": [], "files": [],
            "trust": { "authorized_mgmt_signers": [] },
            "sync": {
                "via": "direct", "principal": own, "config_server": id("service/config-server"), "urls": [],
            },
        }))
    }

    pub(crate) fn listening(mut self, udp: u16) -> Self {
        self.0["listen_udp"] = json!(format!("0.0.0.0:{udp}"));
        self
    }

    fn push(mut self, list: &str, row: Value) -> Self {
        self.0[list].as_array_mut().unwrap().push(row);
        self
    }

    /// A person with a port of their own.
    pub(crate) fn user(self, name: &str, socks5: u16) -> Self {
        let row = json!({
            "name": name, "spiffe_id": id(&format!("user/{name}")), "socks5_proxy": format!("127.0.0.1:{socks5}"),
        });
        self.push("local_users", row)
    }

    pub(crate) fn service(self, name: &str, upstream: &str, allow: &[&str]) -> Self {
        let target = id(&format!("service/{name}"));
        let row = json!({ "name": name, "spiffe_id": target, "upstream_addr": upstream });
        self.push("local_services", row).push(
            "ingress",
            json!({ "target_spiffe_id": target, "allow": allow.iter().map(|who| id(who)).collect::<Vec<_>>() }),
        )
    }

    pub(crate) fn dials(self, service: &str, node: &str, udp: u16, allow: &[&str]) -> Self {
        let row = json!({
            "target_spiffe_id": id(&format!("service/{service}")), "target_node": node,
            "target_udp": format!("127.0.0.1:{udp}"), "allow": allow.iter().map(|who| id(who)).collect::<Vec<_>>(),
        });
        self.push("egress", row)
    }

    pub(crate) fn payload(&self) -> Payload {
        serde_json::from_value(self.0.clone()).unwrap()
    }

    pub(crate) async fn start(&self, identities: Identities) -> (Plane, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        (Plane::start(&self.payload(), identities, Arc::clone(&counters)).await.unwrap(), counters)
    }
}

/// A service that sends back what it gets, and ends when its client does.
pub(crate) async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
        }
    });
    address
}

/// CONNECT to a name; the reply field if it is not success.
pub(crate) async fn connect(socks5: u16, host: &str) -> Result<TcpStream, u8> {
    let mut name = vec![3, u8::try_from(host.len()).unwrap()];
    name.extend(host.as_bytes());
    request(socks5, 1, &name).await
}

/// One request with any command and address.
pub(crate) async fn request(socks5: u16, command: u8, address: &[u8]) -> Result<TcpStream, u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", socks5)).await.unwrap();
    stream.write_all(&[5, 1, 0]).await.unwrap();
    let mut method = [0; 2];
    stream.read_exact(&mut method).await.unwrap();
    assert_eq!(method, [5, 0]);
    let mut asked = vec![5, command, 0];
    asked.extend(address);
    asked.extend([0, 80]);
    stream.write_all(&asked).await.unwrap();
    let mut reply = [0; 10];
    stream.read_exact(&mut reply).await.unwrap();
    match reply {
        [5, 0, ..] => Ok(stream),
        [_, why, ..] => Err(why),
    }
}

/// Sends a line through and back.
pub(crate) async fn ping(stream: &mut TcpStream, text: &str) -> std::io::Result<()> {
    stream.write_all(text.as_bytes()).await?;
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).await?;
    assert_eq!(back, text.as_bytes());
    Ok(())
}

/// Waits until a stream is broken, and says how long that took.
pub(crate) async fn broken(stream: &mut TcpStream, since: Instant) -> Duration {
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("it breaks");
    assert!(read.is_err(), "it broke, and did not end: {read:?}");
    since.elapsed()
}

pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
