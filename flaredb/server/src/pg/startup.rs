use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use flaredb_core::{SqlState, catalog::DATABASE};
use futures::{Sink, SinkExt as _};
use holdfast_rpc::Connection;
use iam_client::Refusal;
use pgwire::{
    api::{
        ClientInfo, METADATA_DATABASE, METADATA_USER, PgWireConnectionState, PidSecretKeyGenerator as _,
        RandomPidSecretKeyGenerator,
        auth::{
            DefaultServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
            save_startup_parameters_to_metadata,
        },
    },
    error::{PgWireError, PgWireResult},
    messages::{PgWireBackendMessage, PgWireFrontendMessage, startup::Authentication},
};

use super::{fatal, session::Session, settings};
use crate::{READ_ACTION, READ_RESOURCE};

#[async_trait]
impl StartupHandler for Session {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match message {
            PgWireFrontendMessage::Startup(startup) => {
                protocol_negotiation(client, &startup).await?;
                save_startup_parameters_to_metadata(client, &startup);
                self.check_startup(client)?;
                client.set_state(PgWireConnectionState::AuthenticationInProgress);
                let ask = PgWireBackendMessage::Authentication(Authentication::CleartextPassword);
                Ok(client.send(ask).await?)
            }
            PgWireFrontendMessage::PasswordMessageFamily(password)
                if matches!(client.state(), PgWireConnectionState::AuthenticationInProgress) =>
            {
                let password = password.into_password()?;
                let user = client.metadata().get(METADATA_USER).cloned().unwrap_or_default();
                let shown = client.client_certificates().unwrap_or_default();
                let certificates = shown.iter().map(|certificate| Arc::from(certificate.as_ref())).collect();
                let from = Connection { source: self.source(), certificates };
                self.log_in(&user, &password.password, &from).await?;
                let (number, secret) = RandomPidSecretKeyGenerator::default().generate(client);
                let number = self.number(number);
                self.set_cancelled(self.server().cancellations.register(number, &secret));
                client.set_pid_and_secret_key(number, secret);
                finish_authentication(client, &parameters()).await
            }
            _ => Err(fatal(SqlState::ProtocolViolation, "a login is expected")),
        }
    }
}

impl Session {
    fn check_startup<C: ClientInfo>(&self, client: &C) -> PgWireResult<()> {
        if !self.server().takes_password(client.is_secure(), self.source()) {
            let message = "the connection must use TLS (sslmode=require or better)";
            return Err(fatal(SqlState::InvalidAuthorization, message));
        }
        let metadata = client.metadata();
        let Some(user) = metadata.get(METADATA_USER) else {
            return Err(fatal(SqlState::InvalidAuthorization, "a user name is required"));
        };
        // PostgreSQL takes the user's name for the database's where none is given; libpq does the same.
        match metadata.get(METADATA_DATABASE) {
            Some(database) if database != DATABASE && database != user => {
                let message =
                    format!("database \"{}\" does not exist: the database is {DATABASE}", database.escape_debug());
                Err(fatal(SqlState::InvalidSchemaName, message))
            }
            _ => Ok(()),
        }
    }

    async fn log_in(&self, user: &str, password: &str, from: &Connection) -> PgWireResult<()> {
        let login = &self.server().login;
        let identity = login.login(user, password, from).await.map_err(|refusal| refused(&refusal))?;
        login.authorize(&identity, READ_ACTION, READ_RESOURCE).map_err(|refusal| refused(&refusal))?;
        self.set_identity(identity);
        Ok(())
    }
}

/// One text for every cause of a failed login.
fn refused(refusal: &Refusal) -> PgWireError {
    match refusal {
        Refusal::Anonymous | Refusal::Unauthenticated => fatal(SqlState::InvalidPassword, "authentication failed"),
        Refusal::Denied { .. } => fatal(SqlState::InsufficientPrivilege, refusal.to_string()),
        Refusal::SlowDown { .. } => fatal(SqlState::TooManyConnections, refusal.to_string()),
        Refusal::Unavailable(_) => fatal(SqlState::CannotConnectNow, refusal.to_string()),
    }
}

fn parameters() -> DefaultServerParameterProvider {
    let mut parameters = DefaultServerParameterProvider::default();
    parameters.server_version = settings::server_version();
    parameters.is_superuser = false;
    parameters.default_transaction_read_only = true;
    parameters.time_zone = "UTC".to_owned();
    parameters
}
