//! The etcd API as any client of it would call it.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use holdfast_proto::{
    etcdserverpb::{
        AuthenticateRequest, Compare, DeleteRangeRequest, HashKvRequest, LeaseGrantRequest, LeaseLeasesRequest,
        PutRequest, RangeRequest, RequestOp, ResponseHeader, StatusRequest, StatusResponse, TxnRequest,
        WatchCreateRequest, WatchRequest,
        auth_client::AuthClient,
        compare::{CompareResult, CompareTarget, TargetUnion},
        kv_client::KvClient,
        lease_client::LeaseClient,
        maintenance_client::MaintenanceClient,
        request_op::Request as AnyOp,
        response_op::Response as AnyAnswer,
        watch_client::WatchClient,
        watch_request::RequestUnion,
    },
    mvccpb::{self, event::EventType},
};
use tokio_stream::StreamExt as _;
use tonic::{
    Code, Request, Status,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

/// Longer than an election takes, shorter than a person waits.
const CALL: Duration = Duration::from_secs(5);
/// A watch that has history to tell and says nothing for so long does not work, however busy the machine is.
const SILENCE: Duration = Duration::from_secs(60);

/// One member, logged in. The connection is made when it is first needed and made again when it breaks.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    name: String,
    channel: Channel,
    token: MetadataValue<tonic::metadata::Ascii>,
}

/// One operation on keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Lease 0 is none.
    Put { key: String, value: String, lease: i64 },
    /// Every key from the first on and before the second.
    Delete { from: String, to: String },
}

/// What the server said of a write that it acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    /// The revision that the write created; the store's, if it changed nothing.
    pub(crate) revision: i64,
    /// Keys that it deleted.
    pub(crate) deleted: i64,
}

/// A change of one key, as a watch tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) revision: i64,
    pub(crate) key: String,
    /// None when the key was deleted.
    pub(crate) value: Option<String>,
    /// None when there was no such key.
    pub(crate) before: Option<String>,
    pub(crate) lease: i64,
}

/// A connection to `host:port`.
pub(crate) fn channel(address: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).context("not an address")?;
    Ok(endpoint.connect_timeout(Duration::from_secs(2)).connect_lazy())
}

/// A token that every member accepts, for the password or access key secret of `name`.
pub(crate) async fn log_in(channel: Channel, name: &str, password: &str) -> Result<String> {
    let request = AuthenticateRequest { name: name.to_owned(), password: password.to_owned() };
    let answer = AuthClient::new(channel).authenticate(request).await.context("cannot log in")?;
    Ok(answer.into_inner().token)
}

/// A code that etcd's API uses for "it did not happen" is a promise; all others leave it open.
pub(crate) fn is_refusal(status: &Status) -> bool {
    match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented => true,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => false,
    }
}

impl Member {
    pub(crate) fn new(name: &str, channel: Channel, token: &str) -> Result<Self> {
        Ok(Self { name: name.to_owned(), channel, token: token.parse().context("the token is not ASCII")? })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// One operation is sent as Put or DeleteRange, several as one Txn.
    pub(crate) async fn write(&self, ops: &[Op]) -> Result<Done, Status> {
        let mut client = KvClient::new(self.channel.clone());
        let (header, deleted) = match ops {
            [Op::Put { key, value, lease }] => {
                let answer = client.put(self.request(put(key, value, *lease))).await?.into_inner();
                (answer.header, 0)
            }
            [Op::Delete { from, to }] => {
                let answer = client.delete_range(self.request(delete(from, to))).await?.into_inner();
                (answer.header, answer.deleted)
            }
            several => {
                let success = several.iter().map(|op| RequestOp { request: Some(any(op)) }).collect();
                let txn = TxnRequest { success, ..TxnRequest::default() };
                let answer = client.txn(self.request(txn)).await?.into_inner();
                let deleted = answer.responses.iter().map(|one| match &one.response {
                    Some(AnyAnswer::ResponseDeleteRange(answer)) => answer.deleted,
                    _ => 0,
                });
                (answer.header, deleted.sum())
            }
        };
        Ok(Done { revision: revision(header)?, deleted })
    }

    /// The value of a key, read through the leader, and the store's revision.
    pub(crate) async fn read(&self, key: &str) -> Result<(Option<String>, i64), Status> {
        let request = RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() };
        let answer = KvClient::new(self.channel.clone()).range(self.request(request)).await?.into_inner();
        let value = answer.kvs.first().map(|kv| String::from_utf8_lossy(&kv.value).into_owned());
        Ok((value, revision(answer.header)?))
    }

