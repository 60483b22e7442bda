use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{Router, body::Body, response::IntoResponse as _};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::{Frame, Incoming, SizeHint};
use tower::{Service, ServiceExt as _};

use crate::{Connection, KnownBy, Limits, Standing, modest::Modest, strangers::Running};

/// The way from one connection to the router: says what is known about the connection, and keeps a stranger from
/// running more requests at a time, and from sending more, than one needs.
#[derive(Clone)]
pub(crate) struct Entrance {
    pub(crate) router: Router,
    pub(crate) connection: Connection,
    pub(crate) standing: Standing,
    pub(crate) limits: Limits,
}

/// The body of an answer to a stranger; the request runs until it is gone.
struct Answer {
    body: Body,
    _running: Running,
}

impl Service<Request<Incoming>> for Entrance {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        if self.limits.known_by == KnownBy::Request {
            self.standing.known();
        }
        let running = if self.standing.is_stranger() {
            let Some(running) = self.standing.begin(self.limits.stranger_requests) else {
                return Box::pin(async { Ok((StatusCode::TOO_MANY_REQUESTS, "too many requests\n").into_response()) });
            };
            Some(running)
        } else {
            None
        };
        request.extensions_mut().insert(self.connection.clone());
        request.extensions_mut().insert(self.standing.clone());
        let body = |incoming| match &running {
            Some(_) => Body::new(Modest::new(incoming, self.standing.clone(), self.limits.stranger_bytes)),
            None => Body::new(incoming),
        };
        let answered = self.router.clone().oneshot(request.map(body));
        Box::pin(async move {
            let answer = answered.await?;
            Ok(match running {
                Some(running) => answer.map(|body| Body::new(Answer { body, _running: running })),
                None => answer,
            })
        })
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
