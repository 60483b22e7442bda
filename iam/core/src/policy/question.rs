use std::net::IpAddr;

use super::Role;
use crate::Scope;

/// Who asks, with everything that is known about them.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// `user`, `service`, `node`, `bootstrap` or `anonymous`.
    pub kind: &'a str,
    pub name: &'a str,
    /// Those that count everywhere.
    pub roles: &'a [Role],
    /// Those that count where the target is, and not everywhere.
    pub scoped: &'a [Role],
    pub groups: &'a [String],
    pub scope: Option<&'a Scope>,
}

/// What is acted upon.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub kind: &'a str,
    pub name: &'a str,
    /// That a principal which is acted upon has, and is in.
    pub roles: &'a [Role],
    pub groups: &'a [String],
    /// Where it is, if it is anywhere: principals are, and scopes themselves.
    pub scope: Option<&'a Scope>,
}

/// What conditions may look at beside caller and target.
#[derive(Clone, Copy, Debug, Default)]
pub struct Circumstances {
    pub source: Option<IpAddr>,
    pub time_ms: u64,
}

impl<'a> Caller<'a> {
    /// Who holds nothing and is nowhere.
    pub fn of(kind: &'a str, name: &'a str) -> Self {
        Self { kind, name, roles: &[], scoped: &[], groups: &[], scope: None }
    }
}

impl<'a> Target<'a> {
    /// `kind/name`.
    pub fn of(resource: &'a str) -> Self {
        let (kind, name) = resource.split_once('/').unwrap_or((resource, ""));
        Self { kind, name, roles: &[], groups: &[], scope: None }
    }
}
