//! Asking one server.

mod auth;
mod tail;
mod watch;

use std::{future::Future, time::Duration};

use auth::Tokens;
use futures::stream;
use holdfast_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest,
    auth_client::AuthClient, kv_client::KvClient, lease_client::LeaseClient, maintenance_client::MaintenanceClient,
    watch_client::WatchClient,
};
use tonic::{Response, Status, service::interceptor::InterceptedService, transport::Channel};

use crate::{answer::Answer, operation::Operation};

/// How long an answer may take before its absence is the answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Larger than any answer of the test.
const MESSAGE: usize = 256 << 20;

/// The clients of one server.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    kv: KvClient<Guarded>,
    lease: LeaseClient<Guarded>,
    watch: WatchClient<Guarded>,
    maintenance: MaintenanceClient<Guarded>,
    auth: AuthClient<Guarded>,
    tokens: Tokens,
}

type Guarded = InterceptedService<Channel, Tokens>;

impl Session {
    pub(crate) fn new(channel: Channel) -> Self {
        let tokens = Tokens::default();
        let channel = InterceptedService::new(channel, tokens.clone());
        Self {
            kv: KvClient::new(channel.clone()).max_decoding_message_size(MESSAGE),
            lease: LeaseClient::new(channel.clone()),
            watch: WatchClient::new(channel.clone()).max_decoding_message_size(MESSAGE),
            maintenance: MaintenanceClient::new(channel.clone()),
            auth: AuthClient::new(channel),
            tokens,
        }
    }

    /// `compacted` is the store's compacted revision: what a watch has to wait for depends on it.
    pub(crate) async fn ask(&self, operation: &Operation, compacted: i64) -> Answer {
        let Self { mut kv, mut lease, mut maintenance, .. } = self.clone();
        match operation.clone() {
            Operation::Range(request) => Answer::of(in_time(kv.range(request)).await, Answer::Range),
            Operation::Put(request) => Answer::of(in_time(kv.put(request)).await, Answer::Put),
            Operation::DeleteRange(request) => Answer::of(in_time(kv.delete_range(request)).await, Answer::DeleteRange),
            Operation::Txn(request) => Answer::of(in_time(kv.txn(request)).await, Answer::Txn),
            Operation::Compact(request) => Answer::of(in_time(kv.compact(request)).await, Answer::Compact),
            Operation::HashKv(request) => Answer::of(in_time(maintenance.hash_kv(request)).await, Answer::HashKv),
            Operation::LeaseGrant(request) => Answer::of(in_time(lease.lease_grant(request)).await, Answer::LeaseGrant),
            Operation::LeasePasses(request) => self.pass(request).await,
            Operation::LeaseRevoke(request) => {
                Answer::of(in_time(lease.lease_revoke(request)).await, Answer::LeaseRevoke)
            }
            Operation::LeaseKeepAlive(request) => {
                Answer::of(in_time(self.keep_alive(request)).await, Answer::LeaseKeepAlive)
            }
            Operation::LeaseTimeToLive(request) => {
                Answer::of(in_time(lease.lease_time_to_live(request)).await, Answer::LeaseTimeToLive)
            }
            Operation::LeaseLeases => {
                Answer::of(in_time(lease.lease_leases(LeaseLeasesRequest {})).await, Answer::LeaseLeases)
            }
            Operation::Watch(steps) => Answer::Watch(watch::record(self, &steps, compacted).await),
            Operation::Auth(call) => self.ask_about_users(call).await,
            Operation::As(who, operation) => {
                self.tokens.present(Some(who));
                let answer = Box::pin(self.ask(&operation, compacted)).await;
                self.tokens.present(None);
                answer
            }
        }
    }

    /// Grants a lease and revokes it. An id that the server chose is left out.
    async fn pass(&self, request: LeaseGrantRequest) -> Answer {
        let mut lease = self.lease.clone();
        let granted = in_time(lease.lease_grant(request)).await;
        let id = granted.as_ref().map_or(request.id, |response| response.get_ref().id);
        let revoked = in_time(lease.lease_revoke(LeaseRevokeRequest { id })).await;
        let granted = Answer::of(granted, |response| {
            let id = if request.id == 0 { 0 } else { response.id };
            Answer::LeaseGrant(LeaseGrantResponse { id, ..response })
        });
        Answer::LeasePasses(Box::new((granted, id > 0, Answer::of(revoked, Answer::LeaseRevoke))))
    }

    async fn keep_alive(
        &self,
        request: LeaseKeepAliveRequest,
    ) -> Result<Response<holdfast_proto::etcdserverpb::LeaseKeepAliveResponse>, Status> {
        let mut answers = self.lease.clone().lease_keep_alive(stream::iter([request])).await?.into_inner();
        let answer = answers.message().await?;
        answer.map(Response::new).ok_or_else(|| Status::aborted("the stream ended without an answer"))
    }
}

async fn in_time<T>(asking: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let answered = tokio::time::timeout(PATIENCE, asking).await;
    answered.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")))
}
