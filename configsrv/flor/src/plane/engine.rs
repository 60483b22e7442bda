use std::sync::Arc;

use configsrv_fleet::Payload;
use configsrv_rete::{Counters, Identities, Plane};
use tokio::runtime::{Builder, Runtime};

use crate::{Error, machine::Failure};

const WORKERS: usize = 2;

/// Threads of the plane's own: the agent's one thread waits for the disk now and then, which connections must not.
pub(super) struct Engine(Option<Runtime>);

impl Engine {
    pub(super) fn new() -> Result<Self, Error> {
        let runtime = Builder::new_multi_thread().worker_threads(WORKERS).thread_name("rete").enable_all().build();
        runtime
            .map(|runtime| Self(Some(runtime)))
            .map_err(|error| Error::Unexpected(format!("the plane's threads: {error}")))
    }

    pub(super) async fn start(
        &self,
        payload: Payload,
        identities: Identities,
        counters: Arc<Counters>,
    ) -> Result<Plane, Failure> {
        let Some(runtime) = &self.0 else { return Err(Failure("the plane's threads are gone".into())) };
        let started = runtime.spawn(async move { Plane::start(&payload, identities, counters).await });
        let failed = |error: &dyn std::fmt::Display| Failure(format!("the data plane does not start: {error}"));
        started.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
    }
}

impl Drop for Engine {
    /// Not by waiting, which the agent's own runtime forbids.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
