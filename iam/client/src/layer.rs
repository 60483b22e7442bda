use std::{
    convert::Infallible,
    future::Future,
    hash::{BuildHasher as _, RandomState},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use chainfire_core::{AuthenticatedBy, Origin};
use holdfast_rpc::{Connection, Standing};
use http::{HeaderValue, Request, Response};
use http_body_util::{Either, Full};
use tower::{Layer, Service};

use crate::{
    Access, AccessTable, Authority, Caller, Identity, Presented, Refusal, Rule, Style,
    freshness::{Freshness, demanded},
    path,
};

/// Ties an answer to logs, traces and audit rows.
const REQUEST_ID: &str = "x-request-id";

/// Names a request in logs, audit rows and its answer; the layer puts it into the extensions of every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub String);

/// Puts [`IamService`] in front of a router.
#[derive(Clone)]
pub struct IamLayer {
    shared: Arc<Shared>,
}

/// Authenticates, decides, and passes on or refuses. One in front of every listener that serves callers.
#[derive(Clone)]
pub struct IamService<S> {
    shared: Arc<Shared>,
    inner: S,
}

struct Shared {
    authority: Arc<dyn Authority>,
    table: AccessTable,
    freshness: Freshness,
    /// Random per process, so that ids of different servers and lives differ.
    prefix: u64,
    counter: AtomicU64,
}

impl IamLayer {
    pub fn new(authority: Arc<dyn Authority>, rules: impl IntoIterator<Item = Rule>) -> Self {
        let prefix = RandomState::new().hash_one(std::process::id());
        let (table, freshness) = (AccessTable::new(rules), Freshness::new(authority.progress()));
        Self { shared: Arc::new(Shared { authority, table, freshness, prefix, counter: AtomicU64::new(1) }) }
    }
}

impl<S> Layer<S> for IamLayer {
    type Service = IamService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        IamService { shared: Arc::clone(&self.shared), inner }
    }
}

impl<S, B, R> Service<Request<B>> for IamService<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Send + 'static,
{
    type Response = Response<Either<Full<Bytes>, R>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The service that was polled ready must be the one that is called.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let shared = Arc::clone(&self.shared);
        let style = Style::of(request.uri().path(), request.headers());
        let request_id = shared.request_id();
        // An identity or a refusal in the extensions can only be ours.
        request.extensions_mut().remove::<Identity>();
        request.extensions_mut().remove::<Refusal>();
        request.extensions_mut().insert(RequestId(request_id.clone()));
        let admission = shared.admission(&request, &request_id);
        let deferred = admission.access == Some(Access::Deferred);
        let demanded = demanded(request.headers());
        Box::pin(async move {
            let mut response = match shared.freshness.reach(demanded).await {
                Err(unmet) => unmet.response(style).map(Either::Left),
                // Not before: who may what is part of the state.
                Ok(()) => match shared.admit(admission).await {
                    Ok(identity) => {
                        if let Some(identity) = identity {
                            request.extensions_mut().insert(identity);
                        }
                        inner.call(request).await?.map(Either::Right)
                    }
                    Err(refusal) if deferred => {
                        request.extensions_mut().insert(refusal);
                        inner.call(request).await?.map(Either::Right)
                    }
                    Err(refusal) => style.response(&refusal).map(Either::Left),
                },
            };
            if let Ok(value) = HeaderValue::try_from(request_id) {
                response.headers_mut().insert(REQUEST_ID, value);
            }
            shared.freshness.tell(response.headers_mut());
            Ok(response)
        })
    }
}

/// What is to be established before a request may pass.
struct Admission {
    path: String,
    access: Option<Access>,
    presented: Result<Presented, Refusal>,
    /// The caller, while it is not known.
    stranger: Origin,
    standing: Option<Standing>,
}

impl Shared {
    fn request_id(&self) -> String {
        format!("{:016x}-{:x}", self.prefix, self.counter.fetch_add(1, Ordering::Relaxed))
    }

    fn admission<B>(&self, request: &Request<B>, request_id: &str) -> Admission {
        let path = request.uri().path();
        let access = if path::is_plain(path) { self.table.access(path) } else { None };
        let connection = request.extensions().get::<Connection>();
        let presented = Presented::read(request.headers(), connection, request_id.to_owned());
        let standing = request.extensions().get::<Standing>().cloned();
        let stranger = Origin {
            principal: Caller::Anonymous.to_string(),
            authenticated_by: AuthenticatedBy::Nothing,
            source: connection.map(|connection| connection.source.to_string()),
            token_id: None,
            request_id: request_id.to_owned(),
        };
        Admission { path: path.to_owned(), access, presented, stranger, standing }
    }

    /// The caller's identity; none where anybody may pass.
    async fn admit(&self, admission: Admission) -> Result<Option<Identity>, Refusal> {
        if admission.access == Some(Access::Public) {
            return Ok(None);
        }
        let begun = Instant::now();
        let admitted = self.judge(admission).await;
        self.authority.took(begun.elapsed());
        admitted.map(Some)
    }

    async fn judge(&self, admission: Admission) -> Result<Identity, Refusal> {
        let deferred = admission.access == Some(Access::Deferred);
        let presented = admission.presented.inspect_err(|_| {
            let reason = "credentials that contradict each other, or that cannot be read";
            self.authority.record_denial(&admission.stranger, "iam.Authenticate", "iam/headers", reason);
        })?;
        let identity = self.authority.authenticate(presented).await.inspect_err(|refusal| {
            // A door of its own protocol may have nothing against callers without identity.
            if *refusal == Refusal::Anonymous && !deferred {
                let resource = format!("route{}", admission.path);
                self.authority.record_denial(&admission.stranger, "route.Call", &resource, "no credentials");
            }
        })?;
        // Whatever the caller may do: the connection is its own.
        if let Some(standing) = &admission.standing {
            self.authority.admitted(&identity, standing);
        }
        match admission.access {
            None => {
                // The authority is asked so that the denial is recorded. Without a rule nobody passes, not even an admin.
                let (action, resource) = ("route.Call", format!("route{}", admission.path));
                self.authority.authorize(&identity, action, &resource)?;
                Err(Refusal::Denied { action: action.to_owned(), resource })
            }
            Some(Access::Permission { action, resource }) => {
                self.authority.authorize(&identity, action, resource)?;
                Ok(identity)
            }
            Some(Access::Public | Access::Authenticated | Access::Deferred) => Ok(identity),
        }
    }
}
