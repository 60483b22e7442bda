use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use holdfast_rpc::{Connection, Standing};
use iam_client::{Authority, Identity, Presented, PrincipalId, Refusal};

/// How a user and a password become an identity, and what that identity may do.
#[async_trait]
pub trait SqlLogin: Send + Sync + 'static {
    /// Establishes who logs in, on which connection. The password must not outlive the call.
    async fn login(&self, user: &str, password: &str, from: &Connection) -> Result<Identity, Refusal>;

    /// Whether `identity` may do `action` to `resource` now; [`Refusal::Unauthenticated`] if what it logged in with
    /// does not count any more.
    fn authorize(&self, identity: &Identity, action: &str, resource: &str) -> Result<(), Refusal>;

    /// Hears whose the connection of `standing` is from now on.
    fn admitted(&self, identity: &Identity, standing: &Standing);
}

/// Logins through the process's [`Authority`]: a password that looks like a token is one, and must be the user's own;
/// any other is a secret.
pub struct AuthorityLogin {
    authority: Arc<dyn Authority>,
    counter: AtomicU64,
}

impl AuthorityLogin {
    pub fn new(authority: Arc<dyn Authority>) -> Self {
        Self { authority, counter: AtomicU64::new(1) }
    }
}

#[async_trait]
impl SqlLogin for AuthorityLogin {
    async fn login(&self, user: &str, password: &str, from: &Connection) -> Result<Identity, Refusal> {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let source = from.source;
        let mut presented = Presented {
            certificates: Arc::clone(&from.certificates),
            source: Some(source),
            request_id: format!("sql-{source}-{number}"),
            ..Presented::default()
        };
        let is_token = password.starts_with("eyJ") && password.split('.').count() == 3;
        if is_token {
            presented.bearer = Some(password.to_owned());
        } else {
            presented.basic = Some((user.to_owned(), password.to_owned()));
        }
        let identity = self.authority.authenticate(presented).await?;
        let is_user = |id: &PrincipalId| user == id.name() || user == id.to_string();
        if is_token && !identity.principal.principal().is_some_and(is_user) {
            return Err(Refusal::Unauthenticated);
        }
        Ok(identity)
    }

    fn authorize(&self, identity: &Identity, action: &str, resource: &str) -> Result<(), Refusal> {
        self.authority.authorize(identity, action, resource)
    }

    fn admitted(&self, identity: &Identity, standing: &Standing) {
        self.authority.admitted(identity, standing);
    }
}
