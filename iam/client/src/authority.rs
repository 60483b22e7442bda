use std::{net::SocketAddr, time::Duration};

use async_trait::async_trait;
use chainfire_core::{Origin, auth::KeyAccess};
use holdfast_keyspace::KeyRange;
use holdfast_rpc::Standing;
use tokio::sync::watch;

use crate::{Identity, Presented, Refusal};

/// Knows whether what established a caller still counts.
pub trait StillHolds: Send + Sync + 'static {
    /// For streams, which may outlive what established `identity`: [`Refusal::Unauthenticated`], which is recorded, if
    /// that has ended.
    fn still_holds(&self, identity: &Identity) -> Result<(), Refusal>;
}

/// The one who knows principals and decides: IAM in this process. Denials are recorded by it.
#[async_trait]
pub trait Authority: StillHolds {
    /// Establishes who calls; [`Refusal::Anonymous`] if nothing was presented.
    async fn authenticate(&self, presented: Presented) -> Result<Identity, Refusal>;

    /// Decides locally from this server's state; never waits for the network. [`Refusal::Unauthenticated`] if what
    /// established `identity` has ended since.
    fn authorize(&self, identity: &Identity, action: &str, resource: &str) -> Result<(), Refusal>;

    /// The index of the state that decisions are made from, which moves once all that it brings can be seen. Without a
    /// state there is none that a caller could demand.
    fn progress(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }

    /// Hears that `identity` uses the connection of `standing`, which is no stranger's any more. An authority that
    /// remembers it can cut the connection when the caller may not go on.
    fn admitted(&self, _identity: &Identity, standing: &Standing) {
        standing.known();
    }

    /// Hears how long it took to establish a caller and to decide about its request.
    fn took(&self, _time: Duration) {}

    /// Records a refusal that a service decided on by rules of its own; equal ones of a moment are counted together.
    fn record_denial(&self, caller: &Origin, action: &str, resource: &str, reason: &str);
}

/// Rights on the keys of chainfire's user keyspace, decided locally like [`Authority::authorize`].
pub trait KeyAuthority: StillHolds {
    /// Whether the caller may do `access` to every key in `range`, for a server that wants to save itself smaller
    /// questions: a no is not a denial yet, and nothing is recorded.
    fn may_access_keys(&self, identity: &Identity, access: KeyAccess, range: &KeyRange) -> Result<bool, Refusal>;

    /// The same for a request that names these keys: [`Refusal::Denied`] if not, which is recorded.
    fn authorize_keys(&self, identity: &Identity, access: KeyAccess, range: &KeyRange) -> Result<(), Refusal>;

    /// For what names no key but is of use only with keys, such as a lease: [`Refusal::Denied`], which is recorded, if
    /// there is none to which the caller may do `access`.
    fn authorize_some_key(&self, identity: &Identity, access: KeyAccess) -> Result<(), Refusal>;
}

/// Logging in with a name and a password, as etcd's `Authenticate` does.
#[async_trait]
pub trait PasswordLogin: Send + Sync + 'static {
    /// A bearer token for an access key id and its secret (or, while it is enabled, `admin` and the bootstrap token).
    async fn login(&self, name: &str, password: &str, source: Option<SocketAddr>) -> Result<String, Refusal>;

    /// Counts changes of principals and policy; etcd's `AuthStatus` shows it.
    fn revision(&self) -> u64;
}
