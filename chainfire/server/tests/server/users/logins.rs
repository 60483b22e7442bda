//! §2.10: passwords and simple tokens.

use holdfast_proto::{
    authpb::UserAddOptions,
    etcdserverpb::{
        AuthDisableRequest, AuthEnableRequest, AuthUserAddRequest, AuthUserChangePasswordRequest,
        AuthUserDeleteRequest, AuthUserGetRequest, AuthUserListRequest, AuthenticateRequest,
    },
};
use tonic::{Code, Status};

use super::{QUICK, from, guarded, invalid_token, refused};
use crate::support::TestServer;

/// Whether `token` is good for seeing `mira`.
async fn works(server: &TestServer, token: &str) -> Result<(), Status> {
    server.auth().user_get(from(token, AuthUserGetRequest { name: "mira".into() })).await.map(drop)
}

#[tokio::test]
async fn a_wrong_name_and_a_wrong_password_are_the_same() -> anyhow::Result<()> {
    let (server, root, _) = guarded().await?;
    let mut auth = server.auth();
    let options = Some(UserAddOptions { no_password: true });
    auth.user_add(from(&root, AuthUserAddRequest { name: "cn".into(), options, ..Default::default() })).await?;
    let failed = "etcdserver: authentication failed, invalid user ID or password".to_owned();
    for (name, password) in [("mira", "wrong"), ("mira", ""), ("nobody", "nobody"), ("cn", ""), ("", "x")] {
        let login = AuthenticateRequest { name: name.into(), password: password.into() };
        assert_eq!(refused(auth.authenticate(login).await), (Code::InvalidArgument, failed.clone()), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_token_is_sixteen_letters_and_the_index_of_its_entry() -> anyhow::Result<()> {
    let (server, _, mira) = guarded().await?;
    let (letters, index) = mira.split_once('.').ok_or_else(|| anyhow::anyhow!("{mira}"))?;
    assert!(letters.len() == 16 && letters.bytes().all(|byte| byte.is_ascii_alphabetic()), "{mira}");
    let index: u64 = index.parse()?;
    works(&server, &mira).await?;
    for forged in [format!("{letters}.{}", index - 1), letters.to_owned(), format!("{mira}0"), String::from("x.y")] {
        assert_eq!(refused(works(&server, &forged).await), invalid_token(), "{forged}");
    }
    Ok(())
}

#[tokio::test]
async fn tokens_end_with_the_password_and_with_the_user_and_not_with_a_role() -> anyhow::Result<()> {
    let (server, root, mira) = guarded().await?;
    let mut auth = server.auth();
    server.role_add(&root, "another").await?;
    works(&server, &mira).await?;
    let change = |password: &str| AuthUserChangePasswordRequest {
        name: "mira".into(),
        password: password.into(),
        ..Default::default()
    };
    auth.user_change_password(from(&root, change("mira"))).await?;
    assert_eq!(refused(works(&server, &mira).await), invalid_token());
    let again = server.log_in("mira").await?;
    works(&server, &again).await?;
    auth.user_delete(from(&root, AuthUserDeleteRequest { name: "mira".into() })).await?;
    assert_eq!(refused(works(&server, &again).await), invalid_token());
    assert_eq!(refused(server.log_in("mira").await).0, Code::InvalidArgument);
    Ok(())
}

#[tokio::test]
async fn a_password_that_is_taken_away_fits_no_more() -> anyhow::Result<()> {
    let (server, root, _) = guarded().await?;
    let nothing = AuthUserChangePasswordRequest { name: "mira".into(), ..Default::default() };
    server.auth().user_change_password(from(&root, nothing)).await?;
    let login = |password: &str| AuthenticateRequest { name: "mira".into(), password: password.into() };
    for password in ["mira", ""] {
        assert_eq!(refused(server.auth().authenticate(login(password)).await).0, Code::InvalidArgument);
    }
    Ok(())
}

/// etcd's issue 9629: what is in memory only is gone.
#[tokio::test]
async fn tokens_are_lost_on_restart_and_users_are_not() -> anyhow::Result<()> {
    let (server, root, _) = guarded().await?;
    let server = server.restart_with(&[QUICK]).await?;
    assert_eq!(refused(works(&server, &root).await), invalid_token());
    let root = server.log_in("root").await?;
    works(&server, &root).await?;
    Ok(())
}

#[tokio::test]
async fn switching_off_ends_all_tokens() -> anyhow::Result<()> {
    let (server, root, mira) = guarded().await?;
    let mut auth = server.auth();
    auth.auth_disable(from(&root, AuthDisableRequest {})).await?;
    auth.user_list(from(&root, AuthUserListRequest {})).await?;
    auth.auth_enable(AuthEnableRequest {}).await?;
    for token in [&root, &mira] {
        assert_eq!(refused(works(&server, token).await), invalid_token());
    }
    Ok(())
}
