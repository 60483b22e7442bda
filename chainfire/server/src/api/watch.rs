use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _, stream};
use holdfast_proto::etcdserverpb::{WatchRequest, WatchResponse, watch_server::Watch};
use iam_client::KeyAccess;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{Etcd, caller::Caller, rights};
use crate::{
    Error,
    watch::{Order, Sender, Subscription},
    wire::{self, WatchCall},
};

#[tonic::async_trait]
impl Watch for Etcd {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<Streaming<WatchRequest>>) -> Result<Response<Self::WatchStream>, Status> {
        let caller = Caller::of(request.extensions());
        let subscription = Arc::new(self.hub.subscribe());
        let sender = Sender::new(subscription.clone(), self.store.clone());
        let receiver = Receiver { etcd: self.clone(), caller, subscription };
        // The client may close its side and go on listening; the task ends with the stream of answers.
        let receiving = AbortOnDropHandle::new(tokio::spawn(receiver.run(request.into_inner())));
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
    async fn run(self, mut requests: Streaming<WatchRequest>) {
        let period = jittered(self.etcd.progress_interval);
        let mut rounds = interval_at(Instant::now() + period, period);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let judged = rights::watch_over(&self.etcd, &self.caller, &self.subscription);
        tokio::pin!(judged);
        let mut open = true;
        loop {
            tokio::select! {
                request = requests.next(), if open => match request {
                    Some(Ok(request)) => {
                        self.subscription.outbox().room().await;
                        self.handle(request);
                    }
                    Some(Err(status)) => {
                        open = false;
                        if status.code() == Code::ResourceExhausted {
                            self.subscription.end(Error::TooManyRequests);
                        }
                    }
                    None => open = false,
                },
                _ = rounds.tick() => self.subscription.progress_round(),
                () = &mut judged => return,
            }
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
        let text = |error: Error| wire::status_text(&error.into());
        let caller = self.etcd.again(&self.caller).map_err(text)?;
        self.etcd.permit_keys(&caller, KeyAccess::Read, &order.watcher.keys).map_err(text)?;
        let revision = self.etcd.store.revision().map_err(text)?;
        self.subscription.create(order, revision).map_err(|refused| refused.to_string())
    }
}

/// Up to a tenth longer, so that streams that were opened together are not served together for ever.
fn jittered(interval: Duration) -> Duration {
    let tenth = getrandom::u32().unwrap_or(0) % 100;
    interval + interval * tenth / 1_000
}
