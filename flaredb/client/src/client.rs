use std::time::Duration;

use holdfast_proto::flaredb::{
    self as proto, MigrateResponse, StatusResponse, flaredb_client::FlaredbClient, query_response::Part,
};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use crate::{Rows, Table};

/// What went wrong with a call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}", .0.message())]
    Server(Box<Status>),
    /// The server sent what `flaredb.v1` does not allow.
    #[error("unexpected answer: {0}")]
    Protocol(String),
    #[error("the token cannot be sent in a header")]
    Token,
}

/// A connection to one server. Clones share it.
#[derive(Clone)]
pub struct Client {
    inner: FlaredbClient<Channel>,
    token: Option<MetadataValue<Ascii>>,
}

/// One read-only statement.
#[derive(Clone, Debug, Default)]
pub struct Query {
    sql: String,
    parameters: Vec<Option<String>>,
    local: bool,
    max_rows: u64,
    timeout: Duration,
}

impl Query {
    pub fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), ..Self::default() }
    }

    /// The value of the next parameter, as text; none is NULL.
    #[must_use]
    pub fn bind(mut self, text: Option<impl Into<String>>) -> Self {
        self.parameters.push(text.map(Into::into));
        self
    }

    /// Reads what the asked server has applied, without a quorum.
    #[must_use]
    pub fn local(mut self) -> Self {
        self.local = true;
        self
    }

    /// Fails if there are more rows.
    #[must_use]
    pub fn max_rows(mut self, rows: u64) -> Self {
        self.max_rows = rows;
        self
    }

    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn into_proto(self) -> proto::QueryRequest {
        let consistency = if self.local { proto::Consistency::Local } else { proto::Consistency::Strong };
        proto::QueryRequest {
            sql: self.sql,
            consistency: consistency.into(),
            format: proto::RowFormat::Json.into(),
            parameters: self.parameters.into_iter().map(|text| proto::Parameter { text }).collect(),
            max_rows: self.max_rows,
            timeout_ms: u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl Client {
    pub fn new(channel: Channel) -> Self {
        Self { inner: FlaredbClient::new(channel), token: None }
    }

    /// Sends `token` with every call.
    pub fn with_token(mut self, token: &str) -> Result<Self, Error> {
        let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(|_| Error::Token)?;
        value.set_sensitive(true);
        self.token = Some(value);
        Ok(self)
    }

    /// Starts a query; its rows are a stream.
    pub async fn query(&self, query: Query) -> Result<Rows, Error> {
        let mut answers = self.inner.clone().query(self.request(query.into_proto())).await?.into_inner();
        match answers.message().await?.and_then(|answer| answer.part) {
            Some(Part::Columns(columns)) => Ok(Rows::new(columns, answers)),
            _ => Err(Error::Protocol("rows before their columns".to_owned())),
        }
    }

    /// Runs a query and collects its rows; for results that are known to be small.
    pub async fn table(&self, query: Query) -> Result<Table, Error> {
        self.query(query).await?.collect().await
    }

    pub async fn status(&self) -> Result<StatusResponse, Error> {
        Ok(self.inner.clone().status(self.request(proto::StatusRequest {})).await?.into_inner())
    }

    /// Plans or applies one migration file.
    pub async fn migrate(&self, file_name: &str, text: &str, dry_run: bool) -> Result<MigrateResponse, Error> {
        let request = proto::MigrateRequest { file_name: file_name.to_owned(), text: text.to_owned(), dry_run };
        Ok(self.inner.clone().migrate(self.request(request)).await?.into_inner())
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        request
    }
}

impl Error {
    /// The SQLSTATE of a refused statement.
    pub fn sqlstate(&self) -> Option<&str> {
        let Self::Server(status) = self else { return None };
        status.message().strip_prefix("SQLSTATE ")?.get(..5)
    }

    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Server(status) => Some(status.code()),
            Self::Protocol(_) | Self::Token => None,
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Server(Box::new(status))
    }
}
