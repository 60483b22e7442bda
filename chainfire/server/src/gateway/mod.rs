//! The JSON gateway: etcd's HTTP paths in front of its gRPC services. A call in JSON becomes the same call in gRPC inside
//! the process and its answers become JSON again, by the descriptors of the services; so whatever stands in front of
//! the gRPC routes, such as authentication and limits, judges it by the same path, and no call is written twice.
//!
//! A request's body is turned into messages only while the handler reads it: what a caller may not do is refused before
//! its JSON is looked at.

mod answers;
mod dialect;
mod exchange;
mod json;
mod paths;
mod values;
mod websocket;

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use dialect::Dialect;
use exchange::{Answer, Caller, Exchange};
use futures::{StreamExt as _, stream};
use http::{HeaderValue, Method as Verb, header};
use json::Method;
use prost_reflect::DescriptorPool;
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use crate::{Profile, memory::Bound};

/// Serves etcd's HTTP paths.
#[derive(Clone)]
pub struct Gateway {
    methods: Arc<HashMap<&'static str, Method>>,
    dialect: Dialect,
    /// Of one message in JSON.
    largest: usize,
    /// Of which every request takes a part.
    requests: Arc<Bound>,
    /// For WebSockets.
    places: Arc<Semaphore>,
}

/// The descriptors that this program was built with do not fit its table of paths.
#[derive(Debug, thiserror::Error)]
#[error("the JSON gateway has no descriptor of {0}")]
pub struct GatewayError(String);

impl Gateway {
    /// Speaks as `profile` does. `largest` is how many bytes a gRPC message may have, `requests` bounds all of them.
    pub(crate) fn new(profile: Profile, largest: usize, requests: Arc<Bound>) -> Result<Self, GatewayError> {
        let pool = DescriptorPool::decode(holdfast_proto::DESCRIPTORS);
        let pool = pool.map_err(|error| GatewayError(error.to_string()))?;
        let mut methods = HashMap::new();
        for (path, service, name) in paths::PATHS {
            let method = Method::find(&pool, service, name);
            let method = method.ok_or_else(|| GatewayError(format!("{service}.{name}")))?;
            if profile.has(method.path.path()) {
                methods.insert(*path, method);
            }
        }
        // Bytes are a third larger in base64, and what is around them is small beside the largest message.
        let largest = largest.saturating_mul(2);
        Ok(Self {
            methods: Arc::new(methods),
            dialect: Dialect::of(profile),
            largest,
            requests,
            places: Arc::new(Semaphore::new(websocket::MOST)),
        })
    }

    /// A router that gives etcd's HTTP paths to `grpc`, in gRPC, and everything else to `other`, as it is.
    pub fn in_front_of(self, grpc: Router, other: Router) -> Router {
        // A router that is told its state at last resolves its routes once instead of for each request.
        let (grpc, other) = (grpc.with_state(()), other.with_state(()));
        Router::new().fallback(move |request: Request| {
            let (gateway, grpc, other) = (self.clone(), grpc.clone(), other.clone());
            async move {
                match paths::of_gateway(request.uri().path()).map(Cow::into_owned) {
                    Some(path) => gateway.answer(grpc, &path, request).await,
                    None => other.oneshot(request).await.unwrap_or_else(|never| match never {}),
                }
            }
        })
    }

    async fn answer(&self, grpc: Router, path: &str, request: Request) -> Response {
        let Some(method) = self.methods.get(path).cloned() else { return self.dialect.not_found() };
        let (mut parts, body) = request.into_parts();
        let requests = self.requests.clone();
        let exchange = Exchange { grpc, method, dialect: self.dialect, largest: self.largest, requests };
        if websocket::is_wanted(&parts.headers) {
            return websocket::serve(exchange, parts, &self.places).await;
        }
        if parts.method != Verb::POST {
            return self.dialect.wrong_verb();
        }
        let caller = Caller::take(&mut parts);
        let chunks = body.into_data_stream().map(|chunk| chunk.map_err(|error| error.to_string()));
        match exchange.run(caller, chunks).await {
            Answer::Failed(status) => self.dialect.error(&status),
            Answer::One { json, headers } => as_json(Body::from(json), headers),
            Answer::Many { first, rest, headers } => {
                let lines = stream::iter(first).chain(rest);
                let lines = lines.map(|mut line| {
                    line.push(b'\n');
                    Ok::<_, std::convert::Infallible>(Bytes::from(line))
                });
                as_json(Body::from_stream(lines), headers)
            }
            Answer::Broken(status) => self.dialect.broken(&status),
        }
    }
}

/// An answer with the headers of the gRPC answer that concern the client.
fn as_json(body: Body, headers: http::HeaderMap) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().extend(headers);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
