//! Which policies can say anything about a question. Cedar evaluates every policy that it is given, so it is given only
//! those whose scope fits: by what the caller is or is in, by action, and by what is acted upon.

use std::collections::{HashMap, HashSet};

use cedar_policy::{ActionConstraint, EntityTypeName, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};

use super::entities::Asked;

/// Policies by scope; numbers are the caller's.
#[derive(Default)]
pub(super) struct Index(HashMap<(Scope, Option<EntityUid>, Scope), Vec<usize>>);

/// What a scope asks of the principal, or of the resource.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Scope {
    Any,
    Is(EntityTypeName),
    /// It, or something in it.
    Named(EntityUid),
}

/// Which actions some policies speak of, all together.
#[derive(Default)]
pub(super) struct Actions {
    all: bool,
    named: HashSet<String>,
}

impl Actions {
    pub(super) fn add(&mut self, policy: &Policy) {
        let names = |action: EntityUid| action.id().unescaped().to_owned();
        match policy.action_constraint() {
            ActionConstraint::Any => self.all = true,
            ActionConstraint::Eq(action) => self.named.extend([names(action)]),
            ActionConstraint::In(actions) => self.named.extend(actions.into_iter().map(names)),
        }
    }

    pub(super) fn may(&self, action: &str) -> bool {
        self.all || self.named.contains(action)
    }
}

impl Index {
    pub(super) fn add(&mut self, number: usize, policy: &Policy) {
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::Any => Scope::Any,
            PrincipalConstraint::Is(kind) => Scope::Is(kind),
            PrincipalConstraint::In(id) | PrincipalConstraint::Eq(id) | PrincipalConstraint::IsIn(_, id) => {
                Scope::Named(id)
            }
        };
        let resource = match policy.resource_constraint() {
            ResourceConstraint::Any => Scope::Any,
            ResourceConstraint::Is(kind) => Scope::Is(kind),
            ResourceConstraint::In(id) | ResourceConstraint::Eq(id) | ResourceConstraint::IsIn(_, id) => {
                Scope::Named(id)
            }
        };
        let actions = match policy.action_constraint() {
            ActionConstraint::Any => vec![None],
            ActionConstraint::Eq(action) => vec![Some(action)],
            ActionConstraint::In(actions) => actions.into_iter().map(Some).collect(),
        };
        for action in actions {
            let policies = self.0.entry((principal.clone(), action, resource.clone())).or_default();
            if policies.last() != Some(&number) {
                policies.push(number);
            }
        }
    }

    /// The policies whose scope may fit, in order, each once.
    pub(super) fn slice(&self, asked: &Asked) -> Vec<usize> {
        let (principals, resources) = (scopes(&asked.principals), scopes(&asked.resources));
        let actions = [None, Some(asked.action.clone())];
        let mut found = Vec::new();
        for principal in &principals {
            for action in &actions {
                for resource in &resources {
                    let key = (principal.clone(), action.clone(), resource.clone());
                    found.extend(self.0.get(&key).into_iter().flatten().copied());
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// The scopes that something fits which is `closure`'s first and in all others.
fn scopes(closure: &[EntityUid]) -> Vec<Scope> {
    let own = closure.first().map(|own| Scope::Is(own.type_name().clone()));
    std::iter::once(Scope::Any).chain(own).chain(closure.iter().cloned().map(Scope::Named)).collect()
}
