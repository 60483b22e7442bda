//! An authority that knows two roles, and signed trees; what the tests of server and agent share.

#![allow(dead_code, reason = "every test binary uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

pub(crate) mod lane;
pub(crate) mod tree;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use chainfire_client::memory::MemoryStore;
use chainfire_core::{AuthenticatedBy, Origin};
use configsrv_server::{ConfigService, Settings};
use iam_client::{Authority, Evidence, Identity, Kind, Presented, PrincipalId, Refusal, Scope, StillHolds};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

pub(crate) const OPERATOR: &str = "operator-token";

/// Knows `operator-token`, and `node:NAME` for every node; operators may do everything, nodes what is theirs.
pub(crate) struct Rules;

impl StillHolds for Rules {
    fn still_holds(&self, _: &Identity) -> Result<(), Refusal> {
        Ok(())
    }
}

#[async_trait]
impl Authority for Rules {
    async fn authenticate(&self, presented: Presented) -> Result<Identity, Refusal> {
        if let Some((user, _)) = &presented.basic {
            return Ok(Identity { authenticated_by: AuthenticatedBy::Credential, ..node(user) });
        }
        match presented.bearer.as_deref() {
            None => Err(Refusal::Anonymous),
            Some(OPERATOR) => Ok(operator()),
            Some(token) => token.strip_prefix("node:").map(node).ok_or(Refusal::Unauthenticated),
        }
    }

    fn authorize(&self, identity: &Identity, action: &str, resource: &str) -> Result<(), Refusal> {
        let own = resource == identity.principal.to_string();
        let allowed = match identity.principal.principal().map(PrincipalId::kind) {
            Some(Kind::User) => true,
            Some(Kind::Node) => match action {
                "config.ReadArtifact" | "config.ReportStatus" => own,
                "lock.Use" => true,
                _ => false,
            },
            Some(Kind::Service) | None => false,
        };
        let denied = || Refusal::Denied { action: action.to_owned(), resource: resource.to_owned() };
        if allowed { Ok(()) } else { Err(denied()) }
    }

    fn record_denial(&self, _: &Origin, _: &str, _: &str, _: &str) {}
}

/// One request as the operator, over the network.
pub(crate) async fn post(address: SocketAddr, path: &str, body: String) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: hub\r\nconnection: close\r\nauthorization: Bearer {OPERATOR}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

pub(crate) async fn publish(address: SocketAddr, tree: &tree::Tree<'_>, base_version: u64) {
    let response = post(address, "/publish", tree.body(base_version)).await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
}

pub(crate) fn operator() -> Identity {
    identity(Kind::User, "mira")
}

pub(crate) fn node(name: &str) -> Identity {
    identity(Kind::Node, name)
}

fn identity(kind: Kind, name: &str) -> Identity {
    Identity {
        principal: PrincipalId::new(kind, name).unwrap().into(),
        authenticated_by: AuthenticatedBy::Token,
        evidence: Evidence::None,
        token_id: None,
        roles: Vec::new(),
        scope: Scope::System,
        source: None,
        request_id: "r1".to_owned(),
    }
}

/// Looks until there is something: for what is written beside the answers.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), looking).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// A server without anything published.
pub(crate) fn service(settings: Settings) -> (ConfigService, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::new().unwrap());
    (ConfigService::new(Arc::clone(&store) as _, Arc::new(Rules), settings), store)
}
