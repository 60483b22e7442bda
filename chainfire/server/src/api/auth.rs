use chainfire_core::{
    UserAnswer, UserCommand,
    auth::{self, AuthCommand, PasswordHash, Permission},
};
use holdfast_proto::etcdserverpb::{
    AuthDisableRequest, AuthDisableResponse, AuthEnableRequest, AuthEnableResponse, AuthRoleAddRequest,
    AuthRoleAddResponse, AuthRoleDeleteRequest, AuthRoleDeleteResponse, AuthRoleGetRequest, AuthRoleGetResponse,
    AuthRoleGrantPermissionRequest, AuthRoleGrantPermissionResponse, AuthRoleListRequest, AuthRoleListResponse,
    AuthRoleRevokePermissionRequest, AuthRoleRevokePermissionResponse, AuthStatusRequest, AuthStatusResponse,
    AuthUserAddRequest, AuthUserAddResponse, AuthUserChangePasswordRequest, AuthUserChangePasswordResponse,
    AuthUserDeleteRequest, AuthUserDeleteResponse, AuthUserGetRequest, AuthUserGetResponse, AuthUserGrantRoleRequest,
    AuthUserGrantRoleResponse, AuthUserListRequest, AuthUserListResponse, AuthUserRevokeRoleRequest,
    AuthUserRevokeRoleResponse, AuthenticateRequest, AuthenticateResponse, ResponseHeader, auth_server::Auth,
};
use holdfast_rpc::Connection;
use iam_client::Refusal;
use tonic::{Extensions, Request, Response, Status};
use zeroize::Zeroizing;

use super::{Etcd, caller::Caller};
use crate::{Error, users::Users, wire};

/// Users and roles are etcd's own in the drop-in server. In the suite they are IAM's: there what has a meaning works, and
/// managing them through this service does not.
#[tonic::async_trait]
impl Auth for Etcd {
    async fn auth_enable(&self, request: Request<AuthEnableRequest>) -> Result<Response<AuthEnableResponse>, Status> {
        let header = self.manage(&self.administrator(&request).await?, AuthCommand::Enable).await?;
        Ok(Response::new(AuthEnableResponse { header: Some(header) }))
    }

    async fn auth_disable(
        &self,
        request: Request<AuthDisableRequest>,
    ) -> Result<Response<AuthDisableResponse>, Status> {
        let header = self.manage(&self.administrator(&request).await?, AuthCommand::Disable).await?;
        Ok(Response::new(AuthDisableResponse { header: Some(header) }))
    }

    async fn auth_status(&self, _: Request<AuthStatusRequest>) -> Result<Response<AuthStatusResponse>, Status> {
        let (enabled, auth_revision) = match (&self.users, &self.doors.login) {
            (Some(users), _) => {
                self.store.barrier().await.map_err(Error::from)?;
                let status = users.status()?;
                (status.enabled, status.revision)
            }
            (None, Some(login)) => (true, login.revision()),
            (None, None) => (false, 1),
        };
        Ok(Response::new(AuthStatusResponse { header: Some(self.current_header()?), enabled, auth_revision }))
    }

    async fn authenticate(
        &self,
        request: Request<AuthenticateRequest>,
    ) -> Result<Response<AuthenticateResponse>, Status> {
        let (_, extensions, AuthenticateRequest { name, password }) = request.into_parts();
        let token = self.log_in(&extensions, &name, Zeroizing::new(password)).await?;
        Ok(Response::new(AuthenticateResponse { header: Some(self.current_header()?), token }))
    }

    async fn user_add(&self, request: Request<AuthUserAddRequest>) -> Result<Response<AuthUserAddResponse>, Status> {
        let caller = self.administrator(&request).await?;
        let AuthUserAddRequest { name, password, options, .. } = request.into_inner();
        let password = match options {
            Some(options) if options.no_password => None,
            Some(_) | None => Some(self.users()?.passwords.hash(Zeroizing::new(password)).await?),
        };
        let header = self.manage(&caller, AuthCommand::UserAdd { name, password }).await?;
        Ok(Response::new(AuthUserAddResponse { header: Some(header) }))
    }

