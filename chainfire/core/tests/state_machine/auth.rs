//! §2.10: users, roles and the switch. Who may do what with keys is in `rights`.

use bytes::Bytes;
use chainfire_core::{
    Answer, AuthenticatedBy, Command, Effect, Origin, UserAnswer, UserCommand, UserError,
    auth::{self, AuthCommand, AuthStatus, Login, PasswordHash, Permission, PermissionKind, User},
    kv::Revision,
};

use crate::store::{Store, bytes, mira};

pub(crate) fn hash() -> PasswordHash {
    PasswordHash(b"$2a$04$hash".to_vec())
}

pub(crate) fn user_add(name: &str) -> AuthCommand {
    AuthCommand::UserAdd { name: name.into(), password: Some(hash()) }
}

pub(crate) fn role_add(name: &str) -> AuthCommand {
    AuthCommand::RoleAdd { name: name.into() }
}

pub(crate) fn grant_role(user: &str, role: &str) -> AuthCommand {
    AuthCommand::UserGrantRole { user: user.into(), role: role.into() }
}

pub(crate) fn grant(role: &str, kind: PermissionKind, key: &str, range_end: &str) -> AuthCommand {
    let permission = Permission { kind, key: bytes(key), range_end: bytes(range_end) };
    AuthCommand::RoleGrantPermission { role: role.into(), permission }
}

fn revoke(role: &str, key: &str, range_end: &str) -> AuthCommand {
    AuthCommand::RoleRevokePermission { role: role.into(), key: bytes(key), range_end: bytes(range_end) }
}

fn revoke_role(user: &str, role: &str) -> AuthCommand {
    AuthCommand::UserRevokeRole { user: user.into(), role: role.into() }
}

fn user_delete(name: &str) -> AuthCommand {
    AuthCommand::UserDelete { name: name.into() }
}

fn role_delete(name: &str) -> AuthCommand {
    AuthCommand::RoleDelete { name: name.into() }
}

fn change_password(name: &str) -> AuthCommand {
    AuthCommand::UserChangePassword { name: name.into(), password: PasswordHash(b"other".to_vec()) }
}

impl Store {
    pub(crate) fn auth(&mut self, command: AuthCommand) -> Result<(), UserError> {
        match self.user(UserCommand::Auth(command))? {
            UserAnswer::Auth { revision } => assert_eq!(revision, self.revision()),
            other => panic!("{other:?}"),
        }
        Ok(())
    }

