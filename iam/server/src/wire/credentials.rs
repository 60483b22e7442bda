use holdfast_proto::iam::{
    CreateCredentialRequest, CreateCredentialResponse, GetCredentialSecretRequest, GetCredentialSecretResponse,
    ListCredentialsRequest, ListCredentialsResponse, RevokeCredentialRequest, RevokeCredentialResponse,
    credentials_server::Credentials,
};
use tonic::{Request, Response, Status, async_trait};

use super::convert;
use crate::Iam;

#[async_trait]
impl Credentials for Iam {
    async fn create(
        &self,
        request: Request<CreateCredentialRequest>,
    ) -> Result<Response<CreateCredentialResponse>, Status> {
        let by = convert::caller(&request)?;
        let CreateCredentialRequest { principal, note } = request.into_inner();
        let principal = convert::principal_or_caller(&principal, &by)?;
        let new = self.create_credential(&by, &principal, note).await?;
        Ok(Response::new(CreateCredentialResponse {
            credential: Some(convert::credential(&principal.to_string(), new.credential, None)),
            secret: new.secret.to_string(),
            revision: new.revision,
        }))
    }

    async fn list(
        &self,
        request: Request<ListCredentialsRequest>,
    ) -> Result<Response<ListCredentialsResponse>, Status> {
        let by = convert::caller(&request)?;
        let principal = convert::principal_or_caller(&request.into_inner().principal, &by)?;
        let owner = principal.to_string();
        let (found, mut last) = self.list_credentials(&by, &principal)?;
        let credentials = found.into_iter().map(|one| {
            let used = last.uses.remove(&one.id);
            convert::credential(&owner, one, used)
        });
        let credentials = credentials.collect();
        Ok(Response::new(ListCredentialsResponse { credentials }))
    }

    async fn revoke(
        &self,
        request: Request<RevokeCredentialRequest>,
    ) -> Result<Response<RevokeCredentialResponse>, Status> {
        let by = convert::caller(&request)?;
        let RevokeCredentialRequest { access_key_id, force } = request.into_inner();
        let revision = self.revoke_credential(&by, &access_key_id, force).await?;
        Ok(Response::new(RevokeCredentialResponse { revision }))
    }

    async fn get_credential_secret(
        &self,
        request: Request<GetCredentialSecretRequest>,
    ) -> Result<Response<GetCredentialSecretResponse>, Status> {
        let by = convert::caller(&request)?;
        let secret = self.credential_secret(&by, &request.into_inner().access_key_id).await?;
        Ok(Response::new(GetCredentialSecretResponse { secret: secret.to_string() }))
    }
}
