use std::{
    fmt::Debug,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI32, Ordering},
    },
};

use async_trait::async_trait;
use datafusion::{arrow::datatypes::DataType, scalar::ScalarValue, sql::sqlparser::ast};
use flaredb_core::{ColumnType, SqlState};
use flaredb_sql::{Described, Error, MakeValues, OutputColumn, Rows, Session as SessionStatement, Statement, parse};
use futures::{Sink, StreamExt as _, stream};
use iam_client::{Identity, Refusal};
use pgwire::{
    api::{
        ClientInfo, ClientPortalStore,
        portal::Format,
        query::SimpleQueryHandler,
        results::{FieldInfo, QueryResponse, Response, Tag},
        store::PortalStore,
    },
    error::{PgWireError, PgWireResult},
    messages::{PgWireBackendMessage, response::TransactionStatus},
};
use tokio::sync::Notify;

use super::{cancel::Cancelled, encode, fatal, listener::Server, settings, wire_error};
use crate::{Consistency, READ_ACTION, READ_RESOURCE};

/// One client's session; also the handler of its messages.
pub(super) struct Session {
    server: Arc<Server>,
    source: SocketAddr,
    identity: OnceLock<Identity>,
    cancelled: OnceLock<Cancelled>,
}

/// A prepared statement.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) statement: Arc<Statement>,
    pub(super) described: Arc<Described>,
}

