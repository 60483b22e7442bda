use std::{io, net::SocketAddr};

use anyhow::Context as _;
use holdfast_rpc::ServerTls;
use tokio::net::TcpListener;

use crate::{
    config::{self, Settings},
    dev::Endpoints,
};

/// The listeners for clients, bound before anything else, so that a port in use is found before any data is touched.
pub(super) struct Doors {
    pub(super) api: Door,
    pub(super) http: Door,
    pub(super) sql: Door,
    /// For API and HTTP, which offer HTTP/2 and HTTP/1.1.
    pub(super) web_tls: Option<ServerTls>,
    /// For SQL.
    pub(super) sql_tls: Option<ServerTls>,
}

pub(super) struct Door {
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
}

impl Doors {
    /// The listener for peers comes beside them: it belongs to the node.
    pub(super) async fn open(settings: &Settings) -> anyhow::Result<(Self, Door)> {
        let config::Doors { api, http, sql, peer } = settings.doors;
        let tls = |alpn: &[&[u8]]| settings.tls.clone().map(|files| ServerTls::load(files, alpn)).transpose();
        let doors = Self {
            web_tls: tls(&[b"h2", b"http/1.1"])?,
            sql_tls: tls(&[b"postgresql"])?,
            api: Door::open("api", api).await?,
            http: Door::open("http", http).await?,
            sql: Door::open("sql", sql).await?,
        };
        Ok((doors, Door::open("peer", peer).await?))
    }

    pub(super) fn endpoints(&self, peer: SocketAddr) -> Endpoints {
        Endpoints { api: self.api.address, http: self.http.address, sql: self.sql.address, peer }
    }
}

impl Door {
    async fn open(name: &'static str, address: SocketAddr) -> anyhow::Result<Self> {
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok::<_, io::Error>(Self { listener, address })
        };
        bound.await.with_context(|| format!("the {name} door cannot listen on {address}"))
    }
}
