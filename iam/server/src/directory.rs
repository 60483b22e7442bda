//! Principals, groups and bindings: how they are made, changed and listed.

use chainfire_core::{Origin, system::Expect};
use iam_client::Identity;
use iam_core::{
    Kind, PrincipalId, Scope, Subject, check_name,
    groups::Nesting,
    record::{Binding, Membership, Principal, key},
};

use crate::{
    Error, Iam,
    delegation::READ,
    holdings::{MAX_BINDINGS, rule},
    records::{Change, Keyed, Listing, Versioned},
};

const MAX_DISPLAY_NAME: usize = 256;
const MAX_KEY_GRANTS: usize = 64;
const PAGE: usize = 1000;

impl Iam {
    pub(crate) async fn create_principal(
        &self,
        by: &Identity,
        id: PrincipalId,
        display_name: String,
        wanted: Scope,
    ) -> Result<(Principal, u64), Error> {
        let scope = self.scope_of_new(by, id.kind(), wanted)?;
        if display_name.chars().count() > MAX_DISPLAY_NAME || display_name.chars().any(char::is_control) {
            return Err(Error::Invalid(format!("a display name has at most {MAX_DISPLAY_NAME} printable characters")));
        }
        let principal = Principal { id, display_name, created_ms: self.0.now_ms(), disabled: false, scope };
        let change = Change::new("iam.PrincipalCreate", principal.id.to_string())
            .create(key::principal(&principal.id), &principal)?;
        match self.0.records.commit(by.origin(), change).await {
            Ok(revision) => Ok((principal, revision)),
            Err(Error::Conflict { .. }) => Err(Error::Exists(principal.id.to_string())),
            Err(error) => Err(error),
        }
    }

    /// Disables or enables, if it is at revision `expected` where that is not 0. A disabled principal's tokens, credentials
    /// and certificates stop working at once.
    pub(crate) async fn set_principal(
        &self,
        by: &Identity,
        id: &PrincipalId,
        disabled: bool,
        expected: u64,
    ) -> Result<(Principal, u64), Error> {
        self.check_may_set(by, id)?;
        let at = key::principal(id);
        let found = self.0.records.get::<Principal>(&at)?.ok_or_else(|| Error::NotFound(id.to_string()))?;
        found.expect(expected)?;
        if found.value.disabled == disabled {
            return Ok((found.value, found.revision));
        }
        let principal = Principal { disabled, ..found.value };
        let action = if disabled { "iam.PrincipalDisable" } else { "iam.PrincipalEnable" };
        let change = Change::new(action, id.to_string()).replace(at, found.revision, &principal)?;
        let revision = self.0.records.commit(by.origin(), change).await?;
        Ok((principal, revision))
    }

