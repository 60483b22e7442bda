//! Connections that a node holds open while what it is known by rotates.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use holdfast_proto::configsrv::{WatchRequest, WatchResponse, config_service_client::ConfigServiceClient};
use tonic::Streaming;

use crate::{
    node::{self, Node, Tls, channel},
    plane::Plane,
};

/// How soon a connection ends after the change that ends it, and how long it takes to see that.
pub(super) const CUT: Duration = Duration::from_secs(1);

/// What a node holds open at one server.
pub(super) struct Open {
    pub(super) watch: Streaming<WatchResponse>,
    doors: Vec<Tls>,
}

impl Open {
    pub(super) async fn at(plane: &Plane, at: usize, node: &Node) -> Result<Self> {
        let endpoints = plane.endpoints(at)?;
        let mut client = ConfigServiceClient::new(channel(plane, &endpoints, Some(node))?);
        let mut watch = client.watch(WatchRequest {}).await?.into_inner();
        ensure!(watch.message().await?.is_some(), "the version of now");
        let doors =
            vec![connection(plane, &endpoints.api, node).await?, connection(plane, &endpoints.http, node).await?];
        Ok(Self { watch, doors })
    }

    /// Waits for the end of everything, and says when that was.
    pub(super) async fn ended(mut self) -> Result<Instant> {
        while let Ok(Some(_)) = self.watch.message().await {}
        for mut door in self.doors {
            ensure!(is_closed(&mut door)?, "a connection is still open");
        }
        Ok(Instant::now())
    }
}

/// A connection that has been used once.
async fn connection(plane: &Plane, door: &str, node: &Node) -> Result<Tls> {
    let mut stream = node::connect(plane, door, Some(node), Ipv4Addr::LOCALHOST).await?;
    // Anything that is not public will do: it is not there, or not for nodes.
    stream.write_all(b"GET /nodes HTTP/1.1\r\nHost: server\r\n\r\n")?;
    let mut first = [0; 12];
    stream.read_exact(&mut first)?;
    ensure!(!first.ends_with(b"401"), "{}", String::from_utf8_lossy(&first));
    Ok(stream)
}

/// Reads what is left of an answer until the server closes.
fn is_closed(stream: &mut Tls) -> Result<bool> {
    loop {
        match stream.read(&mut [0; 4096]) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(false),
            Err(_) => return Ok(true),
        }
    }
}
