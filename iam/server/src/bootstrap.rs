use iam_client::{Caller, Evidence, Identity};
use iam_core::{
    PrincipalId,
    record::{Bootstrap, key},
};

use crate::{
    Error, Iam,
    records::{Change, Versioned},
};

const MAX_REASON: usize = 256;

impl Iam {
    /// Disables the bootstrap token on every server, whatever their environments say. Doing it again changes nothing.
    pub(crate) async fn disable_bootstrap_token(&self, by: &Identity, reason: String) -> Result<u64, Error> {
        if reason.is_empty() || reason.chars().count() > MAX_REASON || reason.chars().any(char::is_control) {
            return Err(Error::Invalid(format!("give a reason of at most {MAX_REASON} printable characters")));
        }
        if by.principal == Caller::Bootstrap {
            return Err(Error::Precondition(
                "an admin of your own must disable the bootstrap token; that proves that there is one".to_owned(),
            ));
        }
        let bootstrap =
            Bootstrap { enabled: false, changed_ms: self.0.now_ms(), changed_by: by.principal.to_string(), reason };
        let at = key::BOOTSTRAP.to_vec();
        let change = Change::new("iam.BootstrapTokenDisable", "iam/bootstrap-token");
        let change = match self.0.records.get::<Bootstrap>(&at)? {
            Some(Versioned { value, revision }) if !value.enabled => return Ok(revision),
            Some(Versioned { revision, .. }) => change.replace(at, revision, &bootstrap)?,
            None => change.create(at, &bootstrap)?,
        };
        self.0.records.commit(by.origin(), change).await
    }

    /// Another principal as if it called from where `by` calls, for a caller that may ask about others.
    pub(crate) fn other(&self, by: &Identity, principal: &PrincipalId) -> Result<Identity, Error> {
        self.0.authorize(by, "iam.Read", &principal.to_string())?;
        Ok(Identity { principal: principal.clone().into(), evidence: Evidence::None, token_id: None, ..by.clone() })
    }
}
