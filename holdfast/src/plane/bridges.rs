//! IAM in the words of the services that ask it.

use std::{net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use chainfire_server::{LoginError, Operation};
use holdfast_keyspace::KeyRange;
use iam_client::{Authority as _, Identity, KeyAccess, PasswordLogin as _, Refusal};
use iam_server::Iam;

/// Key permissions and logins for chainfire.
#[derive(Clone)]
pub(super) struct IamDoors(Iam);

impl IamDoors {
    pub(super) fn new(iam: Iam) -> Self {
        Self(iam)
    }

    pub(super) fn for_chainfire(&self) -> chainfire_server::Doors {
        chainfire_server::Doors { access: Arc::new(self.clone()), login: Some(Arc::new(self.clone())) }
    }
}

impl chainfire_server::KeyAccess for IamDoors {
    fn allows(&self, identity: &Identity, operation: Operation, start: &[u8], end: Option<&[u8]>) -> bool {
        let access = match operation {
            Operation::Read => KeyAccess::Read,
            Operation::Write => KeyAccess::Write,
        };
        let range = KeyRange { start: start.to_vec(), end: end.map(<[u8]>::to_vec) };
        if range == KeyRange::all() {
            // chainfire asks this first to save questions about single keys; a no is not a denial yet.
            return self.0.may_access_keys(identity, access, &range).unwrap_or(false);
        }
        self.0.authorize_keys(identity, access, &range).is_ok()
    }
}

#[async_trait]
impl chainfire_server::PasswordLogin for IamDoors {
    async fn login(&self, name: &str, password: &str, source: Option<SocketAddr>) -> Result<String, LoginError> {
        self.0.login(name, password, source).await.map_err(|refusal| match refusal {
            Refusal::Anonymous | Refusal::Unauthenticated | Refusal::Denied { .. } => LoginError::Refused,
            Refusal::SlowDown { retry_after_s } => LoginError::SlowDown { retry_after_s },
            Refusal::Unavailable(reason) => LoginError::Unavailable(reason),
        })
    }

    fn revision(&self) -> u64 {
        self.0.applied().system_revision
    }
}
