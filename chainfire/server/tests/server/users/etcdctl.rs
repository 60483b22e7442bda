//! §2.10: Debian's etcdctl as an operator uses it.

use crate::{
    etcdctl::{etcdctl, installed, says},
    support::TestServer,
};

use super::QUICK;

async fn fails(server: &TestServer, args: &[&str]) -> anyhow::Result<String> {
    let output = etcdctl(server, args, "").await?;
    anyhow::ensure!(!output.status.success(), "{args:?} succeeded");
    Ok(String::from_utf8(output.stderr)?)
}

#[tokio::test]
async fn users_and_roles_from_the_command_line() -> anyhow::Result<()> {
    if !installed() {
        return Ok(());
    }
    let server = TestServer::start_with(&[QUICK]).await?;
    assert_eq!(says(&server, &["user", "add", "root:secret"]).await?, "User root created\n");
    assert_eq!(says(&server, &["user", "add", "mira:pier"]).await?, "User mira created\n");
    assert_eq!(says(&server, &["role", "add", "reader"]).await?, "Role reader created\n");
    let grant = ["role", "grant-permission", "reader", "read", "--prefix=true", "fleet/"];
    assert_eq!(says(&server, &grant).await?, "Role reader updated\n");
    let granted = says(&server, &["user", "grant-role", "mira", "reader"]).await?;
    assert_eq!(granted, "Role reader is granted to user mira\n");
    // It gives the root user its role by itself.
    assert_eq!(says(&server, &["auth", "enable"]).await?, "Authentication Enabled\n");

    let (root, mira) = ("--user=root:secret", "--user=mira:pier");
    assert!(fails(&server, &["get", "fleet/a"]).await?.contains("user name is empty"));
    assert!(fails(&server, &["get", "--user=root:wrong", "a"]).await?.contains("authentication failed"));
    assert_eq!(says(&server, &["put", root, "fleet/a", "1"]).await?, "OK\n");
    assert_eq!(says(&server, &["get", mira, "--prefix", "fleet/"]).await?, "fleet/a\n1\n");
    for denied in [&["get", mira, "other"][..], &["put", mira, "fleet/a", "2"], &["user", mira, "list"]] {
        assert!(fails(&server, denied).await?.contains("permission denied"), "{denied:?}");
    }
    assert!(fails(&server, &["watch", mira, "other"]).await?.contains("permission denied"));
    assert_eq!(says(&server, &["user", root, "list"]).await?, "mira\nroot\n");
    assert_eq!(says(&server, &["user", mira, "get", "mira"]).await?, "User: mira\nRoles: reader\n");
    let role = says(&server, &["role", mira, "get", "reader"]).await?;
    assert!(role.contains("[fleet/, fleet0) (prefix fleet/)"), "{role}");
    assert!(says(&server, &["endpoint", mira, "status"]).await.is_ok());
    assert!(says(&server, &["endpoint", mira, "health"]).await.is_ok());

    says(&server, &["role", root, "revoke-permission", "reader", "--prefix=true", "fleet/"]).await?;
    assert!(fails(&server, &["get", mira, "--prefix", "fleet/"]).await?.contains("permission denied"));
    let changed = etcdctl(&server, &["user", root, "passwd", "--interactive=false", "mira"], "other\n").await?;
    assert_eq!(String::from_utf8(changed.stdout)?, "Password updated\n");
    assert!(fails(&server, &["get", mira, "fleet/a"]).await?.contains("authentication failed"));
    says(&server, &["user", root, "revoke-role", "mira", "reader"]).await?;
    says(&server, &["role", root, "delete", "reader"]).await?;
    says(&server, &["user", root, "delete", "mira"]).await?;
    assert_eq!(says(&server, &["auth", root, "disable"]).await?, "Authentication Disabled\n");
    assert_eq!(says(&server, &["get", "fleet/a"]).await?, "fleet/a\n1\n");
    Ok(())
}
