use std::{sync::Arc, time::Instant};

use super::{AuthUser, SimpleTokens, jwt::Jwt, simple::Parts};

/// The tokens that this server takes and gives.
pub(super) enum Tokens {
    /// None at all.
    None,
    Simple(Arc<SimpleTokens>),
    Jwt(Box<Jwt>),
}

impl Tokens {
    /// Whose token it is. `revision` is the one of users and roles now; a signed token has the one of its time.
    pub(super) fn user(&self, token: &str, revision: u64) -> Option<AuthUser> {
        match self {
            Self::None => None,
            Self::Simple(simple) => simple.user(token, Instant::now()).map(|name| AuthUser { name, revision }),
            Self::Jwt(jwt) => jwt.user(token),
        }
    }

    /// The log entry that has to be applied before a server can know the token.
    pub(super) fn known_from(&self, token: &str) -> Option<u64> {
        match self {
            Self::Simple(_) => Parts::of(token).map(|parts| parts.index),
            Self::None | Self::Jwt(_) => None,
        }
    }
}
