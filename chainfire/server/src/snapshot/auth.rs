//! etcd's users and roles in its own form, in both directions.

use chainfire_bolt::{Pair, Reader, Source};
use chainfire_core::auth::{self, AuthStatus, PasswordHash, Permission, PermissionKind, Role, User};
use chainfire_raft::View;
use holdfast_proto::authpb::{self, UserAddOptions, permission::Type};
use prost::Message as _;

use super::{SnapshotError, name};
use crate::restore::RestoreError;

pub(super) fn status(view: &View) -> Result<Vec<Pair>, SnapshotError> {
    let AuthStatus { enabled, revision } = auth::status(view)?;
    Ok(vec![
        (name::AUTH_ENABLED.to_vec(), vec![u8::from(enabled)]),
        (name::AUTH_REVISION.to_vec(), revision.to_be_bytes().to_vec()),
    ])
}

pub(super) fn users(view: &View) -> Result<Vec<Pair>, SnapshotError> {
    let row = |user: User| {
        let options = UserAddOptions { no_password: user.password.is_none() };
        let password = user.password.map_or_else(Vec::new, |PasswordHash(hash)| hash);
        let row = authpb::User {
            name: user.name.clone().into(),
            password: password.into(),
            roles: user.roles,
            options: Some(options),
        };
        (user.name.into_bytes(), row.encode_to_vec())
    };
    auth::users(view).map(|user| Ok(row(user?))).collect()
}

pub(super) fn roles(view: &View) -> Result<Vec<Pair>, SnapshotError> {
    let permission = |permission: Permission| {
        let kind = match permission.kind {
            PermissionKind::Read => Type::Read,
            PermissionKind::Write => Type::Write,
            PermissionKind::ReadWrite => Type::Readwrite,
        };
        authpb::Permission { perm_type: kind.into(), key: permission.key, range_end: permission.range_end }
    };
    let row = |role: Role| {
        let key_permission = role.permissions.into_iter().map(permission).collect();
        let row = authpb::Role { name: role.name.clone().into(), key_permission };
        (role.name.into_bytes(), row.encode_to_vec())
    };
    auth::roles(view).map(|role| Ok(row(role?))).collect()
}

/// The users and roles of an etcd.
#[derive(Debug, Default)]
pub(crate) struct EtcdAuth {
    pub(crate) status: AuthStatus,
    pub(crate) users: Vec<User>,
    pub(crate) roles: Vec<Role>,
}

impl EtcdAuth {
    pub(crate) fn read<S: Source>(file: &Reader<S>) -> Result<Self, RestoreError> {
        let mut found = Self::default();
        for (key, value) in pairs(file, name::AUTH)? {
            match key.as_slice() {
                name::AUTH_ENABLED => found.status.enabled = value == [1],
                // Our own first revision is 1.
                name::AUTH_REVISION => found.status.revision = crate::restore::number(&value)?.max(1),
                _ => {}
            }
        }
        for (_, value) in pairs(file, name::AUTH_USERS)? {
            found.users.push(user(&value)?);
        }
        for (_, value) in pairs(file, name::AUTH_ROLES)? {
            found.roles.push(role(&value)?);
        }
        Ok(found)
    }
}

/// All pairs of a small bucket; none if there is no such bucket.
fn pairs<S: Source>(file: &Reader<S>, bucket: &[u8]) -> Result<Vec<Pair>, RestoreError> {
    let Some(bucket) = file.bucket(bucket)? else { return Ok(Vec::new()) };
    Ok(file.pairs(&bucket)?.collect::<Result<_, _>>()?)
}

fn user(value: &[u8]) -> Result<User, RestoreError> {
    let wrong = RestoreError::Etcd("a user cannot be read");
    let Ok(row) = authpb::User::decode(value) else { return Err(wrong) };
    let Some(name) = text(&row.name) else { return Err(wrong) };
    let without = row.options.is_some_and(|options| options.no_password);
    let mut roles = row.roles;
    roles.sort_unstable();
    roles.dedup();
    Ok(User { name, password: (!without).then(|| PasswordHash(row.password.to_vec())), roles })
}

fn role(value: &[u8]) -> Result<Role, RestoreError> {
    let wrong = || RestoreError::Etcd("a role cannot be read");
    let row = authpb::Role::decode(value).map_err(|_| wrong())?;
    let mut permissions = Vec::with_capacity(row.key_permission.len());
    for permission in row.key_permission {
        let kind = match Type::try_from(permission.perm_type).map_err(|_| wrong())? {
            Type::Read => PermissionKind::Read,
            Type::Write => PermissionKind::Write,
            Type::Readwrite => PermissionKind::ReadWrite,
        };
        permissions.push(Permission { kind, key: permission.key, range_end: permission.range_end });
    }
    permissions.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(Role { name: text(&row.name).ok_or_else(wrong)?, permissions })
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}
