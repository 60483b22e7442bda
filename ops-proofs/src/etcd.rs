//! The etcd API as any client of it would call it.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use holdfast_proto::etcdserverpb::{
    AuthenticateRequest, HashKvRequest, PutRequest, RangeRequest, StatusRequest, StatusResponse, WatchCreateRequest,
    WatchRequest, auth_client::AuthClient, kv_client::KvClient, maintenance_client::MaintenanceClient,
    watch_client::WatchClient, watch_request::RequestUnion,
};
use tokio_stream::StreamExt as _;
use tonic::{
    Request, Status,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

/// Longer than an election takes, shorter than a person waits.
const CALL: Duration = Duration::from_secs(5);

/// One member, logged in. The connection is made when it is first needed and made again when it breaks.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    name: String,
    channel: Channel,
    token: MetadataValue<tonic::metadata::Ascii>,
}

/// A change of one key, as a watch tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) revision: i64,
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
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

impl Member {
    pub(crate) fn new(name: &str, channel: Channel, token: &str) -> Result<Self> {
        Ok(Self { name: name.to_owned(), channel, token: token.parse().context("the token is not ASCII")? })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The revision that the write created.
    pub(crate) async fn put(&self, key: &str, value: &[u8]) -> Result<i64, Status> {
        let request = PutRequest { key: key.to_owned().into(), value: value.to_vec().into(), ..PutRequest::default() };
        let answer = KvClient::new(self.channel.clone()).put(self.request(request)).await?;
        let header = answer.into_inner().header;
        header.map(|header| header.revision).ok_or_else(|| Status::internal("an answer without header"))
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
            let next = tokio::time::timeout(CALL, answers.message()).await;
            let answer = next.context("the watch fell silent")??.context("the watch ended")?;
            if answer.canceled {
                bail!("the watch was cancelled: {}", answer.cancel_reason);
            }
            for event in answer.events {
                let kv = event.kv.context("an event without key")?;
                let key = String::from_utf8(kv.key.to_vec()).context("a key that was not written here")?;
                changes.push(Change { revision: kv.mod_revision, key, value: kv.value.to_vec() });
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
