//! §2.10: who gets in at all: what is open to everybody, to every user, and to root.

use futures::FutureExt as _;
use holdfast_proto::etcdserverpb::{
    AlarmRequest, AlarmType, AuthRoleGetRequest, AuthRoleListRequest, AuthStatusRequest, AuthUserGetRequest,
    AuthUserListRequest, CompactionRequest, DefragmentRequest, HashKvRequest, HashRequest, LeaseGrantRequest,
    LeaseLeasesRequest, LeaseTimeToLiveRequest, MemberAddRequest, MemberListRequest, MoveLeaderRequest,
    SnapshotRequest, StatusRequest, TxnRequest, alarm_request::AlarmAction,
};
use tonic::{Code, Status};

use super::{denied, from, guarded, invalid_token, nobody, refused};
use crate::{
    kv::{get, put},
    pages::ask,
    support::TestServer,
};

/// Every call of `calls` with `token`, and what it is refused with.
macro_rules! calls {
    ($server:expr, $token:expr; $($client:ident.$method:ident($message:expr);)*) => {{
        let mut answers: Vec<(&str, Result<(), Status>)> = Vec::new();
        $(
            let answer = $server.$client().$method(from($token, $message)).boxed().await;
            answers.push((stringify!($method), answer.map(drop)));
        )*
        answers
    }};
}

async fn for_users(server: &TestServer, token: &str) -> Vec<(&'static str, Result<(), Status>)> {
    calls! { server, token;
        maintenance.status(StatusRequest {});
        maintenance.alarm(AlarmRequest::default());
        cluster.member_list(MemberListRequest::default());
        lease.lease_grant(LeaseGrantRequest { ttl: 60, id: 0 });
        lease.lease_time_to_live(LeaseTimeToLiveRequest { id: 7, keys: false });
        lease.lease_leases(LeaseLeasesRequest {});
        kv.txn(TxnRequest::default());
        auth.user_get(AuthUserGetRequest { name: "mira".into() });
        auth.role_get(AuthRoleGetRequest { role: "mira".into() });
    }
}

async fn for_root(server: &TestServer, token: &str) -> Vec<(&'static str, Result<(), Status>)> {
    calls! { server, token;
        kv.compact(CompactionRequest { revision: 1, physical: false });
        maintenance.defragment(DefragmentRequest {});
        maintenance.hash(HashRequest {});
        maintenance.hash_kv(HashKvRequest::default());
        maintenance.snapshot(SnapshotRequest {});
        maintenance.move_leader(MoveLeaderRequest { target_id: 1 });
        cluster.member_add(MemberAddRequest::default());
        auth.user_list(AuthUserListRequest {});
        auth.role_list(AuthRoleListRequest {});
        auth.user_get(AuthUserGetRequest { name: "root".into() });
        auth.role_get(AuthRoleGetRequest { role: "root".into() });
    }
}

#[tokio::test]
async fn nobody_gets_in_where_users_count() -> anyhow::Result<()> {
    let (server, ..) = guarded().await?;
    for (method, answer) in for_users(&server, "").await.into_iter().chain(for_root(&server, "").await) {
        assert_eq!(refused(answer), nobody(), "{method}");
    }
    assert_eq!(refused(server.kv().range(get("r/k")).await), nobody());
    assert_eq!(refused(server.kv().put(put("rw/k", "v")).await), nobody());
    for (method, answer) in for_users(&server, "abc.1").await {
        assert_eq!(refused(answer), invalid_token(), "{method}");
    }
    Ok(())
}

#[tokio::test]
async fn every_user_gets_the_harmless_calls_and_root_the_others() -> anyhow::Result<()> {
    let (server, root, mira) = guarded().await?;
    for (method, answer) in for_users(&server, &mira).await {
        assert!(answer.is_ok(), "{method}: {answer:?}");
    }
    for (method, answer) in for_root(&server, &mira).await {
        assert_eq!(refused(answer), denied(), "{method}");
    }
    for (method, answer) in for_root(&server, &root).await {
        let known = answer.as_ref().err().map(Status::code);
        assert!(!matches!(known, Some(Code::PermissionDenied | Code::Unauthenticated)), "{method}: {answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn only_root_raises_and_clears_alarms() -> anyhow::Result<()> {
    let (server, root, mira) = guarded().await?;
    for action in [AlarmAction::Activate, AlarmAction::Deactivate] {
        let change = AlarmRequest { action: action.into(), alarm: AlarmType::Nospace.into(), member_id: 0 };
        assert_eq!(refused(server.maintenance().alarm(from(&mira, change)).await), denied());
        server.maintenance().alarm(from(&root, change)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn health_and_the_status_of_authentication_are_for_everybody() -> anyhow::Result<()> {
    let (server, ..) = guarded().await?;
    let (_, health) = ask(&server, "GET", "/health").await?;
    assert_eq!(health, r#"{"health":"true","reason":""}"#);
    let (_, version) = ask(&server, "GET", "/version").await?;
    assert!(version.contains("etcdserver"), "{version}");
    assert!(server.auth().auth_status(AuthStatusRequest {}).await?.into_inner().enabled);
    let stale = server.auth().auth_status(from("abc.1", AuthStatusRequest {})).await?.into_inner();
    assert!(stale.enabled, "nobody looks at its token");
    Ok(())
}

/// §1.1: "`token` (auth; `authorization` accepted as second choice, optional `Bearer ` prefix)".
#[tokio::test]
async fn the_token_may_come_as_gateways_send_it() -> anyhow::Result<()> {
    let (server, root, _) = guarded().await?;
    for value in [root.clone(), format!("Bearer {root}")] {
        let mut request = tonic::Request::new(AuthUserListRequest {});
        request.metadata_mut().insert("authorization", value.parse()?);
        assert_eq!(server.auth().user_list(request).await?.into_inner().users, ["mira", "root"]);
    }
    for (token, authorization, answered) in [(root.as_str(), "abc.1", true), ("abc.1", root.as_str(), false)] {
        let mut request = from(token, AuthUserListRequest {});
        request.metadata_mut().insert("authorization", authorization.parse()?);
        assert_eq!(server.auth().user_list(request).await.is_ok(), answered);
    }
    Ok(())
}
