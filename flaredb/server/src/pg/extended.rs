use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use flaredb_core::SqlState;
use flaredb_sql::{Error, Statement};
use futures::Sink;
use pgwire::{
    api::{
        ClientInfo, ClientPortalStore, Type,
        portal::{Format, Portal},
        query::ExtendedQueryHandler,
        results::{FieldInfo, Response},
        stmt::QueryParser,
        store::PortalStore,
    },
    error::{PgWireError, PgWireResult},
    messages::PgWireBackendMessage,
};

use super::{
    parameter::{Bound, wanted_type},
    session::{Prepared, Session, fields},
    wire_error,
};

/// Parses and describes statements of the extended protocol, by this server's catalog.
pub(super) struct Parser {
    session: Session,
}

impl Session {
    /// A parser that shares this session's login.
    fn parser(&self) -> Parser {
        let session = Session::new(self.shared(), self.source());
        if let Some(identity) = self.identity() {
            session.set_identity(identity.clone());
        }
        Parser { session }
    }
}

#[async_trait]
impl QueryParser for Parser {
    type Statement = Prepared;

    async fn parse_sql<C>(&self, _: &C, sql: &str, _: &[Option<Type>]) -> PgWireResult<Option<Prepared>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        self.session.authorize()?;
        let mut statements = self.session.parse(sql)?;
        let Some(statement) = statements.pop() else { return Ok(None) };
        if !statements.is_empty() {
            let message = "cannot insert multiple commands into a prepared statement";
            return Err(wire_error(Error::new(SqlState::SyntaxError, message)));
        }
        let described = Arc::new(self.session.describe(&statement).await?);
        Ok(Some(Prepared { statement: Arc::new(statement), described }))
    }

    fn get_parameter_types(&self, prepared: &Prepared) -> PgWireResult<Vec<Type>> {
        Ok(prepared.described.parameters.iter().map(|kind| wanted_type(kind.as_ref())).collect())
    }

    fn get_result_schema(&self, prepared: &Prepared, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        let format = format.unwrap_or(&Format::UnifiedText);
        Ok(Arc::unwrap_or_clone(fields(&prepared.described.columns, format)))
    }
}

#[async_trait]
impl ExtendedQueryHandler for Session {
    type Statement = Prepared;
    type QueryParser = Parser;

    fn query_parser(&self) -> Arc<Parser> {
        Arc::new(self.parser())
    }

    async fn do_query<C>(&self, client: &mut C, portal: &Portal<Prepared>, _: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        self.authorize()?;
        let prepared = &portal.statement.statement;
        let (status, format) = (client.transaction_status(), &portal.result_column_format);
        self.check_transaction(&prepared.statement, status).map_err(wire_error)?;
        match prepared.statement.as_ref() {
            Statement::Session(session) => self.run_session(session, status, format).map_err(wire_error),
            Statement::Read(read) => {
                let bound = Bound::of(portal);
                self.run_read(read, Box::new(move |wanted| bound.values(wanted)), format).await
            }
        }
    }
}
