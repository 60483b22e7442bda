//! What operators can and cannot do with the core control plane, as a running server says it.
//!
//! Each line of the contract is a call that is made: a supported one succeeds, an unsupported one is refused in the
//! words that the contract has. This check makes those of membership and schema, and compares the whole contract, with
//! the lines of the checks before it, with the one in the tree: that is what people read. A server that says something
//! else fails the lane, until either the server or the contract is put right.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use holdfast_proto::{
    etcdserverpb::{
        MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest, MemberUpdateRequest,
        cluster_client::ClusterClient,
    },
    flaredb::{ExecuteRequest, flaredb_client::FlaredbClient},
};
use holdfast_testkit::{Launch, Server};
use tonic::Request;

use crate::{
    contract, etcd,
    lane::{Check, Run},
};

pub(crate) const CHECK: Check = Check {
    id: "scope-fixed-contract",
    requirement: "What is supported works, what is not is refused, and both are as the contract in the tree says.",
    run: prove,
};

const CALL: Duration = Duration::from_secs(20);

const MEMBERSHIP: &str = "deploy/runbooks/restore-and-rejoin.md#the-membership-has-to-change";
const ADDITIVE: &str = "deploy/runbooks/destructive-schema-change.md#changing-flaredbs-schema";
const DESTRUCTIVE: &str = "deploy/runbooks/destructive-schema-change.md#taking-something-away";

const ADDITIONS: [(&str, &str); 3] = [
    ("flaredb.create-table", "CREATE TABLE public.scope (id BIGINT PRIMARY KEY, note TEXT)"),
    ("flaredb.add-nullable-column", "ALTER TABLE public.scope ADD COLUMN size INT"),
    ("flaredb.add-column-with-default", "ALTER TABLE public.scope ADD COLUMN kind TEXT NOT NULL DEFAULT 'plain'"),
];

const DESTRUCTIONS: [(&str, &str); 7] = [
    ("flaredb.drop-table", "DROP TABLE public.scope"),
    ("flaredb.drop-column", "ALTER TABLE public.scope DROP COLUMN note"),
    ("flaredb.rename-table", "ALTER TABLE public.scope RENAME TO other"),
    ("flaredb.rename-column", "ALTER TABLE public.scope RENAME COLUMN note TO remark"),
    ("flaredb.narrow-type", "ALTER TABLE public.scope ALTER COLUMN id TYPE INT"),
    ("flaredb.truncate", "TRUNCATE public.scope"),
    ("flaredb.delete", "DELETE FROM public.scope"),
];

fn prove(run: &Run<'_>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    run.in_folder(|folder| {
        let mut server = Server::start(Launch::dev(run.binaries, folder))?;
        let endpoints = server.wait_ready()?;
        runtime.block_on(ask(run, &endpoints.api, &server.admin_token()?))
    })?;
    run.keep(contract::FILE, &*run.contract.borrow())?;
    if !run.contract.borrow().is_as_committed()? {
        bail!("what was found is not what ops-proofs/{0} says; it is in {0} of this run", contract::FILE);
    }
    Ok(())
}

/// Makes every call of membership and schema.
async fn ask(run: &Run<'_>, address: &str, token: &str) -> Result<()> {
    let channel = etcd::channel(address)?;
    let token = etcd::log_in(channel.clone(), "admin", token).await?;
    let mut cluster = ClusterClient::new(channel.clone());
    let membership = |id: &str, name: &str| run.line(id, format!("etcdserverpb.Cluster/{name}"), MEMBERSHIP);
    let listed = cluster.member_list(request(MemberListRequest { linearizable: true }, &token)?).await;
    let id = listed.as_ref().ok().and_then(|listed| listed.get_ref().members.first()).map_or(0, |member| member.id);
    run.contract.borrow_mut().works(membership("chainfire.member-list", "MemberList"), listed)?;
    let peer_ur_ls = vec!["http://127.0.0.1:2380".to_owned()];
    let add = MemberAddRequest { peer_ur_ls: peer_ur_ls.clone(), ..MemberAddRequest::default() };
    let added = cluster.member_add(request(add, &token)?).await;
    run.contract.borrow_mut().is_refused(membership("chainfire.member-add", "MemberAdd"), added)?;
    let removed = cluster.member_remove(request(MemberRemoveRequest { id }, &token)?).await;
    run.contract.borrow_mut().is_refused(membership("chainfire.member-remove", "MemberRemove"), removed)?;
    let updated = cluster.member_update(request(MemberUpdateRequest { id, peer_ur_ls }, &token)?).await;
    run.contract.borrow_mut().is_refused(membership("chainfire.member-update", "MemberUpdate"), updated)?;
    let promoted = cluster.member_promote(request(MemberPromoteRequest { id }, &token)?).await;
    run.contract.borrow_mut().is_refused(membership("chainfire.member-promote", "MemberPromote"), promoted)?;

    let mut flaredb = FlaredbClient::new(channel);
    let call = |sql: &str| format!("flaredb.v1.Flaredb/Execute {sql}");
    for (id, sql) in ADDITIONS {
        let done = flaredb.execute(request(ExecuteRequest { sql: sql.to_owned() }, &token)?).await;
        run.contract.borrow_mut().works(run.line(id, call(sql), ADDITIVE), done)?;
    }
    for (id, sql) in DESTRUCTIONS {
        let done = flaredb.execute(request(ExecuteRequest { sql: sql.to_owned() }, &token)?).await;
        run.contract.borrow_mut().is_refused(run.line(id, call(sql), DESTRUCTIVE), done)?;
    }
    Ok(())
}

fn request<T>(message: T, token: &str) -> Result<Request<T>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().context("not ASCII")?);
    request.set_timeout(CALL);
    Ok(request)
}
