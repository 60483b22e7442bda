use holdfast_proto::iam::{
    self as wire, AcknowledgeRequest, AcknowledgeResponse, ListVerifiersRequest, ListVerifiersResponse,
    verifiers_server::Verifiers,
};
use iam_core::verifier::Versions;
use tonic::{Request, Response, Status, async_trait};

use super::convert;
use crate::{Error, Iam, verifiers::Standing};

#[async_trait]
impl Verifiers for Iam {
    async fn acknowledge(&self, request: Request<AcknowledgeRequest>) -> Result<Response<AcknowledgeResponse>, Status> {
        let by = convert::caller(&request)?;
        let versions = request.into_inner().versions;
        let wire::Versions { keys, trust, policy, revocations } =
            versions.ok_or_else(|| Error::Invalid("say which versions".to_owned()))?;
        let current = self.acknowledge(&by, Versions { keys, trust, policy, revocations, masters: 0 }).await?;
        Ok(Response::new(AcknowledgeResponse { current: Some(shown(current)) }))
    }

    async fn list(&self, _: Request<ListVerifiersRequest>) -> Result<Response<ListVerifiersResponse>, Status> {
        let current = self.0.versions()?;
        let verifiers = self.0.standings()?.into_iter().map(|standing| verifier(standing, &current));
        Ok(Response::new(ListVerifiersResponse { verifiers: verifiers.collect(), current: Some(shown(current)) }))
    }
}

fn verifier(standing: Standing, current: &Versions) -> wire::Verifier {
    let behind = !standing.word.as_ref().is_some_and(|word| word.versions.covers(current));
    let (versions, acknowledged_ms, signed) = match standing.word {
        None => (None, 0, Default::default()),
        Some(word) => (Some(shown(word.versions)), word.at_ms, word.signed_until_ms.into_iter().collect()),
    };
    wire::Verifier { name: standing.name, versions, acknowledged_ms, behind, signed_until_ms: signed }
}

fn shown(versions: Versions) -> wire::Versions {
    let Versions { keys, trust, policy, revocations, masters: _ } = versions;
    wire::Versions { keys, trust, policy, revocations }
}
