use std::{collections::BTreeMap, sync::Arc};

use cedar_policy::{Authorizer, Decision, Effect, PolicySet};

use super::{
    Caller, Circumstances, Compiled, Compiler, PolicyError, Role, Target,
    entities::{Asked, uid},
    error::describe,
    index::{Actions, Index},
    types::Types,
};

/// All policies in force.
pub struct Policies {
    pub(super) types: Types,
    compiler: Arc<Compiler>,
    /// Decided alone and first, so that no other policy, however broken, locks every admin out.
    pub(super) admin: Compiled,
    others: Vec<Arc<Compiled>>,
    index: Index,
    forbidding: Actions,
    /// Why stored policies cannot be used, by name: nobody knows what they would forbid.
    broken: BTreeMap<String, String>,
    authorizer: Authorizer,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub allowed: bool,
    /// The policy that permitted or forbade; none if nothing permitted.
    pub policy: Option<String>,
    /// It holds for this question at any time, as long as nothing that is stored changes.
    pub lasting: bool,
    /// Policies that could not be evaluated. Any of them denies: a forbid that errs must not vanish.
    pub errors: Vec<String>,
}

impl Policies {
    /// The built-in roles and `custom` policies. What could not be compiled is in `broken`, and denies all but admins.
    pub fn new(
        compiler: Arc<Compiler>,
        custom: impl IntoIterator<Item = Arc<Compiled>>,
        broken: BTreeMap<String, String>,
    ) -> Result<Self, PolicyError> {
        let (admin, builtin) = compiler.built_in()?;
        let others: Vec<_> = builtin.into_iter().map(Arc::new).chain(custom).collect();
        let (mut index, mut forbidding) = (Index::default(), Actions::default());
        for (number, compiled) in others.iter().enumerate() {
            index.add(number, &compiled.policy);
            if compiled.policy.effect() == Effect::Forbid {
                forbidding.add(&compiled.policy);
            }
        }
        let types = Types::new()?;
        Ok(Self { types, compiler, admin, others, index, forbidding, broken, authorizer: Authorizer::new() })
    }

    /// The same with other policies of the names in `changed`; none where a policy is gone.
    pub fn changed(&self, changed: &BTreeMap<String, Option<Compiled>>) -> Result<Self, PolicyError> {
        let kept = self.custom().filter(|compiled| !changed.contains_key(&compiled.id)).cloned();
        let new = changed.values().flatten().cloned().map(Arc::new);
        let broken = self.broken.iter().filter(|(id, _)| !changed.contains_key(*id));
        let broken = broken.map(|(id, reason)| (id.clone(), reason.clone())).collect();
        Self::new(Arc::clone(&self.compiler), kept.chain(new), broken)
    }

    fn custom(&self) -> impl Iterator<Item = &Arc<Compiled>> {
        self.others.iter().filter(|compiled| !compiled.is_builtin())
    }

    /// Decides. What nothing permits is denied, and so is everything that cannot be evaluated.
    pub fn decide(
        &self,
        caller: Caller<'_>,
        action: &str,
        target: Target<'_>,
        circumstances: Circumstances,
    ) -> Verdict {
        let asked = Asked::new(&self.types, caller, action, target, circumstances);
        match asked.and_then(|asked| self.judge(&asked)) {
            Ok(verdict) => verdict,
            Err(error) => Verdict { errors: vec![error], ..Verdict::default() },
        }
    }

    fn judge(&self, asked: &Asked) -> Result<Verdict, String> {
        // An action that the schema does not know stays possible for admins only.
        let admin = self.apply(asked, [&self.admin])?;
        if admin.allowed && asked.above {
            return Ok(admin);
        }
        if !self.broken.is_empty() {
            return Ok(Verdict { errors: self.broken.values().cloned().collect(), ..Verdict::default() });
        }
        // Whoever is an admin within a scope only is permitted everything there that no policy forbids.
        let scoped = Some(&self.admin).filter(|_| admin.allowed);
        self.apply(asked, scoped.into_iter().chain(self.candidates(asked)))
    }

    /// Why `action` is forbidden, whatever else permits it: for what is permitted by other means than policies. Admins
    /// are above that.
    pub fn forbids(
        &self,
        caller: Caller<'_>,
        action: &str,
        target: Target<'_>,
        circumstances: Circumstances,
    ) -> Option<String> {
        if caller.roles.contains(&Role::Admin) || (self.broken.is_empty() && !self.forbidding.may(action)) {
            return None;
        }
        if let Some(reason) = self.broken.values().next() {
            return Some(reason.clone());
        }
        let asked = Asked::new(&self.types, caller, action, target, circumstances);
        let verdict = asked.and_then(|asked| {
            let forbidding = self.candidates(&asked).filter(|compiled| compiled.policy.effect() == Effect::Forbid);
            self.apply(&asked, forbidding)
        });
        match verdict {
            Err(error) => Some(error),
            Ok(Verdict { policy, errors, .. }) => {
                errors.into_iter().next().or_else(|| policy.map(|policy| format!("forbidden by {policy}")))
            }
        }
    }

    /// Policies beside the admins' whose scope may fit.
    pub(super) fn candidates(&self, asked: &Asked) -> impl Iterator<Item = &Compiled> {
        self.index.slice(asked).into_iter().filter_map(|number| self.others.get(number)).map(AsRef::as_ref)
    }

    /// What `policies` say together.
    pub(super) fn apply<'a>(
        &self,
        asked: &Asked,
        policies: impl IntoIterator<Item = &'a Compiled>,
    ) -> Result<Verdict, String> {
        let mut lasting = true;
        let policies = policies.into_iter().map(|compiled| {
            lasting &= !compiled.speaks_of_time;
            compiled.policy.clone()
        });
        let policies = PolicySet::from_policies(policies).map_err(|error| describe(&error))?;
        let response = self.authorizer.is_authorized(&asked.request, &policies, &asked.entities);
        let diagnostics = response.diagnostics();
        let errors: Vec<_> = diagnostics.errors().map(describe).collect();
        Ok(Verdict {
            lasting: lasting && errors.is_empty(),
            allowed: response.decision() == Decision::Allow && errors.is_empty(),
            policy: diagnostics.reason().map(ToString::to_string).min(),
            errors,
        })
    }

    /// Whether the schema names `action`; an access table with another one would be open to admins only.
    pub fn knows(&self, action: &str) -> bool {
        self.compiler.knows(&uid(&self.types.action, action))
    }
}
