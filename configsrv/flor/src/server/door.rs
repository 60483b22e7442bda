use std::{sync::Arc, time::Duration};

use reqwest::Client;
use tokio::sync::Mutex;

use super::Credentials;
use crate::Error;

const CONNECT: Duration = Duration::from_secs(5);
const REQUEST: Duration = Duration::from_secs(30);

/// Connections, and what this node shows on them.
pub(super) struct Door {
    pub credentials: Arc<Credentials>,
    pub client: Client,
    pub token: Mutex<Option<Token>>,
}

pub(super) struct Token {
    pub text: String,
    /// Of which server.
    pub url: String,
    pub good_until_s: u64,
}

impl Door {
    /// Without any connection yet. Fails if the credentials cannot be used.
    pub(super) fn new(credentials: Arc<Credentials>) -> Result<Self, Error> {
        let client = Client::builder()
            .tls_backend_preconfigured(credentials.tls()?)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(REQUEST)
            .build()
            .map_err(|error| Error::Unexpected(error.to_string()))?;
        Ok(Self { credentials, client, token: Mutex::new(None) })
    }
}
