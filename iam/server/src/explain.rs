//! Why a decision is what it is.

use std::collections::{HashSet, VecDeque};

use iam_client::{Caller, Identity};
use iam_core::{
    PrincipalId, Scope, Subject,
    policy::{Candidate, Circumstances, Role, Verdict},
    record::{Binding, Membership, key},
};

use crate::{
    Error,
    holdings::{Holdings, MAX_BINDINGS, MAX_GROUPS},
    iam::Inner,
};

/// A decision with its reasons.
pub(crate) struct Explanation {
    pub(crate) verdict: Verdict,
    /// The owner of a narrowed token would be permitted, and the token is not: this is about the token's roles alone.
    pub(crate) outside_scope: bool,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) roles: Vec<HeldRole>,
    pub(crate) groups: Vec<String>,
}

/// Where a role comes from.
pub(crate) struct HeldRole {
    pub(crate) role: Role,
    pub(crate) scope: Scope,
    /// None for the role that every node has.
    pub(crate) binding: Option<String>,
    /// The principal, and the groups on the way to the binding's subject.
    pub(crate) path: Vec<Subject>,
}

impl Inner {
    pub(crate) fn explain(
        &self,
        about: &Identity,
        action: &str,
        resource: &str,
        circumstances: Circumstances,
    ) -> Result<Explanation, Error> {
        let holdings = self.caller_holdings(&about.principal)?;
        let explain = |caller: &Caller, holdings: &Holdings| {
            let asked = self.asked(caller, holdings, action, resource)?;
            let explained = self.policies()?.explain(asked.caller(), action, asked.target(), circumstances);
            explained.map_err(Error::Invalid)
        };
        let (verdict, candidates) = explain(&about.principal, &holdings)?;
        // As it is decided: what its owner may not do, a narrowed token may not either.
        let narrowed = about.narrowed_to().filter(|_| verdict.allowed).map(|scope| holdings.narrowed(&scope));
        let (verdict, candidates) = match &narrowed {
            Some(narrowed) => explain(&Caller::Anonymous, narrowed)?,
            None => (verdict, candidates),
        };
        let decided_by = narrowed.as_ref().unwrap_or(&holdings);
        let roles = match &about.principal {
            Caller::Principal(id) => self.held_roles(id, &decided_by.roles)?,
            Caller::Bootstrap | Caller::BreakGlass(_) | Caller::Anonymous => Vec::new(),
        };
        let outside_scope = narrowed.is_some() && !verdict.allowed;
        Ok(Explanation { verdict, outside_scope, candidates, roles, groups: decided_by.groups.clone() })
    }

    fn held_roles(&self, principal: &PrincipalId, held: &[Role]) -> Result<Vec<HeldRole>, Error> {
        let start = Subject::Principal(principal.clone());
        let mut found = Vec::new();
        let mut seen = HashSet::from([start.clone()]);
        let mut next = VecDeque::from([vec![start]]);
        while let Some(path) = next.pop_front() {
            let Some(subject) = path.last() else { continue };
            for binding in self.records.list::<Binding>(&key::bindings(subject), None, MAX_BINDINGS)?.values {
                let role = binding.role.filter(|role| held.contains(role)).map(|role| (role, Scope::System));
                let scoped = binding.scoped.map(|scoped| (scoped.role, scoped.scope));
                let binding = Some(binding.name);
                let roles = role.into_iter().chain(scoped);
                found.extend(roles.map(|(role, scope)| HeldRole {
                    role,
                    scope,
                    binding: binding.clone(),
                    path: path.clone(),
                }));
            }
            for membership in self.records.list::<Membership>(&key::memberships(subject), None, MAX_GROUPS)?.values {
                let group = Subject::Group(membership.group);
                if seen.insert(group.clone()) {
                    next.push_back(path.iter().cloned().chain([group]).collect());
                }
            }
        }
        if held.contains(&Role::Node) && !found.iter().any(|found| found.role == Role::Node) {
            let path = vec![Subject::Principal(principal.clone())];
            found.push(HeldRole { role: Role::Node, scope: Scope::System, binding: None, path });
        }
        Ok(found)
    }
}
