use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use holdfast_bench::{Certified, Plane};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::node::Node;

/// Joins, handshakes and first fetches that are under way at a time.
const AT_ONCE: usize = 64;

/// All nodes of the fleet, each with connections of its own, spread over the servers.
pub(crate) struct Crew {
    pub(crate) nodes: Vec<Node>,
    /// Until the last of them had joined.
    pub(crate) joined: Duration,
    /// Until the last of them had its connection and its first artifact.
    pub(crate) fetched: Duration,
}

pub(crate) fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("n{number:05}")).collect()
}

/// Certificates for all.
pub(crate) async fn join(plane: &Plane, names: &[String]) -> Result<Vec<Certified>> {
    let admin = plane.administrator(0).await?;
    let joins = stream::iter(names).map(|name| {
        let admin = admin.clone();
        async move { Certified::enroll(&admin, name).await.with_context(|| format!("{name} cannot join")) }
    });
    joins.buffered(AT_ONCE).try_collect().await
}

impl Crew {
    /// Everybody comes, and fetches what is published. So many stay connected; the others make room for the next.
    pub(crate) async fn come(plane: &Plane, known: &[Certified], joined: Duration, room: usize) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(plane.ca().as_bytes())?)?;
        let roots = Arc::new(roots);
        let servers = (0..plane.count()).map(|at| Ok(plane.endpoints(at)?.http)).collect::<Result<Vec<_>>>()?;
        let begun = Instant::now();
        let comes =
            stream::iter(known.iter().zip(servers.iter().cycle()).enumerate()).map(|(number, (known, server))| {
                let roots = &roots;
                async move {
                    let mut node = Node::new(known, roots, server)?;
                    node.look().await?;
                    if number >= room {
                        node.leave();
                    }
                    Ok::<_, anyhow::Error>(node)
                }
            });
        let nodes = comes.buffered(AT_ONCE).try_collect().await?;
        Ok(Self { nodes, joined, fetched: begun.elapsed() })
    }
}
