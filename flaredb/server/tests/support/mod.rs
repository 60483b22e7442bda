//! One real server: Raft, RocksDB, DataFusion, and its doors on ports of their own.

#![allow(dead_code, unused_imports, reason = "every test file is a crate of its own and uses a part of this")]
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod wire;

use std::{
    future::Future,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use chainfire_core::AuthenticatedBy;
use chainfire_raft::{Cluster, GroupConfig, Node, NodeConfig};
use flaredb_client::{Client, Query};
use flaredb_server::{
    Config, Flaredb, FlaredbMachine,
    pg::{self, PgConfig, SqlLogin},
};
use holdfast_rpc::{Connection, Standing};
use holdfast_service::Stop;
use iam_client::{Evidence, Identity, Kind, PrincipalId, Refusal, Scope};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinSet};
pub(crate) use wire::{Wire, first_column as first, sqlstate};

pub(crate) const USER: &str = "mira";
pub(crate) const PASSWORD: &str = "correct horse";

pub(crate) struct Server {
    pub(crate) flaredb: Flaredb,
    pub(crate) sql: SocketAddr,
    pub(crate) api: SocketAddr,
    pub(crate) stop: Stop,
    pub(crate) login: Arc<Logins>,
    node: Node,
    tasks: JoinSet<()>,
}

/// Knows one user, whose right can be taken away, and whose password can be revoked.
#[derive(Default)]
pub(crate) struct Logins {
    pub(crate) denied: Mutex<bool>,
    pub(crate) revoked: Mutex<bool>,
}

pub(crate) fn identity() -> Identity {
    Identity {
        principal: PrincipalId::new(Kind::User, USER).unwrap().into(),
        authenticated_by: AuthenticatedBy::Credential,
        evidence: Evidence::None,
        token_id: None,
        roles: vec!["auditor".to_owned()],
        scope: Scope::System,
        source: None,
        request_id: "r1".to_owned(),
    }
}

#[async_trait]
impl SqlLogin for Logins {
    async fn login(&self, user: &str, password: &str, _: &Connection) -> Result<Identity, Refusal> {
        if (user, password) == (USER, PASSWORD) { Ok(identity()) } else { Err(Refusal::Unauthenticated) }
    }

    fn authorize(&self, _: &Identity, action: &str, resource: &str) -> Result<(), Refusal> {
        if *self.revoked.lock().unwrap() {
            return Err(Refusal::Unauthenticated);
        }
        if *self.denied.lock().unwrap() || action != "history.Read" {
            return Err(Refusal::Denied { action: action.to_owned(), resource: resource.to_owned() });
        }
        Ok(())
    }

    fn admitted(&self, _: &Identity, standing: &Standing) {
        standing.known();
    }
}

impl Server {
    pub(crate) async fn start(folder: &Path) -> Self {
        Self::start_with(folder, |_| {}).await
    }

    pub(crate) async fn start_with(folder: &Path, change: impl FnOnce(&mut PgConfig)) -> Self {
        let peers = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cluster = Cluster::single("one", "127.0.0.1:1");
        let members = cluster.members.clone();
        let node = Node::open(NodeConfig::new(folder, cluster, "one"), peers).unwrap();
        let group = node.group(GroupConfig::flaredb(), Arc::new(FlaredbMachine)).await.unwrap();
        let mut config = Config::new("one", members);
        config.decisions_every = Duration::from_millis(20);
        let flaredb = Flaredb::new(group, config).unwrap();
        node.start(|_| Ok(Vec::new())).await.unwrap();

        let (stop, login) = (Stop::new(), Arc::new(Logins::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(flaredb.clone().keep_schema(stop.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sql = listener.local_addr().unwrap();
        let mut pg_config = PgConfig::new(None, true);
        change(&mut pg_config);
        let serving = pg::serve(flaredb.clone(), listener, login.clone(), pg_config, stop.clone());
        tasks.spawn(async move { serving.await.unwrap() });

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = listener.local_addr().unwrap();
        // In place of the IAM layer: everybody is Mira.
        let known = tonic::service::interceptor::InterceptorLayer::new(|mut request: tonic::Request<()>| {
            request.extensions_mut().insert(identity());
            Ok(request)
        });
        let (service, ended) = (flaredb.grpc(), stop.clone());
        tasks.spawn(async move {
            let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
            let router = tonic::transport::Server::builder().layer(known).add_service(service);
            router.serve_with_incoming_shutdown(incoming, async move { ended.requested().await }).await.unwrap();
        });
        flaredb.ready().await;
        Self { flaredb, sql, api, stop, login, node, tasks }
    }

    pub(crate) async fn client(&self) -> Client {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", self.api)).unwrap();
        Client::new(endpoint.connect().await.unwrap())
    }

    /// The first column of a query's rows, as text.
    pub(crate) async fn column(&self, sql: &str) -> Vec<String> {
        let table = self.client().await.table(Query::new(sql)).await.unwrap();
        let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        table.rows.iter().map(|row| text(&row[0])).collect()
    }

    /// Waits until a query of one value answers `expected`.
    pub(crate) async fn until(&self, sql: &str, expected: &str) {
        eventually(sql, || async { self.column(sql).await == [expected] }).await;
    }

    /// Ends in good order and frees the folder.
    pub(crate) async fn end(mut self) {
        self.stop.request();
        while self.tasks.join_next().await.is_some() {}
        drop(self.flaredb);
        self.node.stop().await;
    }
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
