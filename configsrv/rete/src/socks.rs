//! The SOCKS5 ports (RFC 1928): one a principal, CONNECT without authentication, and only to services by name. Which port
//! a program takes says who it is: the ports are not a boundary between the programs of a machine.

use std::{sync::Arc, time::Duration};

use configsrv_fleet::{SpiffeId, hosts};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

use crate::{
    dial::{Dialer, Refused},
    greetings::Greetings,
    plane::Shared,
};

/// A program that says what it wants later than this is dropped.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Connections of one principal.
const MOST: usize = 4096;

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const NOTHING_ACCEPTABLE: u8 = 0xff;
const CONNECT: u8 = 1;
const DOMAIN: u8 = 3;

/// A reply field of RFC 1928 §6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    Succeeded = 0,
    NotAllowed = 2,
    HostUnreachable = 4,
    Refused = 5,
    CommandNotSupported = 7,
    AddressNotSupported = 8,
}

impl From<Refused> for Reply {
    fn from(why: Refused) -> Self {
        match why {
            Refused::Unknown | Refused::Unreachable => Self::HostUnreachable,
            Refused::Denied => Self::NotAllowed,
            Refused::Service => Self::Refused,
        }
    }
}

/// Why a program gets no further.
enum Fault {
    /// It is told.
    Said(Reply),
    /// It does not speak SOCKS5.
    Other,
}

/// Serves the port of `principal` until the plane stops.
pub(crate) async fn serve(shared: Arc<Shared>, dialer: Arc<Dialer>, listener: TcpListener, principal: SpiffeId) {
    let connections = Arc::new(Semaphore::new(MOST));
    let greetings = Arc::<Greetings>::default();
    loop {
        let Ok(connection) = Arc::clone(&connections).acquire_owned().await else { return };
        let program = match listener.accept().await {
            Ok((program, _)) => program,
            Err(error) => {
                // Out of file descriptors: others may give some back.
                tracing::warn!(%error, %principal, "a connection was not accepted");
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let greeting = greetings.begin();
        let (owned, dialer, principal) = (Arc::clone(&shared), Arc::clone(&dialer), principal.clone());
        shared.spawn(async move {
            let mut program = program;
            let asked = tokio::select! {
                asked = timeout(HANDSHAKE, greet(&mut program)) => asked.unwrap_or(Err(Fault::Other)),
                () = greeting.crowded_out() => Err(Fault::Other),
            };
            drop(greeting);
            proxy(&owned, &dialer, program, &principal, asked).await;
            drop(connection);
        });
    }
}

async fn proxy(
    shared: &Shared,
    dialer: &Dialer,
    mut program: TcpStream,
    principal: &SpiffeId,
    asked: Result<String, Fault>,
) {
    let host = match asked {
        Ok(host) => host,
        Err(fault) => {
            shared.counters.socks_failures.add(1);
            if let Fault::Said(word) = fault {
                let _ = reply(&mut program, word).await;
            }
            return;
        }
    };
    let target = hosts::service(&host, shared.tables.load().cluster());
    let opened = match &target {
        Some(target) => dialer.open(principal, target).await,
        None => Err(Refused::Unknown),
    };
    match opened {
        Ok(tunnel) => {
            if reply(&mut program, Reply::Succeeded).await.is_ok() {
                shared.counters.opened.add(1);
                tunnel.carry(program, &shared.counters).await;
                shared.counters.closed.add(1);
            }
        }
        Err(why) => {
            tracing::debug!(%principal, host, ?why, "not connected");
            let _ = reply(&mut program, why.into()).await;
        }
    }
}

/// The host name that a program asks for.
async fn greet(program: &mut TcpStream) -> Result<String, Fault> {
    let [version, methods] = read(program).await?;
    if version != VERSION {
        return Err(Fault::Other);
    }
    let methods = read_some(program, methods).await?;
    let method = if methods.contains(&NO_AUTHENTICATION) { NO_AUTHENTICATION } else { NOTHING_ACCEPTABLE };
    program.write_all(&[VERSION, method]).await.map_err(|_| Fault::Other)?;
    if method != NO_AUTHENTICATION {
        return Err(Fault::Other);
    }
    let [version, command, reserved, kind] = read(program).await?;
    if version != VERSION || reserved != 0 {
        return Err(Fault::Other);
    }
    if command != CONNECT {
        return Err(Fault::Said(Reply::CommandNotSupported));
    }
    // An address says nothing about who is meant.
    if kind != DOMAIN {
        return Err(Fault::Said(Reply::AddressNotSupported));
    }
    let [length] = read(program).await?;
    let host = read_some(program, length).await?;
    // A service has one port, which its node knows.
    let _port: [u8; 2] = read(program).await?;
    String::from_utf8(host).map_err(|_| Fault::Said(Reply::HostUnreachable))
}

async fn read<const N: usize>(program: &mut TcpStream) -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    program.read_exact(&mut bytes).await.map_err(|_| Fault::Other)?;
    Ok(bytes)
}

async fn read_some(program: &mut TcpStream, length: u8) -> Result<Vec<u8>, Fault> {
    let mut bytes = vec![0; usize::from(length)];
    program.read_exact(&mut bytes).await.map_err(|_| Fault::Other)?;
    Ok(bytes)
}

/// With the unspecified address: there is none to tell.
async fn reply(program: &mut TcpStream, word: Reply) -> std::io::Result<()> {
    program.write_all(&[VERSION, word as u8, 0, 1, 0, 0, 0, 0, 0, 0]).await
}
