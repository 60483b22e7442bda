/// What a route demands before its handler runs. A route that no [`Rule`] names is refused: default deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, also without identity: health, version, JWKS, discovery, and doors that authenticate in their own
    /// protocol (`Authenticate`, `/oauth2/token`, enrolment by join token).
    Public,
    /// Anybody with an identity; the handler decides about the resource with [`crate::Authority::authorize`].
    Authenticated,
    /// Callers who may do `action` to `resource`.
    Permission { action: &'static str, resource: &'static str },
}

/// One line of a service's access table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// A path (`/iam.v1.Tokens/Issue`, `/jwks.json`), or a prefix when it ends in `*`.
    pub path: &'static str,
    pub access: Access,
}

impl Rule {
    pub const fn new(path: &'static str, access: Access) -> Self {
        Self { path, access }
    }

    pub fn matches(&self, path: &str) -> bool {
        match self.path.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => path == self.path,
        }
    }
}
