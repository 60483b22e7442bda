use iam_client::{Evidence, Identity};
use iam_core::{
    PrincipalId,
    policy::Role,
    record::{Bootstrap, key},
};

use crate::{
    Error, Iam,
    records::{Change, Listing, Versioned},
    recovery::Standing,
};

const MAX_REASON: usize = 256;
const PAGE: usize = 100;

impl Iam {
    /// Disables the bootstrap token on every server, whatever their environments say. Doing it again changes nothing.
    pub(crate) async fn disable_bootstrap_token(&self, by: &Identity, reason: String) -> Result<u64, Error> {
        if reason.is_empty() || reason.chars().count() > MAX_REASON || reason.chars().any(char::is_control) {
            return Err(Error::Invalid(format!("give a reason of at most {MAX_REASON} printable characters")));
        }
        // Nor may a grant for an emergency, or whoever is let in by a laboratory setting.
        if by.principal.principal().is_none() {
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
            _ if !self.has_admin_with_access_key()? => {
                return Err(Error::Precondition(
                    "no admin has an access key, so nobody could come in any more once tokens have ended: make one \
                     (florctl iam credential create), try it, and disable the bootstrap token then"
                        .to_owned(),
                ));
            }
            Some(Versioned { revision, .. }) => change.replace(at, revision, &bootstrap)?,
            None => change.create(at, &bootstrap)?,
        };
        self.0.records.commit(by.origin(), change).await
    }

    /// Whether somebody could go on without the bootstrap token.
    pub(crate) fn has_admin_with_access_key(&self) -> Result<bool, Error> {
        let mut after = None;
        loop {
            let Listing { values, next } = self.standings_of_principals(after.as_deref(), PAGE)?;
            for Standing { principal, disabled, access_keys } in values {
                let holdings = if disabled || access_keys.is_empty() { None } else { self.0.holdings(&principal)? };
                if holdings.is_some_and(|holdings| holdings.roles.contains(&Role::Admin)) {
                    return Ok(true);
                }
            }
            if next.is_none() {
                return Ok(false);
            }
            after = next;
        }
    }

    /// Another principal as if it called from where `by` calls, for a caller that may ask about others.
    pub(crate) fn other(&self, by: &Identity, principal: &PrincipalId) -> Result<Identity, Error> {
        self.0.authorize(by, "iam.Read", &principal.to_string())?;
        let scope = self.0.scope_of(principal)?;
        let principal = principal.clone().into();
        Ok(Identity { principal, scope, evidence: Evidence::None, token_id: None, ..by.clone() })
    }
}
