//! One connection: its messages in order, bounded in size and time. The dispatch of a message is pgwire's; the loop is
//! here because it must not buffer what an unknown caller announces.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, task::Poll, time::Duration};

use flaredb_core::SqlState;
use futures::{SinkExt as _, Stream as _};
use holdfast_rpc::Standing;
use pgwire::{
    api::{ClientInfo as _, NoopHandler, PgWireConnectionState},
    error::{ErrorInfo, PgWireError},
    messages::{PgWireBackendMessage, PgWireFrontendMessage},
    tokio::{
        TlsAcceptor,
        server::{MaybeTls, PgWireMessageServerCodec, negotiate_tls, process_error, process_message},
    },
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_util::codec::Framed;

use super::{fatal, listener::Server, session::Prepared, session::Session};

type Socket = Framed<MaybeTls, PgWireMessageServerCodec<Prepared>>;

/// What a caller may announce before it is known: a start-up packet, or a token as password.
const STRANGER_BYTES: usize = 64 << 10;
/// What a message has beside its statement.
const MESSAGE_OVERHEAD: usize = 1 << 20;

pub(super) async fn run(
    server: Arc<Server>,
    stream: TcpStream,
    source: SocketAddr,
    standing: Standing,
    acceptor: Option<TlsAcceptor>,
) -> io::Result<()> {
    let login_ends = Instant::now() + server.config.login_time;
    let negotiated = timeout_at(login_ends, negotiate_tls::<Prepared>(stream, acceptor)).await;
    // A direct TLS handshake on a port without TLS has no answer.
    let Some(mut socket) = negotiated.map_err(|_| io::ErrorKind::TimedOut)?? else { return Ok(()) };
    let session = Arc::new(Session::new(server.clone(), source));
    let mut stranger = true;
    loop {
        if stranger && session.identity().is_some() {
            stranger = false;
            standing.known();
        }
        let (limit, deadline) = if stranger {
            (STRANGER_BYTES, login_ends)
        } else {
            let limit = server.flaredb.config().limits.statement_bytes + MESSAGE_OVERHEAD;
            (limit, Instant::now() + server.config.idle_time)
        };
        let arrived = tokio::select! {
            () = server.stop.requested() => Err(Some(fatal(SqlState::CannotConnectNow, "this server is stopping"))),
            arrived = timeout_at(deadline, next(&mut socket, limit)) => match arrived {
                Ok(Next::Message(PgWireFrontendMessage::Terminate(_)) | Next::Closed) => Err(None),
                Ok(Next::Message(message)) => Ok(message),
                // Whoever has not said who it is learns nothing.
                Ok(Next::TooLarge) | Err(_) if stranger => Err(None),
                Ok(Next::TooLarge) => Err(Some(fatal(SqlState::ProgramLimitExceeded, "the message is too large"))),
                Err(_) => Err(Some(fatal(SqlState::CannotConnectNow, "the session was idle for too long"))),
            },
        };
        let message = match arrived {
            Ok(message) => message,
            Err(Some(reason)) => return farewell(&mut socket, ErrorInfo::from(reason)).await,
            Err(None) => return Ok(()),
        };
        if !dispatch(&mut socket, &session, message).await? {
            return Ok(());
        }
    }
}

enum Next {
    Message(PgWireFrontendMessage),
    /// The end, or bytes that are no message.
    Closed,
    TooLarge,
}

/// The next whole message. A message that announces or has more than `limit` bytes is not waited for.
async fn next(socket: &mut Socket, limit: usize) -> Next {
    std::future::poll_fn(|context| {
        let arrived = pin!(&mut *socket).poll_next(context);
        match arrived {
            Poll::Ready(Some(Ok(message))) => Poll::Ready(Next::Message(message)),
            Poll::Ready(Some(Err(_)) | None) => Poll::Ready(Next::Closed),
            Poll::Pending if announced(socket) > limit => Poll::Ready(Next::TooLarge),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Bytes of the message that is arriving: what its header says, or what is here already.
fn announced(socket: &Socket) -> usize {
    let arrived = socket.read_buffer();
    // A start-up packet begins with its length, every later message with a letter.
    let header = if matches!(socket.state(), PgWireConnectionState::AwaitingStartup) { 0 } else { 1 };
    let length =
        arrived.get(header..).and_then(|rest| rest.first_chunk::<4>()).map_or(0, |bytes| u32::from_be_bytes(*bytes));
    usize::try_from(length).unwrap_or(usize::MAX).max(arrived.len())
}

/// Handles a message; false if the connection is over.
async fn dispatch(socket: &mut Socket, session: &Arc<Session>, message: PgWireFrontendMessage) -> io::Result<bool> {
    let extended = message.is_extended_query();
    let cancels = matches!(message, PgWireFrontendMessage::CancelRequest(_));
    let (noop, cancellations) = (Arc::new(NoopHandler), Arc::new(session.server().cancellations.clone()));
    let (startup, simple, statements) = (session.clone(), session.clone(), session.clone());
    let result = process_message(message, socket, startup, simple, statements, noop, cancellations).await;
    let Err(error) = result else { return Ok(!cancels) };
    let info = ErrorInfo::from(error);
    // Before a login every error ends the connection: what follows an error is not a login any more.
    if info.is_fatal() || session.identity().is_none() {
        farewell(socket, info).await?;
        return Ok(false);
    }
    process_error(socket, PgWireError::UserError(Box::new(info)), extended).await?;
    Ok(true)
}

/// Says why the connection ends. A client that does not listen is not waited for.
async fn farewell(socket: &mut Socket, info: ErrorInfo) -> io::Result<()> {
    let said = socket.send(PgWireBackendMessage::ErrorResponse(info.into()));
    tokio::time::timeout(Duration::from_secs(1), said).await.unwrap_or(Ok(()))
}
