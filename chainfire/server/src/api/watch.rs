use std::{pin::Pin, sync::Arc, time::Duration};

use chainfire_raft::Status as GroupStatus;
use futures::{Stream, StreamExt as _, stream};
use holdfast_proto::etcdserverpb::{WatchRequest, WatchResponse, watch_server::Watch};
use iam_client::KeyAccess;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming};

use super::{Etcd, caller::Caller, etcd::demands_leader};
use crate::{
    Error,
    watch::{Order, Sender, Subscription},
    wire::{self, WatchCall},
};

/// How soon a change of rights reaches a stream.
const RECHECK: Duration = Duration::from_secs(1);
/// So many of these pass before a stream is looked at although nothing changed: its token may have expired.
const UNCHANGED: u32 = 10;

/// A stream that demands a leader ends after this many election times without one.
const LEADERLESS_ELECTIONS: u32 = 3;

#[tonic::async_trait]
impl Watch for Etcd {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<Streaming<WatchRequest>>) -> Result<Response<Self::WatchStream>, Status> {
        let caller = self.admit(request.metadata(), request.extensions())?;
        let leader = demands_leader(request.metadata()).then(|| self.store.group().status_changes());
        let subscription = Arc::new(self.hub.subscribe());
        let sender = Sender::new(subscription.clone(), self.store.clone());
        let receiver = Receiver { etcd: self.clone(), caller, subscription };
        // The client may close its side and go on listening; the task ends with the stream of answers.
        let receiving = AbortOnDropHandle::new(tokio::spawn(receiver.run(request.into_inner(), leader)));
        let answers = stream::unfold((sender, receiving), |(mut sender, receiving)| async {
            let next = sender.next().await?;
            Some((next, (sender, receiving)))
        });
        let (store, headers, limit) = (self.store.clone(), self.headers(), self.store.limits().request_bytes);
        let answers = answers.flat_map(move |told| {
            let messages: Vec<Result<WatchResponse, Status>> = match told {
                Ok(told) => {
                    let term = store.status().term;
                    wire::watch_responses(headers, term, limit, told).into_iter().map(Ok).collect()
                }
                Err(error) => vec![Err(error.into())],
            };
            stream::iter(messages)
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// The receiving half of a watch stream: what the client asks, and the clocks.
struct Receiver {
    etcd: Etcd,
    caller: Caller,
    subscription: Arc<Subscription>,
}

impl Receiver {
    async fn run(self, mut requests: Streaming<WatchRequest>, leader: Option<watch::Receiver<GroupStatus>>) {
        let period = jittered(self.etcd.progress_interval);
        let mut rounds = interval_at(Instant::now() + period, period);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let leaderless = leaderless(leader, self.etcd.store.timing().election_min * LEADERLESS_ELECTIONS);
        tokio::pin!(leaderless);
        let mut rechecks = interval_at(Instant::now() + RECHECK, RECHECK);
        rechecks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = (self.policy_revision(), 0);
        let mut open = true;
        loop {
            tokio::select! {
                request = requests.next(), if open => match request {
                    Some(Ok(request)) => {
                        self.subscription.outbox().room().await;
                        self.handle(request);
                    }
                    Some(Err(_)) | None => open = false,
                },
                _ = rounds.tick() => self.subscription.progress_round(),
                _ = rechecks.tick() => if let Err(refused) = self.recheck(&mut last) {
                    self.subscription.end(refused);
                    return;
                },
                () = &mut leaderless => {
                    self.subscription.end(Error::NoLeader);
                    return;
                }
            }
        }
    }

    /// Whether the caller may still have what it watches. `last` is the revision of the policy at the last look, and how
    /// many rounds it has been the same since.
    fn recheck(&self, last: &mut (u64, u32)) -> Result<(), Error> {
        let (revision, unchanged) = *last;
        let now = self.policy_revision();
        if now == revision && unchanged < UNCHANGED {
            last.1 += 1;
            return Ok(());
        }
        match self.look() {
            Ok(()) => {
                *last = (now, 0);
                Ok(())
            }
            // This server cannot tell at the moment; it looks again in the next round.
            Err(Error::Unhealthy) => Ok(()),
            Err(Error::UserEmpty | Error::InvalidAuthToken) => Err(Error::PermissionDenied),
            Err(other) => Err(other),
        }
    }

    fn look(&self) -> Result<(), Error> {
        self.etcd.doors.keys.still_holds(&self.caller.identity)?;
        // A token that nobody uses may run out while its stream lives; what its user may see is asked as of now.
        let user = self.etcd.users.as_ref().zip(self.caller.user.as_ref());
        let user = user.map(|(users, user)| users.now(user)).transpose()?;
        let caller = Caller { user, ..self.caller.clone() };
        let mut watched = self.subscription.outbox().watched();
        watched.dedup();
        watched.iter().try_for_each(|keys| self.etcd.permit_keys(&caller, KeyAccess::Read, keys))
    }

    fn policy_revision(&self) -> u64 {
        match (&self.etcd.users, &self.etcd.doors.login) {
            (Some(users), _) => users.epoch().unwrap_or(0),
            (None, Some(login)) => login.revision(),
            (None, None) => 0,
        }
    }

    fn handle(&self, request: WatchRequest) {
        match wire::watch_call(request) {
            WatchCall::Create(order) => {
                if let Err(reason) = self.create(order.map_err(|invalid| invalid.to_string())) {
                    // The revision is of no use to the client here; it needs an answer in order.
                    let revision = self.etcd.store.revision().unwrap_or_default();
                    self.subscription.refuse(reason, revision);
                }
            }
            WatchCall::Cancel(id) => self.subscription.cancel(id),
            WatchCall::Progress => self.subscription.progress(),
            WatchCall::Unknown => {}
        }
    }

    fn create(&self, order: Result<Order, String>) -> Result<(), String> {
        let order = order?;
        let text = |error: Error| error.to_string();
        let caller = self.etcd.again(&self.caller).map_err(text)?;
        self.etcd.permit_keys(&caller, KeyAccess::Read, &order.watcher.keys).map_err(text)?;
        let revision = self.etcd.store.revision().map_err(text)?;
        self.subscription.create(order, revision).map_err(|refused| refused.to_string())
    }
}

/// Completes when there has been no leader for `patience`; never if nobody asked.
async fn leaderless(status: Option<watch::Receiver<GroupStatus>>, patience: Duration) {
    let Some(mut status) = status else { return std::future::pending().await };
    loop {
        if status.wait_for(|status| status.leader.is_none()).await.is_err() {
            return;
        }
        if timeout(patience, status.wait_for(|status| status.leader.is_some())).await.is_err() {
            return;
        }
    }
}

/// Up to a tenth longer, so that streams that were opened together are not served together for ever.
fn jittered(interval: Duration) -> Duration {
    let tenth = getrandom::u32().unwrap_or(0) % 100;
    interval + interval * tenth / 1_000
}
