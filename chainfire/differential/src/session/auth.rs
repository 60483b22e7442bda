//! Tokens, and calls about users and roles.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use holdfast_proto::etcdserverpb::{
    AuthDisableRequest, AuthEnableRequest, AuthRoleListRequest, AuthUserListRequest, AuthenticateRequest,
};
use tonic::{Request, Status, metadata::AsciiMetadataValue, service::Interceptor};

use super::{Session, in_time};
use crate::{
    answer::Answer,
    operation::{AuthCall, Who},
};

/// What logins gave, and which of it is presented with the next calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    given: HashMap<&'static str, AsciiMetadataValue>,
    presented: Option<Who>,
}

/// Of the right form, and nobody's.
const FOREIGN: &str = "abcdefghijklmnop.1";

impl Tokens {
    pub(super) fn present(&self, who: Option<Who>) {
        self.known(|known| known.presented = who);
    }

    fn known<T>(&self, of: impl FnOnce(&mut Known) -> T) -> T {
        of(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Interceptor for Tokens {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let token = self.known(|known| match known.presented {
            Some(Who::User(name)) => known.given.get(name).cloned(),
            Some(Who::Stranger) => Some(AsciiMetadataValue::from_static(FOREIGN)),
            None => None,
        });
        if let Some(token) = token {
            request.metadata_mut().insert("token", token);
        }
        Ok(request)
    }
}

/// The answers that are a header and nothing else, or a header and names.
macro_rules! answer {
    ($asking:expr) => {
        Answer::of(in_time($asking).await, |response| Answer::Auth(response.header, Vec::new()))
    };
    ($asking:expr, $names:ident) => {
        Answer::of(in_time($asking).await, |response| Answer::Auth(response.header, response.$names))
    };
}

impl Session {
    pub(super) async fn ask_about_users(&self, call: AuthCall) -> Answer {
        let mut auth = self.auth.clone();
        match call {
            AuthCall::Enable => answer!(auth.auth_enable(AuthEnableRequest {})),
            AuthCall::Disable => answer!(auth.auth_disable(AuthDisableRequest {})),
            AuthCall::LogIn { user, password } => self.log_in(user, password).await,
            AuthCall::UserAdd(request) => answer!(auth.user_add(request)),
            AuthCall::UserGet(request) => answer!(auth.user_get(request), roles),
            AuthCall::UserList => answer!(auth.user_list(AuthUserListRequest {}), users),
            AuthCall::UserDelete(request) => answer!(auth.user_delete(request)),
            AuthCall::UserChangePassword(request) => answer!(auth.user_change_password(request)),
            AuthCall::UserGrantRole(request) => answer!(auth.user_grant_role(request)),
            AuthCall::UserRevokeRole(request) => answer!(auth.user_revoke_role(request)),
            AuthCall::RoleAdd(request) => answer!(auth.role_add(request)),
            AuthCall::RoleGet(request) => Answer::of(in_time(auth.role_get(request)).await, |response| {
                let permissions = response.perm.iter().map(|permission| format!("{permission:?}"));
                Answer::Auth(response.header, permissions.collect())
            }),
            AuthCall::RoleList => answer!(auth.role_list(AuthRoleListRequest {}), roles),
            AuthCall::RoleDelete(request) => answer!(auth.role_delete(request)),
            AuthCall::RoleGrantPermission(request) => answer!(auth.role_grant_permission(request)),
            AuthCall::RoleRevokePermission(request) => answer!(auth.role_revoke_permission(request)),
        }
    }

    /// The token itself is the server's choice.
    async fn log_in(&self, user: &'static str, password: &'static str) -> Answer {
        let request = AuthenticateRequest { name: user.to_owned(), password: password.to_owned() };
        let response = in_time(self.auth.clone().authenticate(request)).await;
        if let Ok(response) = &response
            && let Ok(token) = response.get_ref().token.parse()
        {
            self.tokens.known(|known| known.given.insert(user, token));
        }
        Answer::of(response, |response| Answer::Auth(response.header, Vec::new()))
    }
}
