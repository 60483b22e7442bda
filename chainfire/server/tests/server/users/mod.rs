//! §2.10: etcd's own authentication in the drop-in server.

mod beyond;
mod certificates;
mod etcdctl;
mod guards;
mod jwt;
mod logins;
mod members;
mod rights;
mod watches;
mod words;

use holdfast_proto::{
    authpb::{Permission, permission::Type},
    etcdserverpb::{
        AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthUserAddRequest,
        AuthUserGrantRoleRequest, AuthenticateRequest, RangeRequest,
    },
};
use tonic::{Code, Request, Status, metadata::MetadataValue};

use crate::support::TestServer;

/// Passwords that take no time.
pub(crate) const QUICK: &str = "--bcrypt-cost=4";

/// `message` from who holds `token`; from nobody if it is empty.
pub(crate) fn from<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !token.is_empty() {
        let value = MetadataValue::try_from(token).expect("a token is ASCII");
        request.metadata_mut().insert("token", value);
    }
    request
}

pub(crate) fn prefix(prefix: &str) -> RangeRequest {
    let end = format!("{}0", prefix.trim_end_matches('/'));
    RangeRequest { key: prefix.to_owned().into(), range_end: end.into(), ..Default::default() }
}

pub(crate) fn refused<T>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.err().expect("a refusal");
    (status.code(), status.message().to_owned())
}

pub(crate) fn nobody() -> (Code, String) {
    (Code::InvalidArgument, "etcdserver: user name is empty".to_owned())
}

pub(crate) fn denied() -> (Code, String) {
    (Code::PermissionDenied, "etcdserver: permission denied".to_owned())
}

pub(crate) fn invalid_token() -> (Code, String) {
    (Code::Unauthenticated, "etcdserver: invalid auth token".to_owned())
}

impl TestServer {
    /// Users and roles, before or after they count.
    pub(crate) async fn user_add(&self, token: &str, name: &str) -> Result<(), Status> {
        let user = AuthUserAddRequest { name: name.into(), password: name.into(), ..Default::default() };
        self.auth().user_add(from(token, user)).await.map(drop)
    }

    pub(crate) async fn grant_role(&self, token: &str, user: &str, role: &str) -> Result<(), Status> {
        let grant = AuthUserGrantRoleRequest { user: user.into(), role: role.into() };
        self.auth().user_grant_role(from(token, grant)).await.map(drop)
    }

    pub(crate) async fn grant(&self, token: &str, role: &str, kind: Type, key: &str, end: &str) -> Result<(), Status> {
        let perm = Permission { perm_type: kind.into(), key: key.to_owned().into(), range_end: end.to_owned().into() };
        let grant = AuthRoleGrantPermissionRequest { name: role.into(), perm: Some(perm) };
        self.auth().role_grant_permission(from(token, grant)).await.map(drop)
    }

    pub(crate) async fn role_add(&self, token: &str, name: &str) -> Result<(), Status> {
        self.auth().role_add(from(token, AuthRoleAddRequest { name: name.into() })).await.map(drop)
    }

    /// A token. Everybody's password is the own name.
    pub(crate) async fn log_in(&self, name: &str) -> Result<String, Status> {
        let login = AuthenticateRequest { name: name.into(), password: name.into() };
        Ok(self.auth().authenticate(login).await?.into_inner().token)
    }

    /// Makes users count; the token is root's.
    pub(crate) async fn switch_on(&self) -> Result<String, Status> {
        self.user_add("", "root").await?;
        self.grant_role("", "root", "root").await?;
        self.auth().auth_enable(AuthEnableRequest {}).await?;
        self.log_in("root").await
    }

    /// A user with a role of its own name.
    pub(crate) async fn user_with(
        &self,
        root: &str,
        name: &str,
        permissions: &[(Type, &str, &str)],
    ) -> Result<String, Status> {
        self.user_add(root, name).await?;
        self.role_add(root, name).await?;
        self.grant_role(root, name, name).await?;
        for (kind, key, end) in permissions {
            self.grant(root, name, *kind, key, end).await?;
        }
        self.log_in(name).await
    }
}

/// A server where users count, root's token, and the token of `mira`, who may read `r/`, write `w/` and both `rw/`.
pub(crate) async fn guarded() -> anyhow::Result<(TestServer, String, String)> {
    let server = TestServer::start_with(&[QUICK]).await?;
    let root = server.switch_on().await?;
    let permissions = [(Type::Read, "r/", "r0"), (Type::Write, "w/", "w0"), (Type::Readwrite, "rw/", "rw0")];
    let mira = server.user_with(&root, "mira", &permissions).await?;
    Ok((server, root, mira))
}
