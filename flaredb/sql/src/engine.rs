use std::{fmt, io, sync::Arc};

use datafusion::{
    catalog::CatalogProviderList,
    config::Dialect,
    execution::{
        SessionState, SessionStateBuilder,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::GreedyMemoryPool,
        runtime_env::RuntimeEnvBuilder,
    },
    prelude::SessionConfig,
};
use flaredb_core::{
    Catalog,
    catalog::{DATABASE, PUBLIC},
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::Semaphore,
};

use crate::{Error, Limits, Snapshot, bounded, catalog::Databases, checked, columns::UTC, pg_catalog};

/// Plans and runs queries on threads of its own, so that a heavy one delays no heartbeat.
pub struct Engine {
    base: SessionState,
    limits: Limits,
    permits: Arc<Semaphore>,
    threads: Threads,
}

/// Dropping a runtime blocks, which an async caller must not: it is told to end by itself.
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Engine {
    /// Fails if the system gives no threads, or the engine has not the functions that it had.
    pub fn new(limits: Limits) -> io::Result<Self> {
        // As many as queries: one that does not yield holds up no other.
        let concurrent = limits.concurrent.max(1);
        let runtime = Builder::new_multi_thread()
            .worker_threads(concurrent)
            .thread_name("flaredb-query")
            // Planning recurses as deep as statements nest.
            .thread_stack_size(8 << 20)
            .enable_time()
            .build()?;
        let permits = Arc::new(Semaphore::new(concurrent));
        let base = base_state(limits.memory_bytes).map_err(io::Error::other)?;
        Ok(Self { base, limits, permits, threads: Threads(Some(runtime)) })
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn permits(&self) -> Arc<Semaphore> {
        self.permits.clone()
    }

    pub(crate) fn threads(&self) -> Result<&Handle, Error> {
        let gone = || Error::new(flaredb_core::SqlState::CannotConnectNow, "the server is stopping");
        self.threads.0.as_ref().map(Runtime::handle).ok_or_else(gone)
    }

    /// The state for one query: the snapshot's tables, and memory of its own.
    pub(crate) fn session(&self, snapshot: &Snapshot) -> Result<SessionState, Error> {
        let catalog = Arc::new(Catalog::load(snapshot.as_ref())?);
        let databases: Arc<dyn CatalogProviderList> = Arc::new(Databases::new(&catalog, snapshot));
        // Nothing is spilled: a query that does not fit fails.
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(self.limits.memory_bytes)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()?;
        Ok(SessionStateBuilder::new_from_existing(self.base.clone())
            .with_catalog_list(databases)
            .with_runtime_env(runtime)
            .build())
    }
}

fn base_state(memory_bytes: usize) -> datafusion::common::Result<SessionState> {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(DATABASE, PUBLIC)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true)
        // A scan is one ordered stream. Split into several, it would have to be sorted again.
        .with_target_partitions(1);
    let options = config.options_mut();
    options.sql_parser.dialect = Dialect::PostgreSQL;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.execution.time_zone = Some(UTC.to_owned());
    let builder = SessionStateBuilder::new().with_config(config).with_default_features();
    let mut state = builder.with_analyzer_rule(checked::arithmetic()).build();
    pg_catalog::register_functions(&mut state);
    bounded::register_functions(&mut state, memory_bytes)?;
    Ok(state)
}

impl fmt::Debug for Engine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Engine").field("limits", &self.limits).finish_non_exhaustive()
    }
}