    /// Users may see themselves.
    async fn user_get(&self, request: Request<AuthUserGetRequest>) -> Result<Response<AuthUserGetResponse>, Status> {
        let caller = self.informed(&request).await?;
        let name = request.into_inner().name;
        let view = self.store.view();
        if caller.user.as_ref().is_none_or(|user| *user.name != *name) {
            self.permit_in(&view, &caller, |permit| permit.admin())?;
        }
        let user = auth::user(&view, &name).map_err(Error::from)?.ok_or(Error::UserNotFound)?;
        Ok(Response::new(AuthUserGetResponse { header: Some(self.current_header()?), roles: user.roles }))
    }

    async fn user_list(&self, request: Request<AuthUserListRequest>) -> Result<Response<AuthUserListResponse>, Status> {
        let caller = self.informed(&request).await?;
        let view = self.store.view();
        self.permit_in(&view, &caller, |permit| permit.admin())?;
        let users = auth::users(&view).map(|user| Ok(user?.name)).collect::<Result<_, Error>>()?;
        Ok(Response::new(AuthUserListResponse { header: Some(self.current_header()?), users }))
    }

    async fn user_delete(
        &self,
        request: Request<AuthUserDeleteRequest>,
    ) -> Result<Response<AuthUserDeleteResponse>, Status> {
        let caller = self.administrator(&request).await?;
        let header = self.manage(&caller, AuthCommand::UserDelete { name: request.into_inner().name }).await?;
        Ok(Response::new(AuthUserDeleteResponse { header: Some(header) }))
    }

    async fn user_change_password(
        &self,
        request: Request<AuthUserChangePasswordRequest>,
    ) -> Result<Response<AuthUserChangePasswordResponse>, Status> {
        let caller = self.administrator(&request).await?;
        let AuthUserChangePasswordRequest { name, password, hashed_password } = request.into_inner();
        let password = if password.is_empty() {
            // A hash from elsewhere; without one no password fits any more.
            PasswordHash(wire::password_hash(&hashed_password)?)
        } else {
            self.users()?.passwords.hash(Zeroizing::new(password)).await?
        };
        let header = self.manage(&caller, AuthCommand::UserChangePassword { name, password }).await?;
        Ok(Response::new(AuthUserChangePasswordResponse { header: Some(header) }))
    }

    async fn user_grant_role(
        &self,
        request: Request<AuthUserGrantRoleRequest>,
    ) -> Result<Response<AuthUserGrantRoleResponse>, Status> {
        let caller = self.administrator(&request).await?;
        let AuthUserGrantRoleRequest { user, role } = request.into_inner();
        let header = self.manage(&caller, AuthCommand::UserGrantRole { user, role }).await?;
        Ok(Response::new(AuthUserGrantRoleResponse { header: Some(header) }))
    }

    async fn user_revoke_role(
        &self,
        request: Request<AuthUserRevokeRoleRequest>,
    ) -> Result<Response<AuthUserRevokeRoleResponse>, Status> {
        let caller = self.administrator(&request).await?;
        let AuthUserRevokeRoleRequest { name: user, role } = request.into_inner();
        let header = self.manage(&caller, AuthCommand::UserRevokeRole { user, role }).await?;
        Ok(Response::new(AuthUserRevokeRoleResponse { header: Some(header) }))
    }

    async fn role_add(&self, request: Request<AuthRoleAddRequest>) -> Result<Response<AuthRoleAddResponse>, Status> {
        let caller = self.administrator(&request).await?;
        let header = self.manage(&caller, AuthCommand::RoleAdd { name: request.into_inner().name }).await?;
        Ok(Response::new(AuthRoleAddResponse { header: Some(header) }))
    }

    /// Users may see their own roles.
    async fn role_get(&self, request: Request<AuthRoleGetRequest>) -> Result<Response<AuthRoleGetResponse>, Status> {
        let caller = self.informed(&request).await?;
        let name = request.into_inner().role;
        let view = self.store.view();
        let user = caller.user.as_ref().map(|user| auth::user(&view, &user.name)).transpose();
        let user = user.map_err(Error::from)?.flatten();
        if user.is_none_or(|user| !user.has_role(&name)) {
            self.permit_in(&view, &caller, |permit| permit.admin())?;
        }
        let role = auth::role(&view, &name).map_err(Error::from)?.ok_or(Error::RoleNotFound)?;
        let permissions = if role.name == auth::ROOT { vec![Permission::root()] } else { role.permissions };
        let perm = permissions.into_iter().map(wire::permission).collect();
        Ok(Response::new(AuthRoleGetResponse { header: Some(self.current_header()?), perm }))
    }

