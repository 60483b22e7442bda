//! Which changes may not go without a guard.

use configsrv_fleet::{Payload, diff::Class};

use super::Agent;
use crate::{Error, machine::World, outcome::SyncRequest};

impl Agent {
    /// Refuses a change without a window on the node that distributes versions: a bad one would leave nobody to ask for
    /// a better one, so there is always a way back. Both its first version as that node and its last one count. Another
    /// number for what runs changes nothing.
    pub(super) fn guarded(
        &self,
        world: &World,
        payload: &Payload,
        class: Class,
        request: &SyncRequest,
    ) -> Result<(), Error> {
        if request.window().is_some() || class == Class::Noop {
            return Ok(());
        }
        // What cannot be read now was refused or mended before.
        let running = self.active_payload(world).ok().flatten();
        if !distributes(payload) && !running.as_ref().is_some_and(distributes) {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "{} has the service that nodes get their versions from, and is always guarded: sync it with a \
             --commit-timeout above 0, and flor sync --confirm when it is well",
            payload.node
        )))
    }
}

/// Whether what nodes ask for their next version is on this node.
fn distributes(payload: &Payload) -> bool {
    payload.local_services.iter().any(|service| service.spiffe_id == payload.sync.config_server)
}