impl Session {
    pub(super) fn new(server: Arc<Server>, source: SocketAddr) -> Self {
        Self { server, source, identity: OnceLock::new(), cancelled: OnceLock::new() }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    pub(super) fn shared(&self) -> Arc<Server> {
        self.server.clone()
    }

    pub(super) fn source(&self) -> SocketAddr {
        self.source
    }

    pub(super) fn identity(&self) -> Option<&Identity> {
        self.identity.get()
    }

    /// A login happens once: the state of the connection leaves no second one.
    pub(super) fn set_identity(&self, identity: Identity) {
        let _ = self.identity.set(identity);
    }

    pub(super) fn set_cancelled(&self, cancelled: Cancelled) {
        let _ = self.cancelled.set(cancelled);
    }

    /// A session number for clients to show, unique for a long time.
    pub(super) fn number(&self, first: i32) -> i32 {
        static NEXT: AtomicI32 = AtomicI32::new(0);
        first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    fn cancel_signal(&self) -> Arc<Notify> {
        self.cancelled.get().map(Cancelled::notify).unwrap_or_default()
    }

    /// Before each statement: rights may have changed since the login, and the login itself may be over.
    pub(super) fn authorize(&self) -> PgWireResult<()> {
        let Some(identity) = self.identity() else {
            return Err(fatal(SqlState::InvalidAuthorization, "authentication is required"));
        };
        let refusal = match self.server.login.authorize(identity, READ_ACTION, READ_RESOURCE) {
            Ok(()) => return Ok(()),
            Err(refusal) => refusal,
        };
        let state = match refusal {
            Refusal::Anonymous | Refusal::Unauthenticated => {
                let message = "the login of this session is over: its token or credential expired or was revoked";
                return Err(fatal(SqlState::InvalidAuthorization, message));
            }
            Refusal::Denied { .. } => SqlState::InsufficientPrivilege,
            Refusal::SlowDown { .. } => SqlState::TooManyConnections,
            Refusal::Unavailable(_) => SqlState::CannotConnectNow,
        };
        Err(wire_error(Error::new(state, refusal.to_string())))
    }

    pub(super) fn parse(&self, sql: &str) -> PgWireResult<Vec<Statement>> {
        let limit = self.server.flaredb.config().limits.statement_bytes;
        if sql.len() > limit {
            let message = format!("a statement has at most {limit} bytes");
            return Err(wire_error(Error::new(SqlState::ProgramLimitExceeded, message)));
        }
        parse(sql).map_err(wire_error)
    }

    pub(super) async fn describe(&self, statement: &Statement) -> PgWireResult<Described> {
        match statement {
            Statement::Read(read) => self.server.flaredb.describe(read).await.map_err(wire_error),
            Statement::Session(SessionStatement::Show(name)) => {
                Ok(Described { parameters: Vec::new(), columns: vec![show_column(name)] })
            }
            Statement::Session(_) => Ok(Described { parameters: Vec::new(), columns: Vec::new() }),
        }
    }

    /// What a session statement does.
    pub(super) fn run_session(
        &self,
        statement: &SessionStatement,
        status: TransactionStatus,
        format: &Format,
    ) -> Result<Response, Error> {
        use SessionStatement as S;
        let failed = matches!(status, TransactionStatus::Error);
        Ok(match statement {
            S::Begin => Response::TransactionStart(Tag::new("BEGIN")),
            S::Commit if failed => Response::TransactionEnd(Tag::new("ROLLBACK")),
            S::Commit => Response::TransactionEnd(Tag::new("COMMIT")),
            S::Rollback => Response::TransactionEnd(Tag::new("ROLLBACK")),
            S::Set { name, value } => {
                settings::set(name, value)?;
                Response::Execution(Tag::new("SET"))
            }
            S::Reset => Response::Execution(Tag::new("RESET")),
            S::Forget(tag) => Response::Execution(Tag::new(tag)),
            S::Show(name) => {
                let (value, columns) = (settings::show(name)?, [show_column(name)]);
                let row = encode::text_row(&value);
                let mut response = QueryResponse::new(fields(&columns, format), stream::iter([Ok(row)]));
                response.set_command_tag("SHOW");
                Response::Query(response)
            }
        })
    }

    /// Starts a query; its rows follow at the client's pace, until it cancels.
    pub(super) async fn run_read(
        &self,
        statement: &ast::Statement,
        values: MakeValues,
        format: &Format,
    ) -> PgWireResult<Response> {
        let (flaredb, signal) = (&self.server.flaredb, self.cancel_signal());
        let budget = flaredb.config().limits.budget;
        let (rows, _) = tokio::select! {
            started = flaredb.query(statement, values, Consistency::Strong, budget) => started.map_err(wire_error)?,
            () = signal.notified() => return Err(cancelled()),
        };
        let fields = fields(&rows.columns, format);
        Ok(Response::Query(QueryResponse::new(fields, data_rows(rows, format.clone(), signal))))
    }

    /// Refuses what a failed transaction does not run.
    pub(super) fn check_transaction(&self, statement: &Statement, status: TransactionStatus) -> Result<(), Error> {
        use SessionStatement as S;
        let ends = matches!(statement, Statement::Session(S::Commit | S::Rollback));
        if matches!(status, TransactionStatus::Error) && !ends {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(Error::new(SqlState::InFailedSqlTransaction, message));
        }
        Ok(())
    }
}

#[async_trait]
impl SimpleQueryHandler for Session {
    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        self.authorize()?;
        let statements = self.parse(query)?;
        if statements.is_empty() {
            return Ok(vec![Response::EmptyQuery]);
        }
        // Several queries of one message would all run at once, each waiting for the reader of the one before.
        if statements.iter().filter(|statement| matches!(statement, Statement::Read(_))).count() > 1 {
            let message = "several queries in one message are not supported";
            return Err(wire_error(Error::new(SqlState::FeatureNotSupported, message).hint("Send them one by one.")));
        }
        let format = Format::UnifiedText;
        let mut status = client.transaction_status();
        let mut responses = Vec::with_capacity(statements.len());
        for statement in &statements {
            self.check_transaction(statement, status).map_err(wire_error)?;
            let response = match statement {
                Statement::Session(session) => self.run_session(session, status, &format).map_err(wire_error)?,
                Statement::Read(read) => self.run_read(read, Box::new(no_values), &format).await?,
            };
            match &response {
                Response::TransactionStart(_) => status = TransactionStatus::Transaction,
                Response::TransactionEnd(_) => status = TransactionStatus::Idle,
                _ => {}
            }
            responses.push(response);
        }
        Ok(responses)
    }
}

fn no_values(wanted: &[Option<DataType>]) -> Result<Vec<ScalarValue>, Error> {
    match wanted.len() {
        0 => Ok(Vec::new()),
        count => Err(Error::new(SqlState::UndefinedParameter, format!("there is no parameter ${count}"))),
    }
}

fn show_column(name: &str) -> OutputColumn {
    OutputColumn { name: name.to_owned(), kind: Some(ColumnType::Text), arrow: DataType::Utf8 }
}

pub(super) fn fields(columns: &[OutputColumn], format: &Format) -> Arc<Vec<FieldInfo>> {
    let field = |(at, column): (usize, &OutputColumn)| {
        FieldInfo::new(column.name.clone(), None, None, encode::wire_type(column.kind), encode::format_of(format, at))
    };
    Arc::new(columns.iter().enumerate().map(field).collect())
}

type DataRows = stream::BoxStream<'static, PgWireResult<pgwire::messages::data::DataRow>>;

/// The rows in the protocol's form, batch by batch.
fn data_rows(rows: Rows, format: Format, signal: Arc<Notify>) -> DataRows {
    let batches = stream::unfold(Some((rows, signal)), move |state| {
        let format = format.clone();
        async move {
            let (mut rows, signal) = state?;
            let batch = tokio::select! {
                batch = rows.next() => batch?,
                () = signal.notified() => return Some((vec![Err(cancelled())], None)),
            };
            match batch.and_then(|batch| encode::data_rows(&batch, &rows.columns, &format)) {
                Ok(encoded) => Some((encoded.into_iter().map(Ok).collect(), Some((rows, signal)))),
                Err(error) => Some((vec![Err(wire_error(error))], None)),
            }
        }
    });
    batches.flat_map(stream::iter).boxed()
}

fn cancelled() -> PgWireError {
    wire_error(Error::new(SqlState::QueryCanceled, "canceling statement due to user request"))
}

impl Debug for Prepared {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Prepared").field("described", &self.described).finish_non_exhaustive()
    }
}
