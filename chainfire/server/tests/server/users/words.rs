//! §1.5, §2.10: the codes and texts of everything that can be wrong with users and roles.

use holdfast_proto::{
    authpb::{Permission, UserAddOptions, permission::Type},
    etcdserverpb::{
        AuthDisableRequest, AuthEnableRequest, AuthRoleDeleteRequest, AuthRoleGetRequest,
        AuthRoleGrantPermissionRequest, AuthRoleRevokePermissionRequest, AuthStatusRequest, AuthUserAddRequest,
        AuthUserChangePasswordRequest, AuthUserDeleteRequest, AuthUserGetRequest, AuthUserListRequest,
        AuthUserRevokeRoleRequest, AuthenticateRequest,
    },
};
use tonic::Code;

use super::{QUICK, from, refused};
use crate::support::TestServer;

fn precondition(text: &str) -> (Code, String) {
    (Code::FailedPrecondition, format!("etcdserver: {text}"))
}

fn invalid(text: &str) -> (Code, String) {
    (Code::InvalidArgument, format!("etcdserver: {text}"))
}

#[tokio::test]
async fn what_is_missing_or_there_already_has_etcds_words() -> anyhow::Result<()> {
    let server = TestServer::start_with(&[QUICK]).await?;
    let mut auth = server.auth();
    assert_eq!(refused(auth.auth_enable(AuthEnableRequest {}).await), precondition("root user does not exist"));
    server.user_add("", "root").await?;
    let no_role = precondition("root user does not have root role");
    assert_eq!(refused(auth.auth_enable(AuthEnableRequest {}).await), no_role);

    assert_eq!(refused(server.user_add("", "").await), invalid("user name is empty"));
    assert_eq!(refused(server.user_add("", "root").await), precondition("user name already exists"));
    assert_eq!(refused(server.role_add("", "").await), invalid("role name is empty"));
    server.role_add("", "r").await?;
    assert_eq!(refused(server.role_add("", "r").await), precondition("role name already exists"));

    let no_user = precondition("user name not found");
    assert_eq!(refused(server.grant_role("", "mira", "r").await), no_user);
    assert_eq!(refused(auth.user_get(AuthUserGetRequest { name: "mira".into() }).await), no_user);
    assert_eq!(refused(auth.user_delete(AuthUserDeleteRequest { name: "mira".into() }).await), no_user);
    let change = AuthUserChangePasswordRequest { name: "mira".into(), password: "x".into(), ..Default::default() };
    assert_eq!(refused(auth.user_change_password(change).await), no_user);

    let no_role = precondition("role name not found");
    assert_eq!(refused(server.grant_role("", "root", "s").await), no_role);
    assert_eq!(refused(server.grant("", "s", Type::Read, "k", "").await), no_role);
    assert_eq!(refused(auth.role_get(AuthRoleGetRequest { role: "s".into() }).await), no_role);
    assert_eq!(refused(auth.role_delete(AuthRoleDeleteRequest { role: "s".into() }).await), no_role);

    let revoke = AuthUserRevokeRoleRequest { name: "root".into(), role: "r".into() };
    assert_eq!(refused(auth.user_revoke_role(revoke).await), precondition("role is not granted to the user"));
    let revoke = AuthRoleRevokePermissionRequest { role: "r".into(), key: "k".into(), ..Default::default() };
    let not_granted = precondition("permission is not granted to the role");
    assert_eq!(refused(auth.role_revoke_permission(revoke).await), not_granted);
    let nothing = AuthRoleGrantPermissionRequest { name: "r".into(), perm: None };
    assert_eq!(refused(auth.role_grant_permission(nothing).await), invalid("permission not given"));
    assert_eq!(refused(server.grant("", "r", Type::Read, "b", "a").await), invalid("invalid auth management"));
    let unknown = Permission { perm_type: 7, key: "k".into(), ..Default::default() };
    let unknown = AuthRoleGrantPermissionRequest { name: "r".into(), perm: Some(unknown) };
    assert_eq!(refused(auth.role_grant_permission(unknown).await), invalid("invalid auth management"));

    let login = AuthenticateRequest { name: "root".into(), password: "root".into() };
    assert_eq!(refused(auth.authenticate(login).await), precondition("authentication is not enabled"));
    Ok(())
}

/// As etcd 3.6.5 answers.
#[tokio::test]
async fn passwords_that_cannot_be_are_refused() -> anyhow::Result<()> {
    let server = TestServer::start_with(&[QUICK]).await?;
    let mut auth = server.auth();
    let long = AuthUserAddRequest { name: "mira".into(), password: "x".repeat(73), ..Default::default() };
    let text = "bcrypt: password length exceeds 72 bytes";
    assert_eq!(refused(auth.user_add(long).await), (Code::Unknown, text.to_owned()));
    server.user_add("", "mira").await?;
    let hash =
        AuthUserChangePasswordRequest { name: "mira".into(), hashed_password: "%%".into(), ..Default::default() };
    assert_eq!(refused(auth.user_change_password(hash).await), invalid("invalid auth management"));
    Ok(())
}

#[tokio::test]
async fn root_cannot_be_lost_while_users_count() -> anyhow::Result<()> {
    let server = TestServer::start_with(&[QUICK]).await?;
    let root = server.switch_on().await?;
    server.role_add(&root, "root").await?;
    let mut auth = server.auth();
    let lost = invalid("invalid auth management");
    let delete = || AuthUserDeleteRequest { name: "root".into() };
    assert_eq!(refused(auth.user_delete(from(&root, delete())).await), lost);
    let delete_role = AuthRoleDeleteRequest { role: "root".into() };
    assert_eq!(refused(auth.role_delete(from(&root, delete_role)).await), lost);
    let revoke = AuthUserRevokeRoleRequest { name: "root".into(), role: "root".into() };
    assert_eq!(refused(auth.user_revoke_role(from(&root, revoke)).await), lost);

    let shown = auth.role_get(from(&root, AuthRoleGetRequest { role: "root".into() })).await?.into_inner().perm;
    let everything = Permission { perm_type: Type::Readwrite.into(), key: "".into(), range_end: "\0".into() };
    assert_eq!(shown, [everything]);

    auth.auth_disable(from(&root, AuthDisableRequest {})).await?;
    assert_eq!(auth.user_list(AuthUserListRequest {}).await?.into_inner().users, ["root"], "users stay");
    auth.user_delete(delete()).await?;
    Ok(())
}

#[tokio::test]
async fn every_change_counts() -> anyhow::Result<()> {
    let server = TestServer::start_with(&[QUICK]).await?;
    let mut auth = server.auth();
    let status = auth.auth_status(AuthStatusRequest {}).await?.into_inner();
    assert_eq!((status.enabled, status.auth_revision), (false, 1));
    let root = server.switch_on().await?;
    let status = auth.auth_status(AuthStatusRequest {}).await?.into_inner();
    assert_eq!((status.enabled, status.auth_revision), (true, 3));
    assert_eq!(status.header.unwrap_or_default().revision, 1, "keys have a revision of their own");
    let options = Some(UserAddOptions { no_password: true });
    let user = AuthUserAddRequest { name: "cn".into(), options, ..Default::default() };
    auth.user_add(from(&root, user)).await?;
    assert_eq!(auth.auth_status(AuthStatusRequest {}).await?.into_inner().auth_revision, 4);
    Ok(())
}
