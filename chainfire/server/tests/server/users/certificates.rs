//! §2.10: the third way to be somebody: a client's certificate, where clients must show one.

use std::path::Path;

use holdfast_proto::{
    authpb::permission::Type,
    etcdserverpb::{
        AuthEnableRequest, AuthUserListRequest, AuthenticateRequest, auth_client::AuthClient, kv_client::KvClient,
    },
};
use tokio::net::TcpListener;
use tonic::Code;

use super::{QUICK, denied, from, invalid_token, nobody, refused};
use crate::{authority::Authority, kv::put, support::TestServer};

/// A server whose clients must have certificates of `authority`.
async fn serve(authority: &Authority, folder: &Path, further: &[&str]) -> anyhow::Result<TestServer> {
    let files = authority.serve(folder)?;
    let fixed = [QUICK, "--client-cert-auth", "--listen-client-urls=https://127.0.0.1:0"];
    let flags: Vec<&str> = fixed.iter().chain(further).copied().chain(files.iter().map(String::as_str)).collect();
    TestServer::member(&flags, TcpListener::bind("127.0.0.1:0").await?).await
}

/// Makes users count where a login may be impossible.
async fn switch_on(server: &TestServer) -> anyhow::Result<()> {
    server.user_add("", "root").await?;
    server.grant_role("", "root", "root").await?;
    server.auth().auth_enable(AuthEnableRequest {}).await?;
    Ok(())
}

#[tokio::test]
async fn the_common_name_is_the_user_unless_a_token_or_a_gateway_says_otherwise() -> anyhow::Result<()> {
    let (folder, authority) = (tempfile::tempdir()?, Authority::new()?);
    let server = serve(&authority, folder.path(), &[]).await?;
    // Who has only this channel is not known to users before they count.
    let channel = authority.client(&server, "root")?;
    let server = server.through(channel);
    switch_on(&server).await?;
    assert_eq!(server.auth().user_list(AuthUserListRequest {}).await?.into_inner().users, ["root"]);
    server.user_with("", "mira", &[(Type::Readwrite, "k", "")]).await?;

    let channel = authority.client(&server, "mira")?;
    let (mut kv, mut auth) = (KvClient::new(channel.clone()), AuthClient::new(channel));
    kv.put(put("k", "v")).await?;
    assert_eq!(refused(kv.put(put("other", "v")).await), denied());
    assert_eq!(refused(auth.user_list(AuthUserListRequest {}).await), denied());
    let root = server.log_in("root").await?;
    kv.put(from(&root, put("other", "v"))).await?;
    assert_eq!(refused(kv.put(from("abc.1", put("k", "v"))).await), invalid_token());

    let mut forwarded = tonic::Request::new(put("k", "v"));
    forwarded.metadata_mut().insert("grpcgateway-accept", "application/json".parse()?);
    assert_eq!(refused(kv.put(forwarded).await), nobody());

    assert_eq!(refused(KvClient::new(authority.client(&server, "nobody")?).put(put("k", "v")).await), denied());
    assert_eq!(refused(KvClient::new(authority.client(&server, "")?).put(put("k", "v")).await), nobody());
    Ok(())
}

/// `--auth-token=""`, as etcd 3.6.16 answers: nobody gets a token, and none is any good.
#[tokio::test]
async fn without_tokens_only_certificates_count() -> anyhow::Result<()> {
    let (folder, authority) = (tempfile::tempdir()?, Authority::new()?);
    let server = serve(&authority, folder.path(), &["--auth-token="]).await?;
    let (root, nobody_known) = (authority.client(&server, "root")?, authority.client(&server, "")?);
    let server = server.through(root);
    switch_on(&server).await?;
    server.kv().put(put("k", "v")).await?;
    for password in ["root", "wrong"] {
        let login = AuthenticateRequest { name: "root".into(), password: password.into() };
        let refused = refused(server.auth().authenticate(login).await);
        let failed = "etcdserver: authentication failed, invalid user ID or password".to_owned();
        assert_eq!(refused, (Code::InvalidArgument, failed), "{password}");
    }
    assert_eq!(refused(server.kv().put(from("abc.1", put("k", "v"))).await), invalid_token());
    assert_eq!(refused(KvClient::new(nobody_known).put(put("k", "v")).await), nobody());
    Ok(())
}
