//! What principals hold: roles, groups and rights on keys. It is read once for each principal and revision of the
//! records, so that what a decision sees is exactly as new as the state machine.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use holdfast_keyspace::KeyRange;
use iam_core::{
    Kind, PrincipalId, Scope, Subject,
    policy::{KeyRights, KeyRule, Role},
    record::{Binding, KeyGrant, Membership, Principal, ScopedRole, key},
};

use crate::{Error, iam::Inner, kept::Kept, records::Versioned};

/// The most groups that a principal may be in, and the most bindings of one subject. Whoever has more gets no rights
/// at all: what is left out could forbid something.
pub(crate) const MAX_GROUPS: usize = 256;
pub(crate) const MAX_BINDINGS: usize = 256;

/// Everything that a principal holds.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    /// Those that count everywhere.
    pub(crate) roles: Vec<Role>,
    /// Those that count within a scope only.
    pub(crate) scoped: Vec<ScopedRole>,
    pub(crate) groups: Vec<String>,
    pub(crate) keys: KeyRights,
    /// Where the principal is.
    pub(crate) scope: Scope,
    /// The narrowest scope that has it and everything that it may do in it. Whoever takes it over has power there.
    pub(crate) reach: Scope,
}

/// What somebody holds, and whether it may act. None for a principal that is unknown.
type Held = Option<(bool, Arc<Holdings>)>;

/// What principals hold.
pub(crate) type KnownHoldings = Kept<PrincipalId, Held>;

impl Inner {
    /// What `principal` holds itself and through groups; none if it does not exist or may not act.
    pub(crate) fn holdings(&self, principal: &PrincipalId) -> Result<Option<Arc<Holdings>>, Error> {
        Ok(self.held(principal)?.filter(|(active, _)| *active).map(|(_, holdings)| holdings))
    }

    /// The same, also of one that may not act now: it can be acted upon.
    pub(crate) fn holdings_of_any(&self, principal: &PrincipalId) -> Result<Option<Arc<Holdings>>, Error> {
        Ok(self.held(principal)?.map(|(_, holdings)| holdings))
    }

    fn held(&self, principal: &PrincipalId) -> Result<Held, Error> {
        // It is taken first: what is read then may only be newer.
        let revision = self.records.applied().system_revision;
        if let Some(known) = self.holdings.get(principal, revision) {
            return Ok(known);
        }
        let stored = self.records.get::<Principal>(&key::principal(principal))?;
        let read = |stored: Versioned<Principal>| {
            Ok::<_, Error>((!stored.value.disabled, Arc::new(self.read_holdings(principal, stored.value.scope)?)))
        };
        let read = stored.map(read).transpose()?;
        self.holdings.note(principal.clone(), revision, read.clone());
        Ok(read)
    }

    fn read_holdings(&self, principal: &PrincipalId, scope: Scope) -> Result<Holdings, Error> {
        let mut roles = BTreeSet::new();
        let mut groups = BTreeSet::new();
        let (mut scoped, mut rules) = (BTreeSet::new(), Vec::new());
        let mut next = VecDeque::from([Subject::Principal(principal.clone())]);
        while let Some(subject) = next.pop_front() {
            let bindings = self.records.list::<Binding>(&key::bindings(&subject), None, MAX_BINDINGS)?;
            let memberships = self.records.list::<Membership>(&key::memberships(&subject), None, MAX_GROUPS)?;
            for binding in bindings.values {
                roles.extend(binding.role);
                scoped.extend(binding.scoped);
                for grant in &binding.keys {
                    rules.push(rule(grant)?);
                }
            }
            for membership in memberships.values {
                if groups.insert(membership.group.clone()) {
                    next.push_back(Subject::Group(membership.group));
                }
            }
            if bindings.next.is_some() || memberships.next.is_some() || groups.len() > MAX_GROUPS {
                return Err(Error::Precondition(format!(
                    "{principal} has no rights: it is in more than {MAX_GROUPS} groups, or {subject} has more than \
                     {MAX_BINDINGS} bindings"
                )));
            }
        }
        let reaches_out = !(roles.is_empty() && groups.is_empty() && rules.iter().all(|rule| rule.forbid));
        let reach = match reaches_out {
            true => Scope::System,
            false => scoped.iter().fold(scope.clone(), |reach, held: &ScopedRole| reach.join(&held.scope)),
        };
        if principal.kind() == Kind::Node {
            // It comes with every node, and is about itself.
            roles.insert(Role::Node);
        }
        let roles: Vec<_> = roles.into_iter().collect();
        let keys = KeyRights::new(&roles, &rules);
        let (scoped, groups) = (scoped.into_iter().collect(), groups.into_iter().collect());
        Ok(Holdings { roles, scoped, groups, keys, scope, reach })
    }

    /// Refuses one more membership of `principal` in `group` if that were too many groups for it.
    pub(crate) fn check_groups(&self, principal: &PrincipalId, group: &str) -> Result<(), Error> {
        let mut groups = BTreeSet::from([group.to_owned()]);
        let mut next = VecDeque::from([Subject::Principal(principal.clone()), Subject::Group(group.to_owned())]);
        while let Some(subject) = next.pop_front() {
            for membership in self.records.list::<Membership>(&key::memberships(&subject), None, MAX_GROUPS)?.values {
                if groups.insert(membership.group.clone()) {
                    next.push_back(Subject::Group(membership.group));
                }
            }
            if groups.len() > MAX_GROUPS {
                return Err(Error::Precondition(format!("{principal} would be in more than {MAX_GROUPS} groups")));
            }
        }
        Ok(())
    }
}

impl Holdings {
    pub(crate) fn admin() -> Self {
        Self::of(vec![Role::Admin])
    }

    /// What roles give by themselves.
    pub(crate) fn of(roles: Vec<Role>) -> Self {
        Self { keys: KeyRights::new(&roles, &[]), roles, ..Self::default() }
    }

    /// Of these roles the ones that are held, and nothing else.
    pub(crate) fn narrowed(&self, scope: &[&str]) -> Self {
        let within = |role: Role| scope.contains(&role.as_str());
        let roles = self.roles.iter().copied().filter(|role| within(*role)).collect();
        let scoped = self.scoped.iter().filter(|held| within(held.role)).cloned().collect();
        Self { scoped, ..Self::of(roles) }
    }

    /// Those that count within `scope` beside those that count everywhere.
    pub(crate) fn roles_within(&self, scope: &Scope) -> Vec<Role> {
        self.scoped.iter().filter(|held| held.scope.contains(scope)).map(|held| held.role).collect()
    }

    /// Wherever they count.
    pub(crate) fn all_roles(&self) -> impl Iterator<Item = Role> {
        self.roles.iter().copied().chain(self.scoped.iter().map(|held| held.role))
    }

    /// Those that count everywhere.
    pub(crate) fn role_names(&self) -> Vec<String> {
        self.roles.iter().map(ToString::to_string).collect()
    }
}

/// What a stored grant says.
pub(crate) fn rule(grant: &KeyGrant) -> Result<KeyRule, Error> {
    let bytes = |text: &str| hex::decode(text).map_err(|error| Error::Corrupt(format!("key grant: {error}")));
    let range = KeyRange { start: bytes(&grant.start)?, end: grant.end.as_deref().map(bytes).transpose()? };
    Ok(KeyRule { range, read: grant.read, write: grant.write, forbid: grant.forbid })
}
