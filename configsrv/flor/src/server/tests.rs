//! What this node shows to servers, and how much it hears of them.

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use configsrv_fleet::Sequence;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
    time::timeout,
};

use super::{HttpServer, Server as _};
use crate::{Error, cluster::Cluster, home::Layout, plane::NoPlane};

/// A node that has a certificate, and asks these servers.
fn node(urls: &[String]) -> (HttpServer, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::at(&folder.path().display().to_string());
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    fs::create_dir_all(folder.path().join("certs")).unwrap();
    fs::write(layout.certificate("pier2"), certificate.pem()).unwrap();
    fs::write(layout.key("pier2"), key.serialize_pem()).unwrap();
    let cluster = Cluster {
        cluster: "quay.test".parse().unwrap(),
        node: "pier2".parse().unwrap(),
        urls: urls.to_vec(),
        api: Vec::new(),
        signers: Vec::new(),
    };
    (HttpServer::new(cluster, layout, None, Arc::new(NoPlane)), folder)
}

async fn ask(server: &HttpServer) -> Result<Option<Vec<u8>>, Error> {
    server.revocations(Sequence::NONE, Duration::ZERO).await
}

/// It says something to whoever asks for anything, and never comes to an end; how much it got rid of.
async fn endless(head: &'static str) -> (SocketAddr, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let talking = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(format!("HTTP/1.1 {head}\r\ntransfer-encoding: chunked\r\n\r\n").as_bytes()).await;
        let (chunk, mut said) = (format!("10000\r\n{}\r\n", "x".repeat(1 << 16)), 0);
        while stream.write_all(chunk.as_bytes()).await.is_ok() {
            said += chunk.len();
        }
        said
    });
    (address, talking)
}

#[tokio::test]
async fn nobody_is_listened_to_without_an_end() {
    // The first is an answer to discovery, of which no more is wanted than of a refusal.
    for head in ["200 OK", "500 Internal Server Error", "404 Not Found"] {
        let (address, talking) = endless(head).await;
        let (server, _folder) = node(&[format!("http://{address}")]);
        assert!(ask(&server).await.is_err(), "{head}");
        let said = timeout(Duration::from_secs(10), talking).await.expect("it is cut off").unwrap();
        assert!(said < 32 << 20, "{head}: {said} bytes");
    }
}
