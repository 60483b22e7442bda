//! One connection: its messages in order, bounded in size and time. The dispatch of a message is pgwire's; the loop is
//! here because it must not buffer what an unknown caller announces.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use flaredb_core::SqlState;
use futures::SinkExt as _;
use holdfast_rpc::Standing;
use pgwire::{
    api::NoopHandler,
    error::{ErrorInfo, PgWireError},
    messages::{PgWireBackendMessage, PgWireFrontendMessage},
    tokio::{
        TlsAcceptor,
        server::{negotiate_tls, process_error, process_message},
    },
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    fatal,
    incoming::{Next, Socket, next},
    listener::Server,
    session::{Prepared, Session},
};

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
        if stranger && let Some(identity) = session.identity() {
            stranger = false;
            server.login.admitted(identity, &standing);
        }
        let (limit, deadline) = if stranger {
            (STRANGER_BYTES, login_ends)
        } else {
            let limit = server.flaredb.config().limits.statement_bytes + MESSAGE_OVERHEAD;
            (limit, Instant::now() + server.config.idle_time)
        };
        let arrived = tokio::select! {
            () = server.stop.requested() => Err(Some(fatal(SqlState::CannotConnectNow, "this server is stopping"))),
            arrived = timeout_at(deadline, next(&mut socket, !stranger, limit)) => match arrived {
                Ok(Ok(Next::Message(PgWireFrontendMessage::Terminate(_)) | Next::Closed) | Err(_)) => Err(None),
                Ok(Ok(Next::Message(message))) => Ok(message),
                // Whoever has not said who it is learns nothing.
                Ok(Ok(Next::TooLarge | Next::Malformed)) | Err(_) if stranger => Err(None),
                Ok(Ok(Next::TooLarge)) => Err(Some(fatal(SqlState::ProgramLimitExceeded, "the message is too large"))),
                Ok(Ok(Next::Malformed)) => Err(Some(fatal(SqlState::ProtocolViolation, "this is no message"))),
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
