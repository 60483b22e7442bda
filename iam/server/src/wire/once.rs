//! Changes that are made once, however often they are sent: the `idempotency-key`.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};
use iam_client::Identity;
use iam_core::idempotency::{Done, IdempotencyKey, fingerprint};
use tonic::{Code, Status, body::Body, server::NamedService};
use tower::Service;

use super::MAX_REQUEST;
use crate::{Error, Iam, attempt::Looked, records::Versioned};

const KEY: &str = "idempotency-key";
/// What a message has before it: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// Methods whose answers hold no secrets, so that they can be kept and given again.
const NO_SECRETS: &[&str] = &[
    "/iam.v1.Admin/",
    "/iam.v1.Credentials/Revoke",
    "/iam.v1.Policies/",
    "/iam.v1.Rotation/",
    "/iam.v1.Tokens/Revoke",
    "/iam.v1.Trust/",
    "/iam.v1.Verifiers/",
];

/// Stands before a service. Requests without a key pass as they are.
#[derive(Clone)]
pub(super) struct Once<S> {
    iam: Iam,
    inner: S,
}

impl<S> Once<S> {
    pub(super) fn new(iam: &Iam, inner: S) -> Self {
        Self { iam: iam.clone(), inner }
    }
}

impl<S: NamedService> NamedService for Once<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Once<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The service that was polled ready must be the one that is called.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        if !request.headers().contains_key(KEY) {
            return Box::pin(inner.call(request));
        }
        let iam = self.iam.clone();
        Box::pin(async move {
            let answered = once(&iam, &mut inner, request).await;
            Ok(answered.unwrap_or_else(Status::into_http))
        })
    }
}

async fn once<S>(iam: &Iam, inner: &mut S, request: Request<Body>) -> Result<Response<Body>, Status>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let key = key(request.headers())?;
    // Whom nobody knows has no keys of his own.
    let caller = request.extensions().get::<Identity>().ok_or_else(|| invalid("an idempotency key needs a caller"))?;
    let id = key.id(&caller.principal.to_string());
    let (head, body) = request.into_parts();
    let body = Limited::new(body, PREFIX + MAX_REQUEST).collect().await;
    let body = body.map_err(|_| Status::out_of_range(format!("a request has at most {MAX_REQUEST} bytes")))?.to_bytes();
    let method = head.uri.path().to_owned();
    let fingerprint = fingerprint(&method, &body);

    let attempt = match iam.look_for_attempt(&id, &fingerprint)? {
        Looked::Made(made) => return repeat(&made),
        Looked::New(attempt) => attempt,
    };
    let handled = inner.call(Request::from_parts(head, Body::new(Full::new(body))));
    let Ok(response) = Arc::clone(&attempt).run(handled).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await?;
    let status = Status::from_header_map(body.trailers().unwrap_or(&head.headers));
    let (trailers, frame) = (body.trailers().cloned(), body.to_bytes());
    if status.is_some_and(|status| status.code() != Code::Ok) {
        // The same request at the same time may have been first; then its answer counts.
        if let Ok(Looked::Made(made)) = iam.look_for_attempt(&id, &fingerprint) {
            return repeat(&made);
        }
    } else if NO_SECRETS.iter().any(|begin| method.starts_with(begin))
        && let Some(message) = message(&frame)
    {
        iam.keep_answer(&attempt, message).await;
    }
    Ok(Response::from_parts(head, with_trailers(frame, trailers)))
}

fn invalid(text: &str) -> Status {
    Error::Invalid(text.to_owned()).into()
}

fn key(headers: &HeaderMap) -> Result<IdempotencyKey, Status> {
    let mut values = headers.get_all(KEY).iter();
    let key = values.next().and_then(|value| IdempotencyKey::parse(value.as_bytes()));
    let key = key.filter(|_| values.next().is_none());
    key.ok_or_else(|| invalid("an idempotency key is one text of 1 to 128 printable characters without blanks"))
}

/// Answers as the first time, or says what was done then.
fn repeat(made: &Versioned<Done>) -> Result<Response<Body>, Status> {
    let Versioned { value: Done { action, resource, answer, .. }, revision } = made;
    let Some(message) = answer.as_deref().and_then(|text| hex::decode(text).ok()) else {
        return Err(Status::already_exists(format!(
            "this request was made before, and its answer is not given again: {action} {resource} at revision {revision}"
        )));
    };
    let mut frame = BytesMut::with_capacity(PREFIX + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(&message);
    let trailers = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    let mut response = Response::new(with_trailers(frame.freeze(), Some(trailers)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    Ok(response)
}

/// The message of an answer that has one, as it is.
fn message(frame: &[u8]) -> Option<&[u8]> {
    let (prefix, message) = frame.split_at_checked(PREFIX)?;
    let (compressed, length) = prefix.split_first()?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    (*compressed == 0 && usize::try_from(length) == Ok(message.len())).then_some(message)
}

fn with_trailers(frame: Bytes, trailers: Option<HeaderMap>) -> Body {
    Body::new(Full::new(frame).with_trailers(async move { trailers.map(Ok) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_whole_message_is_an_answer() {
        assert_eq!(message(&[0, 0, 0, 0, 2, 7, 8]), Some([7, 8].as_slice()));
        assert_eq!(message(&[0, 0, 0, 0, 0]), Some([].as_slice()));
        for other in [&[0, 0, 0, 0, 3, 7, 8][..], &[0, 0, 0, 0, 1, 7, 8], &[1, 0, 0, 0, 2, 7, 8], &[0, 0], &[]] {
            assert_eq!(message(other), None, "{other:?}");
        }
    }
}
