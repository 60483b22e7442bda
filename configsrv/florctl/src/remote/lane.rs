use configsrv_fleet::{NodeName, SealedRevocations, Sequence, revocation::MAX_REVOCATIONS};
use reqwest::{StatusCode, header};

use super::{
    http::{Http, decode, limited, perhaps_done},
    wire::Taken,
};
use crate::failure::Failure;

/// The revocations as the servers have them.
pub(crate) struct Lane {
    pub(crate) sealed: SealedRevocations,
    pub(crate) published_ms: Option<u64>,
}

impl Http {
    /// `None` as long as nobody was revoked.
    pub(crate) async fn revocations(&self) -> Result<Option<Lane>, Failure> {
        // Whoever says that they have none is not refused when there are none.
        let response = self.send(self.request_get(&format!("/revocations?have={}", Sequence::NONE))).await?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let published = response.headers().get("flor-published-ms").and_then(|value| value.to_str().ok());
        let published_ms = published.and_then(|text| text.parse().ok());
        let sealed = SealedRevocations::parse(&limited(response, MAX_REVOCATIONS).await?)?;
        Ok(Some(Lane { sealed, published_ms }))
    }

    /// Gives revocations to the servers, as the exact bytes that were signed. What `ignored` nodes have reported does not
    /// stop it.
    pub(crate) async fn revoke(&self, sealed: &SealedRevocations, ignored: &[NodeName]) -> Result<Taken, Failure> {
        let names: Vec<&str> = ignored.iter().map(NodeName::as_str).collect();
        let query = if names.is_empty() { String::new() } else { format!("?ignore_reports_of={}", names.join(",")) };
        let request =
            self.request_post(&format!("/revocations{query}")).header(header::CONTENT_TYPE, "application/json");
        let answer = async { decode(self.send(request.body(sealed.bytes().to_vec())).await?).await };
        answer.await.map_err(perhaps_done)
    }
}
