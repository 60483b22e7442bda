use std::sync::Arc;

use async_trait::async_trait;
use chainfire_raft::StateDb;

use crate::{integrity, lease};

/// Answers what the other servers ask around the log.
pub(crate) struct Desk {
    pub(crate) leases: Arc<lease::Desk>,
    pub(crate) state: StateDb,
}

#[async_trait]
impl chainfire_raft::Desk for Desk {
    async fn answer(&self, question: &[u8]) -> Result<Vec<u8>, String> {
        let Ok(asked) = integrity::Question::decode(question) else {
            return self.leases.answer_encoded(question).await;
        };
        let view = self.state.snapshot();
        let answered = tokio::task::spawn_blocking(move || integrity::answer(&view, asked)).await;
        let answered = answered.map_err(|error| error.to_string())?.map_err(|halt| halt.to_string())?;
        answered.encode().map_err(|error| error.to_string())
    }
}
