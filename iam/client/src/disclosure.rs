use async_trait::async_trait;

use crate::{Identity, Refusal};

/// Records reads that show much at once, such as a copy of everything. They change nothing, so that no journal has
/// them.
#[async_trait]
pub trait DisclosureLog: Send + Sync + 'static {
    /// Returns when the record is on disk; without it nothing may be shown.
    async fn record_disclosure(&self, caller: &Identity, action: &'static str, resource: &str) -> Result<(), Refusal>;
}