    /// Puts `new` if the key has the value `expected`; says whether it had, and the store's revision.
    pub(crate) async fn swap(&self, key: &str, expected: &str, new: &str) -> Result<(bool, i64), Status> {
        let compare = Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Value.into(),
            key: key.to_owned().into(),
            target_union: Some(TargetUnion::Value(expected.to_owned().into())),
            ..Compare::default()
        };
        let success = vec![RequestOp { request: Some(AnyOp::RequestPut(put(key, new, 0))) }];
        let txn = TxnRequest { compare: vec![compare], success, failure: Vec::new() };
        let answer = KvClient::new(self.channel.clone()).txn(self.request(txn)).await?.into_inner();
        Ok((answer.succeeded, revision(answer.header)?))
    }

    /// Grants a lease under an id of the caller's choice.
    pub(crate) async fn grant(&self, id: i64, ttl: i64) -> Result<Done, Status> {
        let request = self.request(LeaseGrantRequest { id, ttl });
        let answer = LeaseClient::new(self.channel.clone()).lease_grant(request).await?.into_inner();
        Ok(Done { revision: revision(answer.header)?, deleted: 0 })
    }

    /// How many leases there are.
    pub(crate) async fn leases(&self) -> Result<usize, Status> {
        let request = self.request(LeaseLeasesRequest {});
        Ok(LeaseClient::new(self.channel.clone()).lease_leases(request).await?.into_inner().leases.len())
    }

    /// The store's revision, read through the leader.
    pub(crate) async fn revision(&self) -> Result<i64> {
        let request = RangeRequest { key: b"\0".to_vec().into(), ..RangeRequest::default() };
        let answer = KvClient::new(self.channel.clone()).range(self.request(request)).await?;
        Ok(answer.into_inner().header.context("an answer without header")?.revision)
    }

    pub(crate) async fn status(&self) -> Result<StatusResponse, Status> {
        let mut client = MaintenanceClient::new(self.channel.clone());
        Ok(client.status(self.request(StatusRequest {})).await?.into_inner())
    }

    /// Whether this member says that it leads.
    pub(crate) async fn leads(&self) -> bool {
        let status = self.status().await;
        status.is_ok_and(|status| status.header.is_some_and(|header| header.member_id == status.leader))
    }

    /// The digest of all keys as they were at a revision.
    pub(crate) async fn hash_at(&self, revision: i64) -> Result<u32, Status> {
        let mut client = MaintenanceClient::new(self.channel.clone());
        Ok(client.hash_kv(self.request(HashKvRequest { revision })).await?.into_inner().hash)
    }

    /// Every change from `first` to `last`, both included, in the order in which the member tells them.
    pub(crate) async fn history(&self, first: i64, last: i64) -> Result<Vec<Change>> {
        if first > last {
            return Ok(Vec::new());
        }
        let all = WatchCreateRequest {
            key: b"\0".to_vec().into(),
            range_end: b"\0".to_vec().into(),
            start_revision: first,
            prev_kv: true,
            ..WatchCreateRequest::default()
        };
        let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(all)) };
        // The stream of requests must stay open for as long as the answers are wanted.
        let requests = tokio_stream::once(create).chain(tokio_stream::pending());
        let mut request = Request::new(requests);
        request.metadata_mut().insert("token", self.token.clone());
        let mut answers = WatchClient::new(self.channel.clone()).watch(request).await?.into_inner();
        let mut changes = Vec::new();
        loop {
            let next = tokio::time::timeout(SILENCE, answers.message()).await;
            let answer = next.context("the watch fell silent")??.context("the watch ended")?;
            if answer.canceled {
                bail!("the watch was cancelled: {}", answer.cancel_reason);
            }
            for event in answer.events {
                changes.push(change(event)?);
            }
            if changes.last().is_some_and(|change| change.revision >= last) {
                return Ok(changes);
            }
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("token", self.token.clone());
        request.set_timeout(CALL);
        request
    }
}

fn put(key: &str, value: &str, lease: i64) -> PutRequest {
    PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), lease, ..PutRequest::default() }
}

fn delete(from: &str, to: &str) -> DeleteRangeRequest {
    DeleteRangeRequest { key: from.to_owned().into(), range_end: to.to_owned().into(), ..DeleteRangeRequest::default() }
}

fn any(op: &Op) -> AnyOp {
    match op {
        Op::Put { key, value, lease } => AnyOp::RequestPut(put(key, value, *lease)),
        Op::Delete { from, to } => AnyOp::RequestDeleteRange(delete(from, to)),
    }
}

fn revision(header: Option<ResponseHeader>) -> Result<i64, Status> {
    header.map(|header| header.revision).ok_or_else(|| Status::internal("an answer without header"))
}

fn change(event: mvccpb::Event) -> Result<Change> {
    let is_put = event.r#type() == EventType::Put;
    let kv = event.kv.context("an event without key")?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).context("not what was written here");
    Ok(Change {
        revision: kv.mod_revision,
        key: text(&kv.key)?,
        value: if is_put { Some(text(&kv.value)?) } else { None },
        before: event.prev_kv.map(|kv| text(&kv.value)).transpose()?,
        lease: kv.lease,
    })
}
