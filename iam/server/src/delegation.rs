//! Who administers whom: admins of the whole system everything, and admins within an organisation or a project those who
//! are in it. Each rule ends in a decision, so that policies have their say and every no is in the history.

use iam_client::Identity;
use iam_core::{
    Kind, PrincipalId, Scope, Subject,
    record::{Binding, Principal, key},
};

use crate::{Error, Iam, iam::Inner, recorder::Call};

pub(crate) const ADMIN: &str = "iam.Admin";
pub(crate) const READ: &str = "iam.Read";
/// What whoever may do something everywhere may do it to.
const EVERYTHING: &str = "iam/*";

impl Inner {
    /// Where a principal is; who does not exist is nowhere in particular.
    pub(crate) fn scope_of(&self, id: &PrincipalId) -> Result<Scope, Error> {
        let stored = self.records.get::<Principal>(&key::principal(id))?;
        Ok(stored.map(|stored| stored.value.scope).unwrap_or_default())
    }

    /// Refuses unless `by` may do `action` to one of `resources`, of which the first stands for the most. Whether it may
    /// to that one. A no names the last, which says nothing that the caller has not said.
    fn authorize_any(&self, by: &Identity, action: &str, resources: &[&str]) -> Result<bool, Error> {
        let (mut widest, mut last) = (true, EVERYTHING);
        for resource in resources {
            last = resource;
            if self.decide(by, action, resource)?.allowed {
                break;
            }
            widest = false;
        }
        self.authorize(by, action, last)?;
        Ok(widest)
    }

    /// Refuses unless `by` may do `action` everywhere, or at least in `scope`. Whether it may everywhere.
    pub(crate) fn authorize_in(&self, by: &Identity, action: &str, scope: &Scope) -> Result<bool, Error> {
        self.authorize_any(by, action, &[EVERYTHING, &scope.resource()])
    }

    /// Refuses unless `by` may do `action` everywhere, or at least where `subject` is. Groups are everywhere.
    pub(crate) fn authorize_about(&self, by: &Identity, action: &str, subject: &Subject) -> Result<bool, Error> {
        let scope = match subject {
            Subject::Principal(id) => self.scope_of(id)?,
            Subject::Group(_) => Scope::System,
        };
        self.authorize_any(by, action, &[EVERYTHING, &scope.resource(), &subject.to_string()])
    }

    /// Refuses unless `by` administers everything that `wide` stands for, or at least `principal` with all that it holds.
    pub(crate) fn authorize_over(&self, by: &Identity, wide: &str, principal: &PrincipalId) -> Result<(), Error> {
        self.authorize_any(by, ADMIN, &[wide, &principal.to_string()]).map(drop)
    }
}

impl Iam {
    /// Refuses unless `by` may disable and enable `principal`.
    pub(crate) fn check_may_set(&self, by: &Identity, principal: &PrincipalId) -> Result<(), Error> {
        self.0.authorize_over(by, EVERYTHING, principal)
    }

    /// Where a principal is that `by` creates: where `by` is itself, unless it is an admin of the whole system and says.
    pub(crate) fn scope_of_new(&self, by: &Identity, kind: Kind, wanted: Scope) -> Result<Scope, Error> {
        if kind == Kind::Node {
            // Nodes have their names from the fleet, and whoever is one reads what was published for it.
            self.0.authorize(by, ADMIN, EVERYTHING)?;
        }
        let everywhere = self.0.authorize_in(by, ADMIN, &by.scope)?;
        match wanted {
            Scope::System => Ok(by.scope.clone()),
            wanted if everywhere => Ok(wanted),
            wanted => {
                let reason = "organisation and project come from the caller; only an admin of the whole system names \
                              others";
                self.0.record_denial(&Call::of(by), ADMIN, &wanted.resource(), reason);
                Err(Error::Invalid(reason.to_owned()))
            }
        }
    }

    /// Refuses unless `by` administers both whom `bindings` are of and where they count. Whether it does so everywhere.
    pub(crate) fn check_may_bind<'a>(
        &self,
        by: &Identity,
        subject: &Subject,
        bindings: impl IntoIterator<Item = &'a Binding>,
    ) -> Result<bool, Error> {
        let mut everywhere = self.0.authorize_about(by, ADMIN, subject)?;
        for binding in bindings {
            everywhere &= self.0.authorize_in(by, ADMIN, &binding.scope())?;
        }
        Ok(everywhere)
    }
}
