use std::slice;

use configsrv_fleet::Sealed;

use super::Agent;
use crate::{
    Error,
    machine::{Target, World},
};

impl Agent {
    /// Fetches a confirmed set again that is damaged: without it there is no way back.
    pub(super) async fn mend(&self, world: &World) -> Result<(), Error> {
        let Some(confirmed) = world.state.confirmed else { return Ok(()) };
        let Err(damage) = self.staged(world, confirmed.version) else { return Ok(()) };
        let mended = async {
            let fetched = self.in_window(world, self.server.exact(confirmed.version)).await?;
            if self.stage_again(world, confirmed, &fetched)? {
                Ok(())
            } else {
                Err(Error::Untrusted("the server has another content under this number".into()))
            }
        };
        mended.await.map_err(|error| {
            let version = confirmed.version;
            let text = format!(
                "{damage}, and it cannot be fetched again: {error}; flor sync --from takes version {version} from a file"
            );
            if matches!(error, Error::Unreachable(_)) { Error::Unreachable(text) } else { Error::Unexpected(text) }
        })?;
        tracing::warn!(%damage, "what is confirmed was damaged, and is fetched again");
        if let Err(error) = self.connect().await {
            tracing::error!(%error, "the data plane is not what the active version says");
        }
        Ok(())
    }

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

    /// Puts back what was confirmed, if that is what these bytes are: the same content, and signed by whom it was, also if their
    /// signature does not count any more. The rest of an artifact than its content, e.g. until when it is fresh, is under the
    /// signature alone.
    fn stage_again(&self, world: &World, confirmed: Target, bytes: &[u8]) -> Result<bool, Error> {
        let sealed = Sealed::parse(bytes)?;
        if (sealed.version(), sealed.payload_digest()) != (confirmed.version, confirmed.digest) {
            return Ok(false);
        }
        sealed.verify(world.signer(confirmed.version).map_or(self.trusted(world), slice::from_ref))?;
        self.store.stage(&sealed).map(|()| true)
    }
}
