//! Asking about tokens is what services do for each of their own requests, so whoever asks most must not be able to take
//! the server from the others.

use std::net::{IpAddr, SocketAddr};

use holdfast_rpc::{Rate, RateLimit, Wait};
use iam_client::Caller;

use crate::{
    Error, Iam,
    guess_limit::{Target, network},
};

/// Clients behind one address, as far as they have not proved who they are.
const CLIENTS_OF_A_SOURCE: u32 = 10;

/// How often clients and addresses may ask.
pub(crate) struct IntrospectionLimit {
    clients: RateLimit<String>,
    sources: RateLimit<IpAddr>,
}

impl IntrospectionLimit {
    pub(crate) fn new(client: Rate) -> Self {
        Self { clients: RateLimit::new(client), sources: RateLimit::new(client.times(CLIENTS_OF_A_SOURCE)) }
    }
}

impl Iam {
    /// Counts one question from an address, before anything is looked at.
    pub(crate) fn introspection_from(&self, source: Option<SocketAddr>) -> Result<(), Error> {
        let Some(source) = source else { return Ok(()) };
        self.turn(self.0.introspections.sources.take(network(source.ip()), self.0.clock.steady_ms()))
    }

    /// Whether it is the turn of whoever says that this access key is his, before a login is recorded for him.
    pub(crate) fn introspection_claimed_by(&self, access_key: &str) -> Result<(), Error> {
        let Target::Principal(owner) = self.0.guessed_at(access_key)? else { return Ok(()) };
        self.turn(self.0.introspections.clients.check(&client(&owner.into()), self.0.clock.steady_ms()))
    }

    /// Counts one question of a client.
    pub(crate) fn introspection_by(&self, asking: &Caller) -> Result<(), Error> {
        self.turn(self.0.introspections.clients.take(client(asking), self.0.clock.steady_ms()))
    }

    fn turn(&self, turn: Result<(), Wait>) -> Result<(), Error> {
        turn.map_err(|Wait { seconds }| {
            self.0.metrics.introspections_refused.inc();
            Error::TooOften { retry_after_s: seconds }
        })
    }
}

fn client(caller: &Caller) -> String {
    caller.to_string()
}
