use std::{pin::Pin, sync::Arc};

use axum::{Router, body::Body, extract::Request};
use bytes::Bytes;
use futures::{FutureExt as _, Stream, StreamExt as _, future::Shared, stream};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method as Verb, Version, header, request::Parts};
use tokio::sync::oneshot;
use tonic::{Code, Status};
use tower::ServiceExt as _;

use super::{
    answers::Answers,
    dialect::Dialect,
    json::Method,
    values::{NotValues, Values},
};
use crate::{
    Error,
    memory::{Bound, Hold},
};

/// Headers of the gRPC call that a client of the gateway gives with this prefix.
const METADATA: &str = "grpc-metadata-";
const MARK: &str = "grpcgateway-accept";
const TIMEOUT: &str = "grpc-timeout";
const FORWARDED: &[&str] = &["client-api-version", "hasleader", "token", "x-holdfast-min-index"];

/// Headers of a gRPC answer that concern whoever asked in JSON.
const RETURNED: [HeaderName; 3] =
    [HeaderName::from_static("x-request-id"), HeaderName::from_static("x-holdfast-index"), header::RETRY_AFTER];

/// One call of one method, in JSON on this side and in gRPC on the other.
pub(super) struct Exchange {
    pub(super) grpc: Router,
    pub(super) method: Method,
    pub(super) dialect: Dialect,
    /// Bytes of one message in JSON.
    pub(super) largest: usize,
    /// Of which every request takes a part.
    pub(super) requests: Arc<Bound>,
}

/// Who calls, as the gRPC side learns it.
pub(super) struct Caller {
    headers: HeaderMap,
    extensions: Extensions,
}

/// What came of a call.
pub(super) enum Answer {
    One {
        json: Bytes,
        headers: HeaderMap,
    },
    /// Answers in their envelopes; an error in the middle is the last of them.
    Many {
        first: Option<Vec<u8>>,
        rest: Lines,
        headers: HeaderMap,
    },
    /// The call failed.
    Failed(Status),
    /// The call of a stream failed before its first answer.
    Broken(Status),
}

pub(super) type Lines = Pin<Box<dyn Stream<Item = Vec<u8>> + Send>>;

/// Says what is wrong with the request, if something is.
type Complaint = Shared<Pin<Box<dyn Future<Output = Option<Status>> + Send>>>;

impl Caller {
    pub(super) fn take(parts: &mut Parts) -> Self {
        let mut headers = HeaderMap::new();
        for value in parts.headers.get_all(header::AUTHORIZATION) {
            headers.append(header::AUTHORIZATION, value.clone());
        }
        // So that the services know that the call comes by a gateway, as etcd's do.
        let accept = parts.headers.get(header::ACCEPT).cloned();
        headers.insert(MARK, accept.unwrap_or(HeaderValue::from_static("*/*")));
        for name in FORWARDED {
            for value in parts.headers.get_all(format!("{METADATA}{name}")) {
                headers.append(*name, value.clone());
            }
        }
        if let Some(time) = parts.headers.get(TIMEOUT) {
            headers.insert(TIMEOUT, time.clone());
        }
        Self { headers, extensions: std::mem::take(&mut parts.extensions) }
    }

    /// The token of a client that can set no header but this one's list of protocols.
    pub(super) fn bearer(&mut self, token: &str) {
        if let Ok(value) = HeaderValue::try_from(format!("Bearer {token}")) {
            self.headers.append(header::AUTHORIZATION, value);
        }
    }
}

impl Exchange {
    /// Calls the method with the objects in `chunks`.
    pub(super) async fn run(
        self,
        caller: Caller,
        chunks: impl Stream<Item = Result<Bytes, String>> + Send + Unpin + 'static,
    ) -> Answer {
        let (complain, complaint) = oneshot::channel();
        let complaint: Pin<Box<dyn Future<Output = Option<Status>> + Send>> = Box::pin(complaint.map(Result::ok));
        let complaint = complaint.shared();
        let hold = self.requests.hold(&caller.extensions);
        let request = self.request(caller, self.messages(chunks, complain, hold));
        let response = tokio::select! {
            biased;
            Some(status) = complaint.clone() => return Answer::Failed(status),
            response = self.grpc.clone().oneshot(request) => response.unwrap_or_else(|never| match never {}),
        };
        let status = Status::from_header_map(response.headers());
        if let Some(status) = status.filter(|status| status.code() != Code::Ok) {
            return if self.method.answers_many { Answer::Broken(status) } else { Answer::Failed(status) };
        }
        let mut headers = HeaderMap::new();
        for name in RETURNED {
            headers.extend(response.headers().get(&name).map(|value| (name, value.clone())));
        }
        let held = response.extensions().get::<Arc<Hold>>().cloned();
        let answers = Answers::new(response.into_body());
        if self.method.answers_many {
            self.many(answers, headers, complaint).await
        } else {
            self.one(answers, headers, held).await
        }
    }

