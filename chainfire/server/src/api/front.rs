//! What every call passes before its handler, and its answer afterwards. It is one service around each of tonic's, because
//! a layer of a router is cloned, with everything inside it, for each request.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use tonic::{Status, body::Body, server::NamedService};
use tower::Service;

use super::{demands::Demands, learner, oversize, release, traffic};
use crate::{Profile, memory::Bound, metrics::Grpc, store::Store, users::Gate};

/// The stages, in the order in which a call passes them.
pub(super) struct Front {
    pub(super) grpc: Arc<Grpc>,
    /// Of which every message takes a part.
    pub(super) requests: Arc<Bound>,
    /// Bytes of the largest message that is read at all.
    pub(super) largest: usize,
    pub(super) profile: Profile,
    /// A unary call that takes longer is worth a line in the log.
    pub(super) slow: Duration,
    pub(super) store: Arc<Store>,
    pub(super) demands: Demands,
    /// None where somebody else authenticates.
    pub(super) gate: Option<Gate>,
}

/// A gRPC service behind its [`Front`].
#[derive(Clone)]
pub(super) struct Fronted<S> {
    pub(super) front: Arc<Front>,
    pub(super) service: S,
}

impl Front {
    async fn answer<S: Handler>(&self, request: Request<Body>, service: S) -> Response<Body> {
        let Some(method) = self.grpc.method(request.uri().path()) else {
            return self.judged(request, service).await;
        };
        let (request, call) = traffic::begin(self, method, request);
        let response = self.judged(request, service).await;
        call.answered(response)
    }

    async fn judged<S: Handler>(&self, request: Request<Body>, service: S) -> Response<Body> {
        self.passed(request, service).await.unwrap_or_else(Status::into_http)
    }

    async fn passed<S: Handler>(&self, mut request: Request<Body>, mut service: S) -> Result<Response<Body>, Status> {
        let path = request.uri().path();
        release::offers(self.profile, path)?;
        learner::answers(&self.store, path)?;
        let demand = self.demands.check(&request)?;
        if let Some(gate) = &self.gate {
            gate.admit(&mut request).await?;
        }
        let response = demand.in_time(service.call(request)).await?.unwrap_or_else(|never| match never {});
        Ok(self.demands.hold(oversize::as_clients_know_it(response), &demand))
    }
}

/// A service of tonic's.
trait Handler: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Send {}

impl<S> Handler for S where S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Send
{}

impl<S: Handler + Clone + 'static> Service<Request<Body>> for Fronted<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (front, service) = (Arc::clone(&self.front), self.service.clone());
        Box::pin(async move { Ok(front.answer(request, service).await) })
    }
}

impl<S: NamedService> NamedService for Fronted<S> {
    const NAME: &'static str = S::NAME;
}