    pub(crate) fn log_in(&mut self, user: &str, revision: u64) -> Result<u64, UserError> {
        match self.user(UserCommand::Login(Login { user: user.into(), revision, token: [7; 32] }))? {
            UserAnswer::Login { index, .. } => Ok(index),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn status(&self) -> AuthStatus {
        auth::status(&self.state).unwrap()
    }

    /// The next commands come from `name`, as users and roles are now.
    pub(crate) fn become_user(&mut self, name: &str) {
        self.origin = Origin::etcd_user(name, self.status().revision, None, "r");
    }

    pub(crate) fn become_nobody(&mut self) {
        self.origin = Origin { authenticated_by: AuthenticatedBy::Nothing, ..mira() };
    }

    /// With a root user, and whatever `also` does, authentication on, and nobody asking.
    pub(crate) fn guarded(also: &[AuthCommand]) -> Self {
        let mut store = Self::new();
        for command in [user_add("root"), grant_role("root", "root")].iter().chain(also).chain([&AuthCommand::Enable]) {
            store.auth(command.clone()).unwrap();
        }
        store.become_nobody();
        store
    }
}

#[test]
fn it_begins_switched_off_at_revision_one() {
    assert_eq!(Store::new().status(), AuthStatus { enabled: false, revision: 1 });
}

#[test]
fn enabling_needs_the_root_user_with_the_root_role() {
    let mut store = Store::new();
    assert_eq!(store.auth(AuthCommand::Enable), Err(UserError::RootUserMissing));
    store.auth(user_add("root")).unwrap();
    assert_eq!(store.auth(AuthCommand::Enable), Err(UserError::RootRoleMissing));
    store.auth(grant_role("root", "root")).unwrap();
    store.auth(AuthCommand::Enable).unwrap();
    assert!(store.status().enabled);
}

#[test]
fn every_change_counts_and_switching_on_does_not() {
    let mut store = Store::new();
    let changes = [
        user_add("root"),
        grant_role("root", "root"),
        user_add("a"),
        change_password("a"),
        role_add("r"),
        grant("r", PermissionKind::Read, "k", ""),
        grant_role("a", "r"),
        revoke_role("a", "r"),
        revoke("r", "k", ""),
        role_delete("r"),
        user_delete("a"),
    ];
    for (command, revision) in changes.into_iter().zip(2..) {
        store.auth(command).unwrap();
        assert_eq!(store.status().revision, revision);
    }
    store.auth(AuthCommand::Enable).unwrap();
    assert_eq!(store.status(), AuthStatus { enabled: true, revision: 12 });
    store.become_user("root");
    store.auth(AuthCommand::Disable).unwrap();
    assert_eq!(store.status(), AuthStatus { enabled: false, revision: 13 });
    assert_eq!(store.revision(), Revision(1), "keys have a revision of their own");
}

#[test]
fn what_was_so_before_is_no_change() {
    let mut store = Store::guarded(&[]);
    store.become_user("root");
    let before = store.status();
    store.auth(AuthCommand::Enable).unwrap();
    store.auth(grant_role("root", "root")).unwrap();
    assert_eq!((store.status(), store.effects.as_slice()), (before, &[][..]));
    let mut off = Store::new();
    off.auth(AuthCommand::Disable).unwrap();
    assert_eq!(off.status().revision, 1);
}

#[test]
fn switching_off_keeps_users() {
    let mut store = Store::guarded(&[user_add("a")]);
    store.become_user("root");
    store.auth(AuthCommand::Disable).unwrap();
    assert_eq!(store.effects, [Effect::TokensEnded { user: None }]);
    assert_eq!(auth::users(&store.state).count(), 2);
}

#[test]
fn users_have_a_name_and_only_one_each() {
    let mut store = Store::new();
    assert_eq!(store.auth(user_add("")), Err(UserError::UserEmpty));
    store.auth(user_add("a")).unwrap();
    assert_eq!(store.auth(user_add("a")), Err(UserError::UserExists));
    for missing in [user_delete("b"), change_password("b"), grant_role("b", "r"), revoke_role("b", "r")] {
        assert_eq!(store.auth(missing), Err(UserError::UserNotFound));
    }
    assert_eq!(store.auth(grant_role("a", "r")), Err(UserError::RoleNotFound));
    assert_eq!(store.auth(revoke_role("a", "r")), Err(UserError::RoleNotGranted));
}

#[test]
fn roles_have_a_name_and_permissions_on_something() {
    let mut store = Store::new();
    assert_eq!(store.auth(role_add("")), Err(UserError::RoleEmpty));
    store.auth(role_add("r")).unwrap();
    assert_eq!(store.auth(role_add("r")), Err(UserError::RoleExists));
    assert_eq!(store.auth(role_delete("s")), Err(UserError::RoleNotFound));
    assert_eq!(store.auth(grant("s", PermissionKind::Read, "k", "")), Err(UserError::RoleNotFound));
    assert_eq!(store.auth(revoke("s", "k", "")), Err(UserError::RoleNotFound));
    assert_eq!(store.auth(revoke("r", "k", "")), Err(UserError::PermissionNotGranted));
    for (key, end) in [("", ""), ("", "\0"), ("b", "a"), ("b", "b")] {
        let bad = grant("r", PermissionKind::Read, key, end);
        assert_eq!(store.auth(bad), Err(UserError::InvalidAuthManagement), "{key:?} to {end:?}");
    }
}

#[test]
fn a_permission_on_the_same_range_is_replaced_and_the_others_stay_in_order() {
    let mut store = Store::new();
    store.auth(role_add("r")).unwrap();
    for (kind, key, end) in [
        (PermissionKind::Read, "b", ""),
        (PermissionKind::Write, "a", "c"),
        (PermissionKind::Read, "a", "\0"),
        (PermissionKind::ReadWrite, "b", ""),
    ] {
        store.auth(grant("r", kind, key, end)).unwrap();
    }
    let permissions = |store: &Store| auth::role(&store.state, "r").unwrap().unwrap().permissions;
    let shown: Vec<_> = permissions(&store).into_iter().map(|own| (own.kind, own.key, own.range_end)).collect();
    let of = |kind, key: &'static str, end: &'static str| (kind, Bytes::from(key), Bytes::from(end));
    let (a, b) = (of(PermissionKind::Write, "a", "c"), of(PermissionKind::ReadWrite, "b", ""));
    assert_eq!(shown, [a, of(PermissionKind::Read, "a", "\0"), b]);
    assert_eq!(store.auth(revoke("r", "a", "")), Err(UserError::PermissionNotGranted));
    store.auth(revoke("r", "a", "c")).unwrap();
    assert_eq!(permissions(&store).len(), 2);
}

#[test]
fn a_deleted_role_is_nobodys() {
    let mut store = Store::new();
    for command in
        [role_add("r"), role_add("s"), user_add("a"), user_add("b"), grant_role("a", "s"), grant_role("a", "r")]
    {
        store.auth(command).unwrap();
    }
    let roles = |store: &Store| auth::user(&store.state, "a").unwrap().unwrap().roles;
    assert_eq!(roles(&store), ["r", "s"]);
    store.auth(role_delete("r")).unwrap();
    assert_eq!(roles(&store), ["s"]);
}

#[test]
fn root_cannot_be_lost_while_it_counts() {
    let mut store = Store::guarded(&[role_add("root")]);
    store.become_user("root");
    let losses = [user_delete("root"), role_delete("root"), revoke_role("root", "root")];
    for loss in losses.clone() {
        assert_eq!(store.auth(loss), Err(UserError::InvalidAuthManagement));
    }
    store.auth(AuthCommand::Disable).unwrap();
    for allowed in [&losses[2], &losses[1], &losses[0]] {
        store.auth(allowed.clone()).unwrap();
    }
}

#[test]
fn only_root_manages_while_it_counts() {
    let mut store = Store::guarded(&[user_add("a")]);
    assert_eq!(store.auth(user_add("b")), Err(UserError::UserEmpty));
    store.become_user("a");
    assert_eq!(store.auth(user_add("b")), Err(UserError::PermissionDenied));
    assert_eq!(store.auth(AuthCommand::Disable), Err(UserError::PermissionDenied));
    store.become_user("nobody");
    assert_eq!(store.auth(AuthCommand::Disable), Err(UserError::PermissionDenied));
    store.become_user("root");
    store.auth(user_add("b")).unwrap();
    store.auth(user_add("c")).unwrap();
}

#[test]
fn a_user_without_password_gets_none_by_changing_it() {
    let mut store = Store::new();
    store.auth(AuthCommand::UserAdd { name: "cn".into(), password: None }).unwrap();
    store.auth(change_password("cn")).unwrap();
    let user = auth::user(&store.state, "cn").unwrap();
    assert_eq!(user, Some(User { name: "cn".into(), password: None, roles: Vec::new() }));
}

#[test]
fn a_login_is_refused_when_anything_changed_since_the_password_was_compared() {
    let mut store = Store::guarded(&[user_add("a"), AuthCommand::UserAdd { name: "cn".into(), password: None }]);
    let revision = store.status().revision;
    let index = store.log_in("a", revision).unwrap();
    assert_eq!(index, store.index);
    let issued = Effect::TokenIssued { token: [7; 32], user: "a".into(), index, issued_ms: store.time_ms };
    assert_eq!(store.effects, [issued]);
    assert_eq!(store.log_in("a", revision - 1), Err(UserError::AuthOldRevision));
    assert_eq!(store.log_in("b", revision), Err(UserError::LoginFailed));
    assert_eq!(store.log_in("cn", revision), Err(UserError::LoginFailed));
    assert_eq!(Store::new().log_in("a", 1), Err(UserError::AuthNotEnabled));
}

#[test]
fn tokens_end_with_the_password_and_with_the_user_and_not_with_roles() {
    let mut store = Store::guarded(&[user_add("a")]);
    store.become_user("root");
    let ended = || vec![Effect::TokensEnded { user: Some("a".into()) }];
    store.auth(role_add("r")).unwrap();
    assert_eq!(store.effects, []);
    store.auth(grant_role("a", "r")).unwrap();
    assert_eq!(store.effects, []);
    store.auth(change_password("a")).unwrap();
    assert_eq!(store.effects, ended());
    store.auth(user_delete("a")).unwrap();
    assert_eq!(store.effects, ended());
}

#[test]
fn changes_are_in_the_journal_and_hashes_are_not() {
    let mut store = Store::digesting();
    store.auth(user_add("a\n")).unwrap();
    let record = store.journal().pop().unwrap();
    assert_eq!((record.action.as_str(), record.resource.as_str()), ("auth.UserAdd", "etcd-user/a\\n"));
    assert!(!format!("{:?}", user_add("a")).contains("$2a"));
}

#[test]
fn users_of_iam_and_the_servers_own_work_are_not_judged() {
    let mut store = Store::guarded(&[]);
    for origin in [mira(), Origin::system("lease-expiry", "r")] {
        store.origin = origin;
        store.set("k", "v");
    }
    store.become_nobody();
    let answer = store.commit(Command::User(UserCommand::Put(crate::store::pair("k", "v"))));
    assert!(matches!(answer, Answer::User(Err(refusal)) if refusal.error == UserError::UserEmpty));
}
