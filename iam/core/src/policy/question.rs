use std::net::IpAddr;

use super::Role;

/// Who asks, with everything that is known about them.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// `user`, `service`, `node`, `bootstrap` or `anonymous`.
    pub kind: &'a str,
    pub name: &'a str,
    pub roles: &'a [Role],
    pub groups: &'a [String],
}

/// What is acted upon.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub kind: &'a str,
    pub name: &'a str,
    /// That a principal which is acted upon has, and is in.
    pub roles: &'a [Role],
    pub groups: &'a [String],
}

/// What conditions may look at beside caller and target.
#[derive(Clone, Copy, Debug, Default)]
pub struct Circumstances {
    pub source: Option<IpAddr>,
    pub time_ms: u64,
}

impl<'a> Target<'a> {
    /// `kind/name`.
    pub fn of(resource: &'a str) -> Self {
        let (kind, name) = resource.split_once('/').unwrap_or((resource, ""));
        Self { kind, name, roles: &[], groups: &[] }
    }
}