    /// All, or those of the caller's organisation or project.
    pub(crate) fn list_principals(
        &self,
        by: &Identity,
        kind: Option<Kind>,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Listing<Keyed<Principal>>, Error> {
        let prefix = kind.map_or(key::PRINCIPALS.to_owned(), |kind| format!("{}{}/", key::PRINCIPALS, kind.as_str()));
        if self.0.authorize_in(by, READ, &by.scope)? {
            return self.0.records.page(prefix.as_bytes(), after, limit);
        }
        self.0.records.page_of(prefix.as_bytes(), after, limit, |one: &Principal| by.scope.contains(&one.scope))
    }

    pub(crate) async fn add_member(&self, by: &Identity, group: String, member: Subject) -> Result<u64, Error> {
        check_name(&group)?;
        let change = Change::new("iam.MemberAdd", format!("group/{group}"));
        let change = match &member {
            Subject::Principal(id) => {
                self.0.check_groups(id, &group)?;
                change.expect(key::principal(id), Expect::Present)
            }
            Subject::Group(inner) => {
                let nested = self.nesting()?.admits(inner, &group);
                nested.map_err(|error| Error::Precondition(error.to_string()))?;
                change
            }
        };
        let membership = Membership { group, member, created_ms: self.0.now_ms() };
        let at = key::membership(&membership.member, &membership.group);
        self.commit_about(by.origin(), change.put(at, &membership)?, &membership.member).await
    }

    pub(crate) async fn remove_member(&self, by: &Identity, group: &str, member: &Subject) -> Result<u64, Error> {
        check_name(group)?;
        let at = key::membership(member, group);
        let change = Change::new("iam.MemberRemove", format!("group/{group}")).expect(at.clone(), Expect::Present);
        match self.0.records.commit(by.origin(), change.delete(at)).await {
            Err(Error::Conflict { .. }) => Err(Error::NotFound(format!("{member} in group/{group}"))),
            other => other,
        }
    }

    /// Memberships of `member`, or of everybody, and only those in `group`. A page that was filtered may be empty and have
    /// more behind it.
    pub(crate) fn list_members(
        &self,
        member: Option<&Subject>,
        group: Option<&str>,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Listing<Membership>, Error> {
        let prefix = member.map_or_else(|| key::MEMBERS.as_bytes().to_vec(), key::memberships);
        let mut listing = self.0.records.list::<Membership>(&prefix, after, limit)?;
        listing.values.retain(|membership| group.is_none_or(|group| group == membership.group));
        Ok(listing)
    }

    fn nesting(&self) -> Result<Nesting, Error> {
        let mut memberships = Vec::new();
        let mut after = None;
        loop {
            let prefix = key::MEMBERS_OF_KIND_GROUP.as_bytes();
            let page = self.0.records.list::<Membership>(prefix, after.as_deref(), PAGE)?;
            memberships.extend(page.values.into_iter().filter_map(|membership| match membership.member {
                Subject::Group(inner) => Some((inner, membership.group)),
                Subject::Principal(_) => None,
            }));
            match page.next {
                None => return Ok(Nesting::new(memberships)),
                next => after = next,
            }
        }
    }

    /// Creates or replaces the binding of this name; only replaces it, and only at `expected`, where that is not 0.
    pub(crate) async fn grant(
        &self,
        by: &Identity,
        mut binding: Binding,
        expected: u64,
    ) -> Result<(Binding, u64), Error> {
        check_name(&binding.name)?;
        let at = key::binding(&binding.subject, &binding.name);
        let old = self.0.records.get::<Binding>(&at)?;
        let everywhere =
            self.check_may_bind(by, &binding.subject, old.iter().map(|old| &old.value).chain([&binding]))?;
        if binding.role.is_none() && binding.keys.is_empty() && binding.scoped.is_none() {
            return Err(Error::Invalid("a binding gives a role or rights on keys".to_owned()));
        }
        if binding.keys.len() > MAX_KEY_GRANTS {
            return Err(Error::Invalid(format!("a binding has at most {MAX_KEY_GRANTS} key grants")));
        }
        for grant in &binding.keys {
            if rule(grant)?.range.is_empty() || !(grant.read || grant.write) {
                return Err(Error::Invalid("a key grant names a range with keys in it, and read or write".to_owned()));
            }
        }
        let held = self.0.records.list::<Binding>(&key::bindings(&binding.subject), None, MAX_BINDINGS)?.values;
        if held.len() >= MAX_BINDINGS && held.iter().all(|held| held.name != binding.name) {
            return Err(Error::Precondition(format!("{} has {MAX_BINDINGS} bindings already", binding.subject)));
        }
        binding.created_ms = self.0.now_ms();
        let change = Change::new("iam.Grant", format!("{}/{}", binding.subject, binding.name));
        let change = if let Subject::Principal(id) = &binding.subject {
            change.expect(key::principal(id), Expect::Present)
        } else {
            change
        };
        let change = change.put(at.clone(), &binding)?;
        let revision = match guard(everywhere, old.as_ref(), expected)? {
            Some(seen) => self.0.records.commit(by.origin(), change.expect(at, seen)).await?,
            None => self.commit_about(by.origin(), change, &binding.subject).await?,
        };
        Ok((binding, revision))
    }

    /// Takes the binding away, if it is at revision `expected` where that is not 0.
    pub(crate) async fn revoke_grant(
        &self,
        by: &Identity,
        subject: &Subject,
        name: &str,
        expected: u64,
    ) -> Result<u64, Error> {
        check_name(name)?;
        let at = key::binding(subject, name);
        let old = self.0.records.get::<Binding>(&at)?;
        let everywhere = self.check_may_bind(by, subject, old.iter().map(|old| &old.value))?;
        let not_found = || Error::NotFound(format!("binding {name} of {subject}"));
        if old.is_none() && !everywhere {
            return Err(not_found());
        }
        let seen = guard(everywhere, old.as_ref(), expected)?.unwrap_or(Expect::Present);
        let change = Change::new("iam.RevokeGrant", format!("{subject}/{name}")).expect(at.clone(), seen);
        match self.0.records.commit(by.origin(), change.delete(at)).await {
            Err(Error::Conflict { found: None }) => Err(not_found()),
            other => other,
        }
    }

    pub(crate) fn list_bindings(
        &self,
        by: &Identity,
        subject: Option<&Subject>,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Listing<Keyed<Binding>>, Error> {
        match subject {
            Some(subject) => self.0.authorize_about(by, READ, subject)?,
            None => self.0.authorize_in(by, READ, &Scope::System)?,
        };
        let prefix = subject.map_or_else(|| key::BINDINGS.as_bytes().to_vec(), key::bindings);
        self.0.records.page(&prefix, after, limit)
    }

    /// The only guard of `change` is that `subject` exists.
    async fn commit_about(&self, origin: Origin, change: Change, subject: &Subject) -> Result<u64, Error> {
        match self.0.records.commit(origin, change).await {
            Err(Error::Conflict { .. }) => Err(Error::NotFound(subject.to_string())),
            other => other,
        }
    }
}

/// What a binding that changes must be: at `expected`, where that is not 0, and for who does not administer everything
/// also what was decided about.
fn guard(everywhere: bool, old: Option<&Versioned<Binding>>, expected: u64) -> Result<Option<Expect>, Error> {
    match old {
        _ if everywhere => Ok((expected != 0).then_some(Expect::Revision(expected))),
        Some(old) => old.expect(expected).map(|()| Some(Expect::Revision(old.revision))),
        None if expected == 0 => Ok(Some(Expect::Absent)),
        None => Err(Error::Conflict { found: None }),
    }
}
