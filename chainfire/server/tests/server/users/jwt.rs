//! §2.10: signed tokens: `--auth-token=jwt,...`.

use std::fs;

use holdfast_proto::etcdserverpb::{AuthUserGetRequest, AuthUserListRequest, AuthenticateRequest};
use rcgen::{KeyPair, PKCS_ED25519};
use tonic::Code;

use super::{QUICK, from, invalid_token, refused};
use crate::{
    kv::{get, put},
    support::TestServer,
};

#[tokio::test]
async fn a_signed_token_outlives_a_restart_and_grows_old_with_every_change() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let (private, public) = (folder.path().join("key"), folder.path().join("key.pub"));
    fs::write(&private, key.serialize_pem())?;
    fs::write(&public, key.public_key_pem())?;
    let (private, public) = (private.display(), public.display());
    let flag = format!("--auth-token=jwt,sign-method=EdDSA,priv-key={private},pub-key={public},ttl=10m");

    let server = TestServer::start_with(&[QUICK, &flag]).await?;
    let root = server.switch_on().await?;
    assert_eq!(root.split('.').count(), 3, "{root}");
    server.kv().put(from(&root, put("k", "v"))).await?;
    let server = server.restart_with(&[QUICK, &flag]).await?;
    assert_eq!(server.kv().range(from(&root, get("k"))).await?.into_inner().count, 1);

    server.role_add(&root, "r").await?;
    let old = (Code::InvalidArgument, "etcdserver: revision of auth store is old".to_owned());
    assert_eq!(refused(server.kv().put(from(&root, put("k", "v"))).await), old);
    assert_eq!(refused(server.kv().range(from(&root, get("k"))).await), old);
    // What only root may do asks for the role, not for the revision.
    server.auth().user_list(from(&root, AuthUserListRequest {})).await?;
    let root = server.log_in("root").await?;
    server.kv().put(from(&root, put("k", "v"))).await?;

    let forged = format!("{}A", root.trim_end_matches(|c: char| c.is_ascii_alphanumeric()));
    assert_eq!(refused(server.kv().range(from(&forged, get("k"))).await), invalid_token());

    // A server with the public key only knows tokens and gives none.
    let flag = format!("--auth-token=jwt,sign-method=EdDSA,pub-key={public}");
    let server = server.restart_with(&[QUICK, &flag]).await?;
    server.auth().user_get(from(&root, AuthUserGetRequest { name: "root".into() })).await?;
    let login = AuthenticateRequest { name: "root".into(), password: "root".into() };
    assert_eq!(refused(server.auth().authenticate(login).await).0, Code::FailedPrecondition);
    Ok(())
}

#[tokio::test]
async fn keys_that_cannot_be_used_stop_the_start() -> anyhow::Result<()> {
    let error = TestServer::start_with(&["--auth-token=jwt,sign-method=RS256,priv-key=/no/such/key"]).await.err();
    let error = error.ok_or_else(|| anyhow::anyhow!("it started"))?.to_string();
    assert!(error.contains("--auth-token") && error.contains("/no/such/key"), "{error}");
    Ok(())
}
