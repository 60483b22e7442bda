use std::sync::Arc;

use holdfast_rpc::Connection;
use http::Request;
use iam_client::{Access, AccessTable, Rule};
use tonic::body::Body;

use super::{Credentials, Session, Users};
use crate::{Error, access::ACCESS};

/// What is not open to users in the same way as to IAM's principals.
const OWN: &[Rule] = &[
    // A watcher is refused by itself, and the stream goes on.
    Rule::new("/etcdserverpb.Watch/Watch", Access::Deferred),
];

/// In front of every service: finds out who calls, and keeps out whom the access table does not let in. While
/// authentication is off everybody may do everything.
#[derive(Clone)]
pub(crate) struct Gate {
    users: Arc<Users>,
    table: Arc<AccessTable>,
}

impl Gate {
    pub(crate) fn new(users: Arc<Users>) -> Self {
        Self { users, table: Arc::new(AccessTable::new(ACCESS.iter().chain(OWN).copied())) }
    }

    /// Notes who calls in the request.
    pub(crate) async fn admit(&self, request: &mut Request<Body>) -> Result<(), Error> {
        let (access, credentials) = self.presented(request);
        let session = self.session(access, credentials).await?;
        request.extensions_mut().insert(session);
        Ok(())
    }

    /// What the route demands, and what the call presents.
    fn presented(&self, request: &Request<Body>) -> (Option<Access>, Credentials) {
        let connection = request.extensions().get::<Connection>();
        let credentials = Credentials::read(request.headers(), connection, self.users.certificates);
        (self.table.access(request.uri().path()), credentials)
    }

    async fn session(&self, access: Option<Access>, credentials: Credentials) -> Result<Session, Error> {
        if access == Some(Access::Public) {
            return Ok(Session::default());
        }
        self.users.caught_up(&credentials).await;
        if access == Some(Access::Deferred) {
            let user = self.users.identify(&credentials).ok().flatten();
            return Ok(Session { credentials, user });
        }
        let user = self.users.identify(&credentials)?;
        let judge = self.users.judge(user.as_ref())?;
        match access {
            Some(Access::Authenticated | Access::Public | Access::Deferred) => judge.known()?,
            // What no rule names is for nobody else either.
            Some(Access::Permission { .. }) | None => judge.admin()?,
        }
        Ok(Session { credentials, user })
    }
}
