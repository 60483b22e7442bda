use holdfast_proto::iam::{AuthorizeRequest, AuthorizeResponse, authz_server::Authz};
use tonic::{Request, Response, Status, async_trait};

use super::convert;
use crate::{Error, Iam};

#[async_trait]
impl Authz for Iam {
    async fn authorize(&self, request: Request<AuthorizeRequest>) -> Result<Response<AuthorizeResponse>, Status> {
        let by = convert::caller(&request)?;
        let AuthorizeRequest { principal, action, resource } = request.into_inner();
        if action.is_empty() || resource.is_empty() {
            return Err(Error::Invalid("name an action and a resource".to_owned()).into());
        }
        let about = if principal.is_empty() { by } else { self.other(&by, &principal.parse().map_err(Error::from)?)? };
        let verdict = self.0.decide(&about, &action, &resource)?;
        Ok(Response::new(AuthorizeResponse {
            allowed: verdict.allowed,
            roles: self.0.caller_holdings(&about)?.role_names(),
            policy: verdict.policy.unwrap_or_default(),
            revision: self.0.records.applied().system_revision,
        }))
    }
}
