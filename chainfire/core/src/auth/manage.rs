use holdfast_keyspace::{Read, Write};

use super::{AuthCommand, AuthStatus, Login, Permission, ROOT, Role, User, store};
use crate::{Failure, Halt, UserError};

/// What a command has changed, for those who have to know.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) action: &'static str,
    pub(crate) resource: String,
    /// Whose tokens are worthless from now on.
    pub(crate) ended: Ended,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Nothing,
    User(String),
    All,
}

/// Carries out a command whose sender may administrate; none if everything was so already. Each change counts.
pub(crate) fn manage(state: &mut dyn Write, command: &AuthCommand) -> Result<Option<Change>, Failure> {
    let status = store::status(&*state)?;
    let ended = match command {
        AuthCommand::Enable => return enable(state, status, command),
        AuthCommand::Disable => {
            if !status.enabled {
                return Ok(None);
            }
            Ended::All
        }
        AuthCommand::UserAdd { name, password } => {
            if name.is_empty() {
                return Err(UserError::UserEmpty.into());
            }
            if store::user(&*state, name)?.is_some() {
                return Err(UserError::UserExists.into());
            }
            store::set_user(state, &User { name: name.clone(), password: password.clone(), roles: Vec::new() })?;
            Ended::Nothing
        }
        AuthCommand::UserDelete { name } => {
            if status.enabled && name == ROOT {
                return Err(UserError::InvalidAuthManagement.into());
            }
            known_user(&*state, name)?;
            store::delete_user(state, name);
            Ended::User(name.clone())
        }
        AuthCommand::UserChangePassword { name, password } => {
            let user = known_user(&*state, name)?;
            // Who has no password gets none this way.
            let password = user.password.is_some().then(|| password.clone());
            store::set_user(state, &User { password, ..user })?;
            Ended::User(name.clone())
        }
        AuthCommand::UserGrantRole { user, role } => {
            if !grant_role(state, user, role)? {
                return Ok(None);
            }
            Ended::Nothing
        }
        AuthCommand::UserRevokeRole { user, role } => {
            if status.enabled && user == ROOT && role == ROOT {
                return Err(UserError::InvalidAuthManagement.into());
            }
            let user = known_user(&*state, user)?;
            if !revoke_role(state, user, role)? {
                return Err(UserError::RoleNotGranted.into());
            }
            Ended::Nothing
        }
        AuthCommand::RoleAdd { name } => {
            if name.is_empty() {
                return Err(UserError::RoleEmpty.into());
            }
            if store::role(&*state, name)?.is_some() {
                return Err(UserError::RoleExists.into());
            }
            store::set_role(state, &Role { name: name.clone(), permissions: Vec::new() })?;
            Ended::Nothing
        }
        AuthCommand::RoleDelete { name } => {
            if status.enabled && name == ROOT {
                return Err(UserError::InvalidAuthManagement.into());
            }
            delete_role(state, name)?;
            Ended::Nothing
        }
        AuthCommand::RoleGrantPermission { role, permission } => {
            grant_permission(state, role, permission)?;
            Ended::Nothing
        }
        AuthCommand::RoleRevokePermission { role, key, range_end } => {
            let mut role = known_role(&*state, role)?;
            let before = role.permissions.len();
            role.permissions.retain(|permission| !permission.is_on(key, range_end));
            if role.permissions.len() == before {
                return Err(UserError::PermissionNotGranted.into());
            }
            store::set_role(state, &role)?;
            Ended::Nothing
        }
    };
    let enabled = status.enabled && *command != AuthCommand::Disable;
    let revision = status.revision.checked_add(1).ok_or_else(|| Halt::damaged("2^64 changes of users"))?;
    store::set_status(state, &AuthStatus { enabled, revision })?;
    Ok(Some(Change { action: command.action(), resource: command.resource(), ended }))
}

/// Whether a user that has shown its password may have a token for it.
pub(crate) fn log_in(read: &dyn Read, login: &Login) -> Result<(), Failure> {
    let status = store::status(read)?;
    if !status.enabled {
        return Err(UserError::AuthNotEnabled.into());
    }
    if status.revision != login.revision {
        return Err(UserError::AuthOldRevision.into());
    }
    match store::user(read, &login.user)? {
        Some(User { password: Some(_), .. }) => Ok(()),
        Some(_) | None => Err(UserError::LoginFailed.into()),
    }
}

/// The one change that does not count: what was decided about users and roles before is as right as ever.
fn enable(state: &mut dyn Write, status: AuthStatus, command: &AuthCommand) -> Result<Option<Change>, Failure> {
    if status.enabled {
        return Ok(None);
    }
    let root = store::user(&*state, ROOT)?.ok_or(UserError::RootUserMissing)?;
    if !root.is_root() {
        return Err(UserError::RootRoleMissing.into());
    }
    store::set_status(state, &AuthStatus { enabled: true, ..status })?;
    Ok(Some(Change { action: command.action(), resource: command.resource(), ended: Ended::Nothing }))
}

/// Whether the user did not have the role before. The root role need not be stored.
fn grant_role(state: &mut dyn Write, user: &str, role: &str) -> Result<bool, Failure> {
    let mut user = known_user(&*state, user)?;
    if role != ROOT {
        known_role(&*state, role)?;
    }
    let Err(at) = user.roles.binary_search_by(|own| own.as_str().cmp(role)) else { return Ok(false) };
    user.roles.insert(at, role.to_owned());
    store::set_user(state, &user)?;
    Ok(true)
}

/// Whether the user had the role.
fn revoke_role(state: &mut dyn Write, mut user: User, role: &str) -> Result<bool, Halt> {
    let before = user.roles.len();
    user.roles.retain(|own| own != role);
    if user.roles.len() == before {
        return Ok(false);
    }
    store::set_user(state, &user)?;
    Ok(true)
}

/// Deletes a role and takes it from everybody.
fn delete_role(state: &mut dyn Write, name: &str) -> Result<(), Failure> {
    known_role(&*state, name)?;
    store::delete_role(state, name);
    let users = store::users(&*state).collect::<Result<Vec<_>, _>>()?;
    for user in users {
        revoke_role(state, user, name)?;
    }
    Ok(())
}

fn grant_permission(state: &mut dyn Write, role: &str, permission: &Permission) -> Result<(), Failure> {
    if !permission.is_valid() {
        return Err(UserError::InvalidAuthManagement.into());
    }
    let mut role = known_role(&*state, role)?;
    role.permissions.retain(|own| !own.is_on(&permission.key, &permission.range_end));
    let at = role.permissions.partition_point(|own| own.key <= permission.key);
    role.permissions.insert(at, permission.clone());
    store::set_role(state, &role)?;
    Ok(())
}

fn known_user(read: &dyn Read, name: &str) -> Result<User, Failure> {
    Ok(store::user(read, name)?.ok_or(UserError::UserNotFound)?)
}

fn known_role(read: &dyn Read, name: &str) -> Result<Role, Failure> {
    Ok(store::role(read, name)?.ok_or(UserError::RoleNotFound)?)
}
