//! The PostgreSQL wire protocol, for psql, drivers and Grafana: queries only.
//!
//! The user is a principal, the password a token or a credential's secret, and it is asked for only inside TLS, or on
//! loopback where the configuration allows that. Nothing runs before a login, each statement is authorized anew, and the
//! session ends when what it logged in with does.

mod cancel;
mod connection;
mod encode;
mod extended;
mod incoming;
mod listener;
mod login;
mod parameter;
mod session;
mod settings;
mod startup;

pub use listener::{PgConfig, serve};
pub use login::{AuthorityLogin, SqlLogin};

use flaredb_sql::Error;
use pgwire::error::{ErrorInfo, PgWireError};

/// An error as the protocol carries it.
fn wire_error(error: Error) -> PgWireError {
    let mut info = ErrorInfo::new("ERROR".to_owned(), error.state.code().to_owned(), error.message);
    info.hint = error.hint;
    info.position = error.position.map(|position| position.to_string());
    PgWireError::UserError(Box::new(info))
}

/// An error that ends the connection.
fn fatal(state: flaredb_core::SqlState, message: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("FATAL".to_owned(), state.code().to_owned(), message.into())))
}
