use holdfast_proto::etcdserverpb::{
    AuthDisableRequest, AuthDisableResponse, AuthEnableRequest, AuthEnableResponse, AuthRoleAddRequest,
    AuthRoleAddResponse, AuthRoleDeleteRequest, AuthRoleDeleteResponse, AuthRoleGetRequest, AuthRoleGetResponse,
    AuthRoleGrantPermissionRequest, AuthRoleGrantPermissionResponse, AuthRoleListRequest, AuthRoleListResponse,
    AuthRoleRevokePermissionRequest, AuthRoleRevokePermissionResponse, AuthStatusRequest, AuthStatusResponse,
    AuthUserAddRequest, AuthUserAddResponse, AuthUserChangePasswordRequest, AuthUserChangePasswordResponse,
    AuthUserDeleteRequest, AuthUserDeleteResponse, AuthUserGetRequest, AuthUserGetResponse, AuthUserGrantRoleRequest,
    AuthUserGrantRoleResponse, AuthUserListRequest, AuthUserListResponse, AuthUserRevokeRoleRequest,
    AuthUserRevokeRoleResponse, AuthenticateRequest, AuthenticateResponse, auth_server::Auth,
};
use holdfast_rpc::Connection;
use iam_client::Refusal;
use tonic::{Request, Response, Status};

use super::Etcd;
use crate::Error;

/// Principals are IAM's. What has a meaning there works; managing them through this service does not.
macro_rules! managed_by_iam {
    ($($method:ident($request:ty) -> $response:ty;)*) => {
        #[tonic::async_trait]
        impl Auth for Etcd {
            async fn authenticate(
                &self,
                request: Request<AuthenticateRequest>,
            ) -> Result<Response<AuthenticateResponse>, Status> {
                let token = self.login(&request).await?;
                Ok(Response::new(AuthenticateResponse { header: Some(self.current_header()?), token }))
            }

            async fn auth_status(
                &self,
                _: Request<AuthStatusRequest>,
            ) -> Result<Response<AuthStatusResponse>, Status> {
                let login = self.doors.login.as_ref();
                Ok(Response::new(AuthStatusResponse {
                    header: Some(self.current_header()?),
                    enabled: login.is_some(),
                    auth_revision: login.map_or(1, |login| login.revision()),
                }))
            }

            $(async fn $method(&self, _: Request<$request>) -> Result<Response<$response>, Status> {
                Err(Error::InvalidAuthManagement.into())
            })*
        }
    };
}

managed_by_iam! {
    auth_enable(AuthEnableRequest) -> AuthEnableResponse;
    auth_disable(AuthDisableRequest) -> AuthDisableResponse;
    user_add(AuthUserAddRequest) -> AuthUserAddResponse;
    user_get(AuthUserGetRequest) -> AuthUserGetResponse;
    user_list(AuthUserListRequest) -> AuthUserListResponse;
    user_delete(AuthUserDeleteRequest) -> AuthUserDeleteResponse;
    user_change_password(AuthUserChangePasswordRequest) -> AuthUserChangePasswordResponse;
    user_grant_role(AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse;
    user_revoke_role(AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse;
    role_add(AuthRoleAddRequest) -> AuthRoleAddResponse;
    role_get(AuthRoleGetRequest) -> AuthRoleGetResponse;
    role_list(AuthRoleListRequest) -> AuthRoleListResponse;
    role_delete(AuthRoleDeleteRequest) -> AuthRoleDeleteResponse;
    role_grant_permission(AuthRoleGrantPermissionRequest) -> AuthRoleGrantPermissionResponse;
    role_revoke_permission(AuthRoleRevokePermissionRequest) -> AuthRoleRevokePermissionResponse;
}

impl Etcd {
    async fn login(&self, request: &Request<AuthenticateRequest>) -> Result<String, Error> {
        let login = self.doors.login.as_ref().ok_or(Error::AuthNotEnabled)?;
        let source = request.extensions().get::<Connection>().map(|connection| connection.source);
        let AuthenticateRequest { name, password } = request.get_ref();
        if name.is_empty() {
            return Err(Error::UserEmpty);
        }
        login.login(name, password, source).await.map_err(|refusal| match refusal {
            Refusal::Anonymous | Refusal::Unauthenticated | Refusal::Denied { .. } => Error::LoginFailed,
            refusal => refusal.into(),
        })
    }
}
