//! How a cluster comes into being, once: every configured server must answer *empty, same configuration* before the
//! first of them begins; and how a server finds out that its disk is not the one the cluster knows.

mod adopt;
mod identity;
mod procedure;

pub(crate) use adopt::{Found, look, not_alone, voters};
pub(crate) use identity::Known;
pub(crate) use procedure::{Place, join};

use uuid::Uuid;

use crate::{RaftId, Slot};

/// What the first command of a new cluster is made of. Everything random or of this moment is in here, so that the
/// command can be applied alike everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founding {
    pub cluster: Uuid,
    pub lineage: Uuid,
    /// Unix time in milliseconds.
    pub time_ms: u64,
    pub members: Vec<Founder>,
}

/// One of the first members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founder {
    pub slot: Slot,
    pub name: String,
    /// Its peer address, `host:port`.
    pub address: String,
    pub id: RaftId,
}

/// A random UUID (version 4).
pub(crate) fn random_uuid() -> Result<Uuid, crate::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| crate::Error::Config(format!("no randomness: {error}")))?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}
