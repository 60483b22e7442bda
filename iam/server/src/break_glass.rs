//! Who holds a grant that operators have signed for an emergency is let in by this server alone: also where there is no
//! quorum, and where its doors are closed to everybody else. Every use is on disk before it has an effect.

use std::sync::{Arc, atomic::Ordering};

use chainfire_core::AuthenticatedBy;
use iam_ca::{Grant, GrantRules, OperatorKey, SignedGrant};
use iam_client::{Caller, Evidence, Identity, Presented, Refusal};
use iam_core::{Scope, policy::Role};

use crate::{
    iam::Inner,
    recorder::{Call, Event},
};

/// Whose signatures together open this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakGlass {
    pub keys: Vec<OperatorKey>,
    /// So many of them.
    pub threshold: usize,
}

impl Inner {
    /// Refuses while this server cannot answer about identity, unless the caller's identity does not depend on that.
    pub(crate) fn check_doors_for(&self, caller: &Caller) -> Result<(), Refusal> {
        match caller {
            Caller::BreakGlass(_) => Ok(()),
            Caller::Principal(_) | Caller::Bootstrap | Caller::Anonymous => self.check_doors(),
        }
    }

    /// The holder of the grant that `text` is.
    pub(crate) async fn break_glass(&self, text: &str, presented: &Presented) -> Result<Identity, Refusal> {
        let anonymous = Call::anonymous(presented.source, presented.request_id.clone());
        let grant = self.judge_grant(text).map_err(|reason| {
            self.forged(&anonymous, "iam/break-glass", &reason);
            Refusal::Unauthenticated
        })?;
        let (id, reason) = (grant.id.clone(), grant.reason.clone());
        let until_ms = self.break_glass_until_ms.fetch_max(grant.not_after_ms, Ordering::Relaxed);
        self.metrics.break_glass.set(1);
        if until_ms < grant.not_after_ms {
            tracing::error!(grant = id, reason, source = ?presented.source, "a break-glass grant is in use");
        }
        let identity = Identity {
            roles: grant.roles.clone(),
            scope: Scope::System,
            principal: Caller::BreakGlass(Arc::new(grant)),
            authenticated_by: AuthenticatedBy::Token,
            evidence: Evidence::None,
            token_id: Some(id.clone()),
            source: presented.source,
            request_id: presented.request_id.clone(),
        };
        let event = Event::done("iam.BreakGlass", format!("grant/{id}")).because(&reason);
        self.record(&Call::of(&identity), event).await?;
        Ok(identity)
    }

    fn judge_grant(&self, text: &str) -> Result<Grant, String> {
        let BreakGlass { keys, threshold } =
            self.settings.break_glass.as_ref().ok_or("no operators' keys are configured (iam.break_glass)")?;
        let rules = GrantRules {
            keys,
            threshold: *threshold,
            trust_domain: self.settings.trust_domain.as_str(),
            server: &self.settings.member,
        };
        let signed = SignedGrant::parse(text).map_err(|fault| fault.to_string())?;
        let grant = signed.verify(rules, self.now_ms()).map_err(|fault| fault.to_string())?;
        match grant.roles.iter().find(|role| Role::parse(role).is_none()) {
            Some(unknown) => Err(format!("there is no role {unknown:?}")),
            None => Ok(grant),
        }
    }

    /// Whether a grant that was used here is still good.
    pub(crate) fn is_glass_broken(&self) -> bool {
        let broken = self.now_ms() < self.break_glass_until_ms.load(Ordering::Relaxed);
        self.metrics.break_glass.set(i64::from(broken));
        broken
    }
}
