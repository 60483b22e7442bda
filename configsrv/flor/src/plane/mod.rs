//! The data plane as the agent drives it: it follows the artifact that is active, and the identities on disk.

mod engine;
mod live;
mod view;

use std::collections::BTreeSet;

use async_trait::async_trait;
use configsrv_fleet::{Payload, SpiffeId};

pub(crate) use live::LivePlane;
pub(crate) use view::{CountersView, PlaneView};

use crate::machine::Failure;

/// What it took to make the plane what it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// It runs on, with other tables or not; it runs for the first time; or there is none.
    AsItWas,
    /// One that ran before was started anew.
    Restarted,
}

#[async_trait]
pub(crate) trait DataPlane: Send + Sync {
    /// Makes the plane what `payload` says, by the least that does it: nothing, a swap of tables, or a restart. Without a
    /// payload there is no plane.
    async fn apply(&self, payload: Option<&Payload>) -> Result<Reached, Failure>;

    /// From now on `revoked` are subtracted from whatever payload there is, also from later ones. What they have open is
    /// closed; nobody else notices.
    async fn narrow(&self, revoked: BTreeSet<SpiffeId>);

    /// Whether this process runs a plane now. If not, its ports may be anybody's.
    fn runs(&self) -> bool;
}

/// In a command without a daemon: tunnels need somebody who stays.
pub(crate) struct NoPlane;

#[async_trait]
impl DataPlane for NoPlane {
    async fn apply(&self, _payload: Option<&Payload>) -> Result<Reached, Failure> {
        Ok(Reached::AsItWas)
    }

    async fn narrow(&self, _revoked: BTreeSet<SpiffeId>) {}

    fn runs(&self) -> bool {
        false
    }
}
