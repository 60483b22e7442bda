//! §2.10: what users may do with keys and leases.

use holdfast_proto::{
    authpb::permission::Type,
    etcdserverpb::{
        AuthRoleRevokePermissionRequest, CompactionRequest, DeleteRangeRequest, LeaseGrantRequest,
        LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest,
        RangeRequest, TxnRequest, request_op::Request as Op,
    },
};
use tonic::{Code, Status};

use super::{denied, from, guarded, prefix, refused};
use crate::{
    kv::{get, put},
    support::TestServer,
    txn::op,
};

#[tokio::test]
async fn permissions_bound_reads_and_writes() -> anyhow::Result<()> {
    let (server, root, mira) = guarded().await?;
    let mut kv = server.kv();
    for key in ["r/k", "w/k", "rw/k", "other"] {
        kv.put(from(&root, put(key, "v"))).await?;
    }
    assert_eq!(kv.range(from(&mira, prefix("r/"))).await?.into_inner().count, 1);
    assert_eq!(kv.range(from(&mira, prefix("rw/"))).await?.into_inner().count, 1);
    for range in [get("w/k"), get("other"), RangeRequest { range_end: "s".into(), ..get("r/") }, prefix("w/")] {
        assert_eq!(refused(kv.range(from(&mira, range.clone())).await), denied());
        let stale = RangeRequest { serializable: true, ..range };
        assert_eq!(refused(kv.range(from(&mira, stale)).await), denied());
    }
    let everything = RangeRequest { range_end: "\0".into(), ..get("\0") };
    assert_eq!(refused(kv.range(from(&mira, everything.clone())).await), denied());
    assert_eq!(kv.range(from(&root, everything)).await?.into_inner().count, 4);

    kv.put(from(&mira, put("w/k", "2"))).await?;
    assert_eq!(refused(kv.put(from(&mira, put("r/k", "2"))).await), denied());
    assert_eq!(refused(kv.put(from(&mira, PutRequest { prev_kv: true, ..put("w/k", "3") })).await), denied());
    let delete = |key: &'static str, prev_kv| DeleteRangeRequest { key: key.into(), prev_kv, ..Default::default() };
    assert_eq!(refused(kv.delete_range(from(&mira, delete("w/k", true))).await), denied());
    assert_eq!(kv.delete_range(from(&mira, delete("w/k", false))).await?.into_inner().deleted, 1);
    assert_eq!(kv.delete_range(from(&mira, delete("rw/k", true))).await?.into_inner().prev_kvs.len(), 1);
    Ok(())
}

#[tokio::test]
async fn nested_operations_of_both_branches_are_judged() -> anyhow::Result<()> {
    let (server, _, mira) = guarded().await?;
    let mut kv = server.kv();
    let inner = |op: Op| TxnRequest { failure: vec![crate::txn::op(op)], ..Default::default() };
    let nested = |hidden: Op| TxnRequest { success: vec![op(Op::RequestTxn(inner(hidden)))], ..Default::default() };
    kv.txn(from(&mira, nested(Op::RequestPut(put("w/k", "v"))))).await?;
    for hidden in [Op::RequestPut(put("r/k", "v")), Op::RequestRange(get("w/k"))] {
        assert_eq!(refused(kv.txn(from(&mira, nested(hidden))).await), denied());
    }
    let read_only = |key| TxnRequest { failure: vec![op(Op::RequestRange(get(key)))], ..Default::default() };
    kv.txn(from(&mira, read_only("r/k"))).await?;
    assert_eq!(refused(kv.txn(from(&mira, read_only("w/k"))).await), denied());
    Ok(())
}

#[tokio::test]
async fn neighbouring_permissions_count_as_one_and_revoking_takes_effect_at_once() -> anyhow::Result<()> {
    let (server, root, _) = guarded().await?;
    let ivo = server.user_with(&root, "ivo", &[(Type::Read, "a", "c"), (Type::Read, "c", "e")]).await?;
    let both = RangeRequest { range_end: "e".into(), ..get("a") };
    server.kv().range(from(&ivo, both.clone())).await?;
    let revoke = AuthRoleRevokePermissionRequest { role: "ivo".into(), key: "c".into(), range_end: "e".into() };
    server.auth().role_revoke_permission(from(&root, revoke)).await?;
    assert_eq!(refused(server.kv().range(from(&ivo, both)).await), denied());
    server.kv().range(from(&ivo, get("b"))).await?;
    Ok(())
}

async fn keep_alive(server: &TestServer, token: &str, id: i64) -> Result<i64, Status> {
    let request = from(token, tokio_stream::iter([LeaseKeepAliveRequest { id }]));
    let mut answers = server.lease().lease_keep_alive(request).await?.into_inner();
    Ok(answers.message().await?.map_or(-1, |answer| answer.ttl))
}

#[tokio::test]
async fn a_lease_is_for_who_may_write_all_its_keys() -> anyhow::Result<()> {
    let (server, root, mira) = guarded().await?;
    let (mut kv, mut leases) = (server.kv(), server.lease());
    leases.lease_grant(from(&mira, LeaseGrantRequest { ttl: 60, id: 7 })).await?;
    let join = |key| PutRequest { lease: 7, ..put(key, "v") };
    kv.put(from(&mira, join("w/k"))).await?;
    assert_eq!(keep_alive(&server, &mira, 7).await?, 60);
    let show = || LeaseTimeToLiveRequest { id: 7, keys: true };
    assert_eq!(refused(leases.lease_time_to_live(from(&mira, show())).await), denied(), "it reads the keys");
    assert_eq!(refused(leases.lease_leases(from(&mira, LeaseLeasesRequest {})).await), denied());

    kv.put(from(&root, join("r/k"))).await?;
    assert_eq!(refused(kv.put(from(&mira, join("w/l"))).await), denied());
    let nested = TxnRequest { success: vec![op(Op::RequestPut(join("w/l")))], ..Default::default() };
    assert_eq!(refused(kv.txn(from(&mira, nested)).await), denied());
    assert_eq!(refused(keep_alive(&server, &mira, 7).await), denied());
    assert_eq!(refused(leases.lease_revoke(from(&mira, LeaseRevokeRequest { id: 7 })).await), denied());

    assert_eq!(keep_alive(&server, &root, 7).await?, 60);
    assert_eq!(leases.lease_time_to_live(from(&root, show())).await?.into_inner().keys, ["r/k", "w/k"]);
    assert_eq!(leases.lease_leases(from(&root, LeaseLeasesRequest {})).await?.into_inner().leases.len(), 1);
    leases.lease_revoke(from(&root, LeaseRevokeRequest { id: 7 })).await?;
    let missing = leases.lease_revoke(from(&mira, LeaseRevokeRequest { id: 7 })).await;
    assert_eq!(refused(missing).0, Code::NotFound);
    Ok(())
}

/// Leases end and history is compacted without anybody's token.
#[tokio::test]
async fn the_servers_own_work_needs_no_user() -> anyhow::Result<()> {
    let (server, root, mira) = guarded().await?;
    server.lease().lease_grant(from(&mira, LeaseGrantRequest { ttl: 2, id: 7 })).await?;
    server.kv().put(from(&mira, PutRequest { lease: 7, ..put("rw/k", "v") })).await?;
    server.kv().compact(from(&root, CompactionRequest { revision: 2, physical: true })).await?;
    let gone = async {
        loop {
            let found = server.kv().range(from(&mira, get("rw/k"))).await?.into_inner().count;
            if found == 0 {
                return Ok::<_, Status>(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(crate::three::PATIENCE, gone).await??;
    Ok(())
}