    async fn one(&self, mut answers: Answers, headers: HeaderMap, held: Option<Arc<Hold>>) -> Answer {
        let message = match answers.next().await {
            Ok(Some(message)) => message,
            Ok(None) => return Answer::Failed(Status::internal("the call has no answer")),
            Err(status) => return Answer::Failed(status),
        };
        // To its end: a call that nobody listened to until then counts as canceled, and an error may follow.
        if let Err(status) = answers.next().await {
            return Answer::Failed(status);
        }
        match self.method.answer(message, "", "") {
            Ok(json) => {
                let json = Bytes::from(json);
                let json = if let Some(held) = held { held.within(json) } else { json };
                Answer::One { json, headers }
            }
            Err(reason) => Answer::Failed(Status::internal(reason)),
        }
    }

    async fn many(self, answers: Answers, headers: HeaderMap, complaint: Complaint) -> Answer {
        let (method, dialect) = (self.method, self.dialect);
        let mut telling = Telling { answers, method, complaint: complaint.clone() };
        let first = tokio::select! {
            biased;
            Some(status) = complaint => return Answer::Failed(status),
            first = telling.answer() => match first {
                Ok(first) => first,
                Err(status) => return Answer::Broken(status),
            },
        };
        let rest = stream::unfold(first.is_some().then_some(telling), move |telling| async move {
            let mut telling = telling?;
            match telling.next().await {
                Ok(line) => Some((line?, Some(telling))),
                Err(status) => Some((dialect.error_in_stream(&status), None)),
            }
        });
        Answer::Many { first, rest: Box::pin(rest), headers }
    }

    fn request(&self, caller: Caller, body: Body) -> Request {
        let mut request = Request::new(body);
        *request.method_mut() = Verb::POST;
        *request.uri_mut() = self.method.path.clone();
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = caller.headers;
        *request.extensions_mut() = caller.extensions;
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        request
    }

    /// The body of the gRPC request: a message for each object, made when it is asked for.
    fn messages(
        &self,
        chunks: impl Stream<Item = Result<Bytes, String>> + Send + Unpin + 'static,
        complain: oneshot::Sender<Status>,
        hold: Hold,
    ) -> Body {
        let (values, method) = (Values::default(), self.method.clone());
        let reading = Reading { chunks, values, hold, method, largest: self.largest, read: 0 };
        Body::from_stream(stream::unfold(Some((reading, complain)), |state| async {
            let (mut reading, complain) = state?;
            match reading.next().await {
                Ok(message) => Some((Ok(message?), Some((reading, complain)))),
                Err(status) => {
                    // Nobody listens any more if the call has its answer.
                    let _ = complain.send(status.clone());
                    Some((Err(status), None))
                }
            }
        }))
    }
}

/// The answers of a stream, in their envelopes.
struct Telling {
    answers: Answers,
    method: Method,
    complaint: Complaint,
}

impl Telling {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Status> {
        tokio::select! {
            biased;
            Some(status) = self.complaint.clone() => Err(status),
            answer = self.answer() => answer,
        }
    }

    async fn answer(&mut self) -> Result<Option<Vec<u8>>, Status> {
        let Some(message) = self.answers.next().await? else { return Ok(None) };
        self.method.answer(message, "{\"result\":", "}").map(Some).map_err(Status::internal)
    }
}

/// Objects on their way to being messages.
struct Reading<S> {
    chunks: S,
    values: Values,
    hold: Hold,
    method: Method,
    largest: usize,
    /// Objects so far.
    read: usize,
}

impl<S: Stream<Item = Result<Bytes, String>> + Unpin> Reading<S> {
    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        if self.read > 0 && !self.method.takes_many {
            return Ok(None);
        }
        loop {
            if let Some(value) = self.values.next(self.largest).map_err(|wrong| self.wrong(wrong))? {
                self.read += 1;
                return self.method.request(&value).map(Some).map_err(|error| self.invalid(error.to_string()));
            }
            if !self.hold.message(self.values.unfinished()) {
                return Err(Error::TooManyRequests.into());
            }
            match self.chunks.next().await {
                Some(Ok(chunk)) => self.values.push(&chunk),
                Some(Err(reason)) => return Err(self.invalid(reason)),
                None => return self.end(),
            }
        }
    }

    /// A single request may have no body at all.
    fn end(&mut self) -> Result<Option<Bytes>, Status> {
        self.values.end().map_err(|wrong| self.wrong(wrong))?;
        self.read += 1;
        Ok((!self.method.takes_many).then(Method::empty_request))
    }

    fn wrong(&self, wrong: NotValues) -> Status {
        match wrong {
            NotValues::TooLarge => {
                let limit = self.largest / 2;
                Status::resource_exhausted(format!("grpc: received message larger than max ({limit})"))
            }
            NotValues::NoObject | NotValues::Incomplete => self.invalid(wrong.to_string()),
        }
    }

    /// The gateway of etcd has no code for what is wrong in a stream.
    fn invalid(&self, reason: String) -> Status {
        if self.method.takes_many { Status::unknown(reason) } else { Status::invalid_argument(reason) }
    }
}
