//! What operators can and cannot do with the core control plane, as a running server says it.
//!
//! Each line of the contract is a call that is made: a supported one succeeds, an unsupported one is refused in the
//! words that the contract has. The contract in the tree is what people read; a server that says something else fails
//! the lane, until either the server or the contract is put right.

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
use serde::{Deserialize, Serialize};
use tonic::{Request, Response, Status};

use crate::{
    etcd,
    lane::{Check, Run},
};

pub(crate) const CHECK: Check = Check {
    id: "scope-fixed-contract",
    requirement: "What is supported works, what is not is refused, and both are as the contract in the tree says.",
    run: prove,
};

const FILE: &str = "scope-fixed-contract.json";
const COMMITTED: &str = include_str!("../scope-fixed-contract.json");
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

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Contract {
    /// Raised when the shape changes.
    format: u32,
    supported: Vec<Supported>,
    unsupported: Vec<Unsupported>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Supported {
    id: String,
    call: String,
    /// The check that makes the call.
    proof: String,
    /// File and heading that say more.
    doc: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Unsupported {
    id: String,
    call: String,
    refusal: Refusal,
    proof: String,
    doc: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Refusal {
    /// Of gRPC.
    code: String,
    /// Without the advice that may follow.
    message: String,
}

fn prove(run: &Run<'_>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let folder = tempfile::Builder::new().prefix("holdfast-proof-").tempdir()?;
    let mut server = Server::start(Launch::dev(run.binaries, folder.path()))?;
    let outcome = server.wait_ready().and_then(|endpoints| {
        let token = server.admin_token()?;
        runtime.block_on(ask(&endpoints.api, &token))
    });
    drop(server);
    run.keep_logs(CHECK.id, &folder.path().join("logs"))?;
    let contract = outcome?;
    run.keep(FILE, &contract)?;
    let committed: Contract = serde_json::from_str(COMMITTED).context("the contract in the tree does not read")?;
    if contract != committed {
        bail!("the server does not say what ops-proofs/{FILE} says; what it says is in {FILE} of this run");
    }
    Ok(())
}

/// Makes every call of the contract.
async fn ask(address: &str, token: &str) -> Result<Contract> {
    let channel = etcd::channel(address)?;
    let token = etcd::log_in(channel.clone(), "admin", token).await?;
    let mut contract = Contract { format: 1, supported: Vec::new(), unsupported: Vec::new() };

    let mut cluster = ClusterClient::new(channel.clone());
    let call = |name| format!("etcdserverpb.Cluster/{name}");
    let listed = cluster.member_list(request(MemberListRequest { linearizable: true }, &token)?).await;
    let id = listed.as_ref().ok().and_then(|listed| listed.get_ref().members.first()).map_or(0, |member| member.id);
    contract.works("chainfire.member-list", call("MemberList"), MEMBERSHIP, listed)?;
    let peer_ur_ls = vec!["http://127.0.0.1:2380".to_owned()];
    let add = MemberAddRequest { peer_ur_ls: peer_ur_ls.clone(), ..MemberAddRequest::default() };
    let added = cluster.member_add(request(add, &token)?).await;
    contract.is_refused("chainfire.member-add", call("MemberAdd"), MEMBERSHIP, added)?;
    let removed = cluster.member_remove(request(MemberRemoveRequest { id }, &token)?).await;
    contract.is_refused("chainfire.member-remove", call("MemberRemove"), MEMBERSHIP, removed)?;
    let updated = cluster.member_update(request(MemberUpdateRequest { id, peer_ur_ls }, &token)?).await;
    contract.is_refused("chainfire.member-update", call("MemberUpdate"), MEMBERSHIP, updated)?;
    let promoted = cluster.member_promote(request(MemberPromoteRequest { id }, &token)?).await;
    contract.is_refused("chainfire.member-promote", call("MemberPromote"), MEMBERSHIP, promoted)?;

    let mut flaredb = FlaredbClient::new(channel);
    for (id, sql) in ADDITIONS {
        let done = flaredb.execute(request(ExecuteRequest { sql: sql.to_owned() }, &token)?).await;
        contract.works(id, format!("flaredb.v1.Flaredb/Execute {sql}"), ADDITIVE, done)?;
    }
    for (id, sql) in DESTRUCTIONS {
        let done = flaredb.execute(request(ExecuteRequest { sql: sql.to_owned() }, &token)?).await;
        contract.is_refused(id, format!("flaredb.v1.Flaredb/Execute {sql}"), DESTRUCTIVE, done)?;
    }
    Ok(contract)
}

fn request<T>(message: T, token: &str) -> Result<Request<T>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().context("not ASCII")?);
    request.set_timeout(CALL);
    Ok(request)
}

impl Contract {
    fn works<T>(&mut self, id: &str, call: String, doc: &str, answer: Result<Response<T>, Status>) -> Result<()> {
        answer.with_context(|| format!("{call} is supported"))?;
        self.supported.push(Supported { id: id.to_owned(), call, proof: CHECK.id.to_owned(), doc: doc.to_owned() });
        Ok(())
    }

    fn is_refused<T>(&mut self, id: &str, call: String, doc: &str, answer: Result<Response<T>, Status>) -> Result<()> {
        let Err(status) = answer else { bail!("{call} is not supported, but was done") };
        let message = status.message().split(". ").next().unwrap_or_default().to_owned();
        let refusal = Refusal { code: format!("{:?}", status.code()), message };
        let (proof, doc) = (CHECK.id.to_owned(), doc.to_owned());
        self.unsupported.push(Unsupported { id: id.to_owned(), call, refusal, proof, doc });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::PathBuf};

    use super::*;

    /// As renderers of Markdown make it.
    fn anchor(heading: &str) -> String {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|char| char.is_alphanumeric() || *char == '-').collect()
    }

    #[test]
    fn the_contract_names_headings_that_exist() {
        let tree = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("..");
        let contract: Contract = serde_json::from_str(COMMITTED).unwrap();
        let docs = contract.supported.iter().map(|line| &line.doc);
        for doc in docs.chain(contract.unsupported.iter().map(|line| &line.doc)) {
            let (file, wanted) = doc.split_once('#').unwrap();
            let text = fs::read_to_string(tree.join(file)).unwrap();
            let mut headings = text.lines().filter(|line| line.starts_with('#'));
            assert!(headings.any(|line| anchor(line.trim_start_matches(['#', ' '])) == wanted), "{doc}");
        }
    }

    #[test]
    fn a_supported_call_must_work_and_another_must_not() {
        let mut contract = Contract { format: 1, supported: Vec::new(), unsupported: Vec::new() };
        let refused = || Err::<Response<()>, _>(Status::failed_precondition("not so. Try later."));
        assert!(contract.works("a", "A".into(), "d", refused()).is_err());
        assert!(contract.is_refused("a", "A".into(), "d", Ok(Response::new(()))).is_err());
        contract.is_refused("a", "A".into(), "d", refused()).unwrap();
        let said = contract.unsupported.first().map(|line| (line.refusal.code.as_str(), line.refusal.message.as_str()));
        assert_eq!(said, Some(("FailedPrecondition", "not so")));
    }
}
