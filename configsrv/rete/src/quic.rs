//! How QUIC is set up, and in which words its ends are told.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use quinn::{
    ConnectionError, Endpoint, TransportConfig, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};

/// A peer that is silent for so long is gone. It counts for handshakes, too.
const SILENCE: Duration = Duration::from_secs(30);
/// The initiator says so often that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// TCP connections in one QUIC connection.
const MOST_STREAMS: u32 = 4096;
/// What one TCP connection may have under way, and all of one QUIC connection: what a slow reader can make this node
/// hold.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Handshakes that nobody has accepted yet, and what they may make this node hold.
const MOST_INCOMING: usize = 512;
const INCOMING_BYTES: u64 = 16 << 10;
const ALL_INCOMING_BYTES: u64 = 4 << 20;

/// Why an end closes a connection or resets a stream: application error codes, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// The plane stops.
    Stopping = 0,
    /// The tables do not allow it.
    Refused = 1,
    /// The service does not answer.
    Upstream = 2,
    /// One end's TCP connection broke, and was not closed.
    Aborted = 3,
    /// Nothing was carried for some time.
    Idle = 4,
    /// A certificate came to its end.
    Expired = 5,
    /// Not this protocol.
    Protocol = 6,
    /// More than this node takes at a time.
    Busy = 7,
}

impl From<Code> for VarInt {
    fn from(code: Code) -> Self {
        Self::from_u32(code as u32)
    }
}

/// Accepts and dials on one socket.
pub(crate) fn listening(address: SocketAddr, tls: rustls::ServerConfig) -> io::Result<Endpoint> {
    let tls = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    config
        .transport_config(Arc::new(transport(None)))
        .max_incoming(MOST_INCOMING)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(ALL_INCOMING_BYTES);
    Endpoint::server(config, address)
}

/// Of one dial.
pub(crate) fn dialling(tls: rustls::ClientConfig) -> io::Result<quinn::ClientConfig> {
    let tls = QuicClientConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport(Some(KEEP_ALIVE))));
    Ok(config)
}

fn transport(keep_alive: Option<Duration>) -> TransportConfig {
    let mut config = TransportConfig::default();
    let streams = if keep_alive.is_some() { 0 } else { MOST_STREAMS };
    config
        // Only initiators open streams.
        .max_concurrent_bidi_streams(streams.into())
        .max_concurrent_uni_streams(0_u8.into())
        .datagram_receive_buffer_size(None)
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(CONNECTION_WINDOW.into())
        .keep_alive_interval(keep_alive)
        .max_idle_timeout(SILENCE.try_into().ok());
    config
}

/// Why a handshake failed, as a closed set of words.
pub(crate) fn handshake_fault(error: &ConnectionError) -> &'static str {
    let code = match error {
        ConnectionError::TimedOut => return "timeout",
        ConnectionError::LocallyClosed | ConnectionError::ApplicationClosed(_) => return "closed",
        ConnectionError::TransportError(error) => u64::from(error.code),
        ConnectionError::ConnectionClosed(close) => u64::from(close.error_code),
        ConnectionError::VersionMismatch | ConnectionError::Reset | ConnectionError::CidsExhausted => return "protocol",
    };
    // RFC 9001 §4.8: 0x100 and the TLS alert.
    match code.checked_sub(0x100) {
        Some(42..=44 | 46) => "certificate",
        Some(45) => "expired",
        Some(48) => "authority",
        Some(49 | 112) => "no_such_service",
        Some(116) => "no_certificate",
        _ => "protocol",
    }
}
