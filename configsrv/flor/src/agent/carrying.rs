use super::Agent;
use crate::{Error, machine::World};

impl Agent {
    /// A confirmed set that is damaged is what a person brought, if that is the one: then no server is needed to have a way
    /// back again. Whatever else they brought is judged later.
    pub(super) fn mend_with(&self, world: &World, bytes: &[u8]) -> Result<(), Error> {
        let Some(confirmed) = world.state.confirmed else { return Ok(()) };
        if self.staged(world, confirmed.version).is_ok() {
            return Ok(());
        }
        match self.stage_again(world, confirmed, bytes) {
            Ok(_) | Err(Error::Untrusted(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
