use holdfast_proto::etcdserverpb::{AuthEnableRequest, AuthStatusRequest, AuthUserListRequest, AuthenticateRequest};
use tonic::Code;

use crate::support::TestServer;

#[tokio::test]
async fn a_store_without_identity_says_that_authentication_is_off() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut auth = server.auth();
    assert!(!auth.auth_status(AuthStatusRequest {}).await?.into_inner().enabled);
    let login = AuthenticateRequest { name: "root".into(), password: "secret".into() };
    let refused = auth.authenticate(login).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(refused.message(), "etcdserver: authentication is not enabled");
    let enable = auth.auth_enable(AuthEnableRequest {}).await.unwrap_err();
    assert_eq!(enable.message(), "etcdserver: invalid auth management");
    let list = auth.user_list(AuthUserListRequest {}).await.unwrap_err();
    assert_eq!(list.message(), "etcdserver: invalid auth management");
    Ok(())
}
