use std::net::SocketAddr;

use async_trait::async_trait;
use holdfast_keyspace::KeyRange;

use crate::{Identity, Presented, Refusal};

/// The one who knows principals and decides: IAM in this process. Denials are recorded by it.
#[async_trait]
pub trait Authority: Send + Sync + 'static {
    /// Establishes who calls; [`Refusal::Anonymous`] if nothing was presented.
    async fn authenticate(&self, presented: Presented) -> Result<Identity, Refusal>;

    /// Decides locally from this server's state; never waits for the network.
    fn authorize(&self, identity: &Identity, action: &str, resource: &str) -> Result<(), Refusal>;

    /// Whether the caller may do `access` to every key in `range` of chainfire's user keyspace. An authority without
    /// key permissions decides about all keys at once.
    fn authorize_keys(&self, identity: &Identity, access: KeyAccess, range: &KeyRange) -> Result<(), Refusal> {
        let _ = range;
        self.authorize(identity, access.action(), "keys/*")
    }
}

/// The two rights that chainfire knows on keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyAccess {
    Read,
    Write,
}

impl KeyAccess {
    pub fn action(self) -> &'static str {
        match self {
            Self::Read => "kv.Read",
            Self::Write => "kv.Write",
        }
    }
}

/// Logging in with a name and a password, as etcd's `Authenticate` does.
#[async_trait]
pub trait PasswordLogin: Send + Sync + 'static {
    /// A bearer token for an access key id and its secret (or, while it is enabled, `admin` and the bootstrap token).
    async fn login(&self, name: &str, password: &str, source: Option<SocketAddr>) -> Result<String, Refusal>;
}