    async fn role_list(&self, request: Request<AuthRoleListRequest>) -> Result<Response<AuthRoleListResponse>, Status> {
        let caller = self.informed(&request).await?;
        let view = self.store.view();
        self.permit_in(&view, &caller, |permit| permit.admin())?;
        let roles = auth::roles(&view).map(|role| Ok(role?.name)).collect::<Result<_, Error>>()?;
        Ok(Response::new(AuthRoleListResponse { header: Some(self.current_header()?), roles }))
    }

    async fn role_delete(
        &self,
        request: Request<AuthRoleDeleteRequest>,
    ) -> Result<Response<AuthRoleDeleteResponse>, Status> {
        let caller = self.administrator(&request).await?;
        let header = self.manage(&caller, AuthCommand::RoleDelete { name: request.into_inner().role }).await?;
        Ok(Response::new(AuthRoleDeleteResponse { header: Some(header) }))
    }

    async fn role_grant_permission(
        &self,
        request: Request<AuthRoleGrantPermissionRequest>,
    ) -> Result<Response<AuthRoleGrantPermissionResponse>, Status> {
        let caller = self.administrator(&request).await?;
        let AuthRoleGrantPermissionRequest { name: role, perm } = request.into_inner();
        let permission = wire::granted(perm.ok_or(Error::PermissionNotGiven)?)?;
        let header = self.manage(&caller, AuthCommand::RoleGrantPermission { role, permission }).await?;
        Ok(Response::new(AuthRoleGrantPermissionResponse { header: Some(header) }))
    }

    async fn role_revoke_permission(
        &self,
        request: Request<AuthRoleRevokePermissionRequest>,
    ) -> Result<Response<AuthRoleRevokePermissionResponse>, Status> {
        let caller = self.administrator(&request).await?;
        let AuthRoleRevokePermissionRequest { role, key, range_end } = request.into_inner();
        let header = self.manage(&caller, AuthCommand::RoleRevokePermission { role, key, range_end }).await?;
        Ok(Response::new(AuthRoleRevokePermissionResponse { header: Some(header) }))
    }
}

impl Etcd {
    fn users(&self) -> Result<&Users, Error> {
        self.users.as_deref().ok_or(Error::InvalidAuthManagement)
    }

    /// Who asks about users or roles, once this server knows everything that was acknowledged before.
    async fn informed<T>(&self, request: &Request<T>) -> Result<Caller, Error> {
        self.users()?;
        let caller = Caller::of(request.extensions());
        self.store.barrier().await?;
        Ok(caller)
    }

    /// The same, if it may change them. It is asked again where the change is applied; here it keeps those out who would
    /// make this server hash passwords.
    async fn administrator<T>(&self, request: &Request<T>) -> Result<Caller, Error> {
        let caller = self.informed(request).await?;
        self.permit(&caller, |permit| permit.admin())?;
        Ok(caller)
    }

    async fn manage(&self, caller: &Caller, command: AuthCommand) -> Result<ResponseHeader, Error> {
        let done = self.store.change(caller.origin(), UserCommand::Auth(command)).await?;
        let UserAnswer::Auth { revision } = done.answer else { return Err(Error::mismatch()) };
        Ok(self.headers().at(revision, done.term))
    }

    async fn log_in(&self, extensions: &Extensions, name: &str, password: Zeroizing<String>) -> Result<String, Error> {
        let source = extensions.get::<Connection>().map(|connection| connection.source);
        if let Some(users) = &self.users {
            return users.log_in(name, password, source.map(|source| source.to_string())).await;
        }
        let login = self.doors.login.as_ref().ok_or(Error::AuthNotEnabled)?;
        if name.is_empty() {
            return Err(Error::UserEmpty);
        }
        login.login(name, &password, source).await.map_err(|refusal| match refusal {
            Refusal::Anonymous | Refusal::Unauthenticated | Refusal::Denied { .. } => Error::LoginFailed,
            refusal => refusal.into(),
        })
    }
}
