use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use configsrv_fleet::address::HostPort;
use reqwest::{Client, Proxy};
use tokio::{sync::Mutex, time::Instant};

use super::{Credentials, route::Route};
use crate::Error;

const CONNECT: Duration = Duration::from_secs(5);
/// A connection on which something is awaited and nothing has come for so long is pinged.
const ALIVE: Duration = Duration::from_secs(30);
/// An answer that nobody waits for on purpose comes in this time.
pub(super) const REQUEST: Duration = Duration::from_secs(30);

/// Connections, and what this node shows on them.
pub(super) struct Door {
    pub credentials: Arc<Credentials>,
    client: Client,
    /// The client that goes through a SOCKS5 port, made when it is needed.
    tunnelled: std::sync::Mutex<Option<(HostPort, Client)>>,
    pub token: Mutex<Option<Token>>,
}

pub(super) struct Token {
    pub text: String,
    /// Of which server.
    pub url: String,
    pub good_until: Instant,
}

impl Door {
    /// Without any connection yet. Fails if the credentials cannot be used.
    pub(super) fn new(credentials: Arc<Credentials>) -> Result<Self, Error> {
        let client = client(&credentials, None)?;
        Ok(Self { credentials, client, tunnelled: std::sync::Mutex::default(), token: Mutex::new(None) })
    }

    /// The client for a way to the servers.
    pub(super) fn client(&self, route: &Route) -> Result<Client, Error> {
        let Some(port) = &route.through else { return Ok(self.client.clone()) };
        let mut tunnelled = self.tunnelled.lock().unwrap_or_else(PoisonError::into_inner);
        match &*tunnelled {
            Some((known, client)) if known == port => Ok(client.clone()),
            _ => {
                let client = client(&self.credentials, Some(port))?;
                *tunnelled = Some((port.clone(), client.clone()));
                Ok(client)
            }
        }
    }

    /// Shows this token to nobody any more, unless another one took its place already.
    pub(super) async fn forget(&self, void: &str) {
        let mut token = self.token.lock().await;
        if token.as_ref().is_some_and(|token| token.text == void) {
            *token = None;
        }
    }
}

/// Names are resolved by whoever the SOCKS5 port belongs to.
fn client(credentials: &Credentials, socks5: Option<&HostPort>) -> Result<Client, Error> {
    let unusable = |error: reqwest::Error| Error::Unexpected(error.to_string());
    let builder = Client::builder().tls_backend_preconfigured(credentials.tls()?);
    let builder = match socks5 {
        None => builder.no_proxy(),
        Some(port) => builder.proxy(Proxy::all(format!("socks5h://{port}")).map_err(unusable)?),
    };
    builder
        .redirect(reqwest::redirect::Policy::none())
        // A server that vanished without a word must not keep the requests that come after.
        .http2_keep_alive_interval(ALIVE)
        .http2_keep_alive_timeout(CONNECT)
        .connect_timeout(CONNECT)
        .timeout(REQUEST)
        .build()
        .map_err(unusable)
}
