//! WebSocket at the gateway's paths: each message of the client is an object, or a piece of one, and each answer is a
//! message. It is for clients such as browsers that cannot send while they receive otherwise.

use std::{pin::Pin, sync::Arc, time::Duration};

use axum::{
    extract::{
        FromRequestParts as _, WebSocketUpgrade,
        ws::{Message, Utf8Bytes, WebSocket},
    },
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures::{
    SinkExt as _, Stream, StreamExt as _,
    stream::{self, SplitSink, SplitStream},
};
use http::{HeaderMap, header, request::Parts};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, interval_at, timeout},
};
use tonic::Status;

use super::{
    dialect::Dialect,
    exchange::{Answer, Caller, Exchange},
};

/// Sockets at a time. They have left the listener's own count of connections behind.
pub(super) const MOST: usize = 1_024;
/// Bytes of one message. A larger object comes in more than one.
const PIECE: usize = 256 << 10;
/// What a socket reads ahead.
const AHEAD: usize = 16 << 10;

/// For the first message: until then nobody has asked who this is.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two signs of life that an idle client is asked for.
const PING: Duration = Duration::from_secs(30);

pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE);
    upgrade.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

pub(super) async fn serve(exchange: Exchange, mut parts: Parts, places: &Arc<Semaphore>) -> Response {
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade.max_message_size(PIECE).max_frame_size(PIECE).read_buffer_size(AHEAD),
        Err(refused) => return refused.into_response(),
    };
    let Ok(place) = places.clone().try_acquire_owned() else {
        return exchange.dialect.error(&Status::resource_exhausted("too many WebSockets"));
    };
    let token = token(&parts.headers);
    let mut caller = Caller::take(&mut parts);
    let upgrade = match token {
        None => upgrade,
        Some(token) => {
            caller.bearer(&token);
            upgrade.protocols([BEARER])
        }
    };
    upgrade.on_upgrade(|socket| converse(exchange, caller, socket, place))
}

/// Of the protocols that a client offers, the one that says that the next is its token: browsers can set no other
/// header.
const BEARER: &str = "Bearer";

fn token(headers: &HeaderMap) -> Option<String> {
    let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let (scheme, token) = offered.split_once(',')?;
    (scheme.trim() == BEARER).then(|| token.trim().to_owned())
}

async fn converse(exchange: Exchange, caller: Caller, socket: WebSocket, _place: OwnedSemaphorePermit) {
    let dialect = exchange.dialect;
    let (mut sink, mut source) = socket.split();
    let Ok(Some(first)) = timeout(PATIENCE, piece(&mut source)).await else { return };
    let (pieces, received) = mpsc::channel(1);
    let chunks =
        stream::unfold(received, |mut received| async { received.recv().await.map(|piece| (piece, received)) });
    let chunks = stream::once(async { first }).chain(chunks).map(Ok);
    let texts = stream::once(async move { texts(dialect, exchange.run(caller, Box::pin(chunks)).await) }).flatten();
    let telling = tell(Box::pin(texts), &mut sink);
    let listening = async {
        // A call that takes no more messages still wants to know when its caller leaves.
        let mut taken = true;
        while let Some(piece) = piece(&mut source).await {
            taken = taken && pieces.send(piece).await.is_ok();
        }
    };
    tokio::select! {
        () = telling => {}
        () = listening => {}
    }
}

/// Messages to the client.
type Texts = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// Sends `texts`, and signs of life between them, until they end or nobody takes them.
async fn tell(mut texts: Texts, sink: &mut SplitSink<WebSocket, Message>) {
    let mut pings = interval_at(Instant::now() + PING, PING);
    loop {
        let message = tokio::select! {
            text = texts.next() => match text.map(Utf8Bytes::try_from) {
                Some(Ok(text)) => Message::Text(text),
                Some(Err(_)) | None => break,
            },
            _ = pings.tick() => Message::Ping(Bytes::new()),
        };
        if sink.send(message).await.is_err() {
            return;
        }
    }
    // Whoever has left needs no goodbye.
    let _ = sink.close().await;
}

fn texts(dialect: Dialect, answer: Answer) -> Texts {
    match answer {
        Answer::One { json, .. } => Box::pin(stream::iter([json])),
        Answer::Many { first, rest, .. } => Box::pin(stream::iter(first).chain(rest).map(Bytes::from)),
        Answer::Failed(status) => Box::pin(stream::iter([dialect.body(&status).into()])),
        Answer::Broken(status) => Box::pin(stream::iter([dialect.error_in_stream(&status).into()])),
    }
}

/// The next message of the client; none when it has left.
async fn piece(source: &mut SplitStream<WebSocket>) -> Option<Bytes> {
    loop {
        match source.next().await?.ok()? {
            Message::Text(text) => return Some(text.into()),
            Message::Binary(bytes) => return Some(bytes),
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Close(_) => return None,
        }
    }
}
