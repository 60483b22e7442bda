use std::sync::Arc;

use chainfire_core::{
    AuthenticatedBy, Origin, UserAnswer, UserCommand,
    auth::{self, AuthStatus, Judge, Login},
};
use holdfast_keyspace::Read;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{AuthSettings, AuthTokenError, AuthUser, Credentials, Passwords, SimpleTokens, simple, tokens::Tokens};
use crate::{Error, request::request_id, store::Store};

/// etcd's users, as this server lets them in.
pub(crate) struct Users {
    store: Arc<Store>,
    tokens: Tokens,
    pub(crate) passwords: Passwords,
    pub(super) certificates: bool,
}

/// How often a login begins anew because users or roles have changed meanwhile.
const ATTEMPTS: u32 = 5;

impl Users {
    /// Reads the keys that `settings` name.
    pub(crate) fn new(
        store: Arc<Store>,
        simple: Arc<SimpleTokens>,
        settings: &AuthSettings,
    ) -> Result<Self, AuthTokenError> {
        let tokens = settings.tokens.tokens(simple)?;
        let passwords = Passwords::new(settings.bcrypt_cost);
        Ok(Self { store, tokens, passwords, certificates: settings.certificates })
    }

    pub(crate) fn status(&self) -> Result<AuthStatus, Error> {
        Ok(auth::status(self.store.group().state())?)
    }

    /// Another number whenever rights may have changed. Switching on is no change of users, but of what they may do.
    pub(crate) fn epoch(&self) -> Result<u64, Error> {
        let AuthStatus { enabled, revision } = self.status()?;
        Ok(revision.saturating_mul(2).saturating_add(enabled.into()))
    }

    /// Whom `credentials` make their sender, as of now; none while authentication is off, and for nobody.
    pub(crate) fn identify(&self, credentials: &Credentials) -> Result<Option<AuthUser>, Error> {
        let AuthStatus { enabled, revision } = self.status()?;
        if !enabled {
            return Ok(None);
        }
        if let Some(token) = &credentials.token {
            return self.tokens.user(token, revision).map(Some).ok_or(Error::InvalidAuthToken);
        }
        Ok(credentials.common_name.clone().map(|name| AuthUser { name, revision }))
    }

    /// Waits until this server has applied what makes the token known, if it ever was made. Whoever made up the number is
    /// not waited for long.
    pub(super) async fn caught_up(&self, credentials: &Credentials) {
        let Some(index) = credentials.token.as_ref().and_then(|token| self.tokens.known_from(token)) else { return };
        let mut applied = self.store.group().state().applied_changes();
        // A server that stops, or time that is over: then the token is not known.
        let _ = timeout(self.store.timing().request(), applied.wait_for(|applied| *applied >= index)).await;
    }

    /// The same user, judged by users and roles as they are now.
    pub(crate) fn now(&self, user: &AuthUser) -> Result<AuthUser, Error> {
        Ok(AuthUser { revision: self.status()?.revision, ..user.clone() })
    }

    /// Whether `user` may administrate, or may at least be let in.
    pub(super) fn judge(&self, user: Option<&AuthUser>) -> Result<Judge, Error> {
        let origin = user.map_or_else(|| nobody(None), |user| user.origin(None, ""));
        Ok(Judge::new(self.store.group().state(), &origin)?)
    }

    /// A token for who shows the password of `name`. A wrong name and a wrong password are the same, also in time.
    pub(crate) async fn log_in(
        &self,
        name: &str,
        password: Zeroizing<String>,
        source: Option<String>,
    ) -> Result<String, Error> {
        self.store.barrier().await?;
        for _ in 0..ATTEMPTS {
            let (status, hash) = self.password_of(name)?;
            if !self.passwords.fits(hash, password.clone()).await? {
                return Err(Error::LoginFailed);
            }
            let user = AuthUser { name: name.into(), revision: status.revision };
            match &self.tokens {
                Tokens::None => return Err(Error::LoginFailed),
                Tokens::Jwt(jwt) => return jwt.issue(&user),
                Tokens::Simple(_) => match self.announce(&user, source.clone()).await {
                    Err(Error::AuthOldRevision) => {}
                    done => return done,
                },
            }
        }
        Err(Error::AuthOldRevision)
    }

    fn password_of(&self, name: &str) -> Result<(AuthStatus, Option<auth::PasswordHash>), Error> {
        let view = self.store.view();
        let read: &dyn Read = &view;
        let status = auth::status(read)?;
        if !status.enabled {
            return Err(Error::AuthNotEnabled);
        }
        Ok((status, auth::user(read, name)?.and_then(|user| user.password)))
    }

    /// Makes up a token and tells every server.
    async fn announce(&self, user: &AuthUser, source: Option<String>) -> Result<String, Error> {
        let letters = simple::draw()?;
        let token = simple::sealed(&letters);
        let login = Login { user: user.name.to_string(), revision: user.revision, token };
        let done = self.store.change(nobody(source), UserCommand::Login(login)).await?;
        let UserAnswer::Login { index, .. } = done.answer else { return Err(Error::mismatch()) };
        Ok(format!("{letters}.{index}"))
    }
}

fn nobody(source: Option<String>) -> Origin {
    Origin {
        principal: "anonymous".to_owned(),
        authenticated_by: AuthenticatedBy::Nothing,
        source,
        token_id: None,
        request_id: request_id(),
    }
}
