use std::{pin::Pin, time::Duration};

use arrow::{array::RecordBatch, ipc::writer::StreamWriter};
use chainfire_core::Origin;
use datafusion::{arrow::datatypes::DataType, scalar::ScalarValue};
use flaredb_core::{MigrationFile, MigrationSet, SqlState};
use flaredb_sql::{Error, OutputColumn, Rows, Statement, parameter_from_text, parse};
use futures::Stream;
use holdfast_proto::flaredb::{self as proto, RowFormat, flaredb_server};
use iam_client::Identity;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

use crate::{Flaredb, answer::rpc, wire};

/// `flaredb.v1`.
#[derive(Clone)]
pub(crate) struct Grpc {
    flaredb: Flaredb,
}

impl Flaredb {
    /// The gRPC service, to be put into a router behind the IAM layer.
    pub fn grpc(&self) -> flaredb_server::FlaredbServer<impl flaredb_server::Flaredb> {
        flaredb_server::FlaredbServer::new(Grpc { flaredb: self.clone() })
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<proto::QueryResponse, Status>> + Send>>;

/// Answers that wait for a slow client, beside those that HTTP/2 takes.
const WAITING: usize = 2;

#[tonic::async_trait]
impl flaredb_server::Flaredb for Grpc {
    type QueryStream = Answers;

    async fn query(&self, request: Request<proto::QueryRequest>) -> Result<Response<Answers>, Status> {
        let request = request.into_inner();
        self.start(request).await.map(Response::new).map_err(status)
    }

    async fn execute(
        &self,
        request: Request<proto::ExecuteRequest>,
    ) -> Result<Response<proto::ExecuteResponse>, Status> {
        let origin = origin(&request)?;
        let sql = request.into_inner().sql;
        let migration = self.flaredb.execute(&origin, &sql).await.map_err(status)?;
        Ok(Response::new(proto::ExecuteResponse { migration: migration.file.number }))
    }

    async fn migrate(
        &self,
        request: Request<proto::MigrateRequest>,
    ) -> Result<Response<proto::MigrateResponse>, Status> {
        let origin = origin(&request)?;
        let request = request.into_inner();
        let file = MigrationFile::parse(&request.file_name, &request.text).map_err(|refusal| status(refusal.into()))?;
        let migration = self.flaredb.migrate(&origin, MigrationSet::Operator, file, request.dry_run).await;
        Ok(Response::new(wire::migration(migration.map_err(status)?)))
    }

    async fn status(&self, _: Request<proto::StatusRequest>) -> Result<Response<proto::StatusResponse>, Status> {
        wire::status(&self.flaredb).await.map(Response::new).map_err(status)
    }

    async fn member_list(
        &self,
        _: Request<proto::MemberListRequest>,
    ) -> Result<Response<proto::MemberListResponse>, Status> {
        Ok(Response::new(wire::members(&self.flaredb)))
    }
}

impl Grpc {
    async fn start(&self, request: proto::QueryRequest) -> Result<Answers, Error> {
        let limits = self.flaredb.config().limits;
        if request.sql.len() > limits.statement_bytes {
            let message = format!("a statement has at most {} bytes", limits.statement_bytes);
            return Err(Error::new(SqlState::ProgramLimitExceeded, message));
        }
        let unknown = |what: &str| Error::new(SqlState::FeatureNotSupported, format!("this {what} is not known here"));
        let consistency = wire::consistency(request.consistency).ok_or_else(|| unknown("consistency"))?;
        let format = RowFormat::try_from(request.format).map_err(|_| unknown("row format"))?;
        let statement = match <[Statement; 1]>::try_from(parse(&request.sql)?) {
            Ok([Statement::Read(statement)]) => statement,
            Ok([Statement::Session(_)]) => {
                let message = "each call is its own session: send queries only";
                return Err(Error::new(SqlState::FeatureNotSupported, message));
            }
            Err(_) => return Err(Error::new(SqlState::SyntaxError, "one statement is expected")),
        };
        let budget = limits.budget.at_most(request.max_rows, Duration::from_millis(request.timeout_ms));
        let parameters = request.parameters;
        let values = move |wanted: &[Option<DataType>]| values(parameters, wanted);
        let (rows, index) = self.flaredb.query(&statement, Box::new(values), consistency, budget).await?;
        Ok(answers(rows, index, format))
    }
}

fn values(parameters: Vec<proto::Parameter>, wanted: &[Option<DataType>]) -> Result<Vec<ScalarValue>, Error> {
    let kinds = wanted.iter().map(Option::as_ref).chain(std::iter::repeat(None));
    parameters.into_iter().zip(kinds).map(|(parameter, kind)| parameter_from_text(parameter.text, kind)).collect()
}

/// The rows in the asked format. The client's pace is the query's: what it does not take is not read.
fn answers(rows: Rows, index: u64, format: RowFormat) -> Answers {
    let (sender, mut receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        if let Err(error) = send(rows, index, format, &sender).await {
            // A client that is gone needs no error.
            let _ = sender.send(Err(status(error))).await;
        }
    });
    Box::pin(futures::stream::poll_fn(move |context| receiver.poll_recv(context)))
}

type Sender = mpsc::Sender<Result<proto::QueryResponse, Status>>;

async fn send(mut rows: Rows, index: u64, format: RowFormat, out: &Sender) -> Result<(), Error> {
    let columns = rows.columns.clone();
    if out.send(Ok(wire::columns(&columns, index))).await.is_err() {
        return Ok(());
    }
    let mut ipc = match format {
        RowFormat::Json => None,
        RowFormat::ArrowIpc => Some(StreamWriter::try_new(Vec::new(), &rows.schema)?),
    };
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        let messages = match &mut ipc {
            None => json(&batch, &columns)?,
            Some(writer) => arrow_ipc(&batch, writer)?,
        };
        for message in messages {
            if out.send(Ok(message)).await.is_err() {
                return Ok(());
            }
        }
    }
    if let Some(writer) = ipc {
        let _ = out.send(Ok(wire::arrow_ipc(writer.into_inner()?))).await;
    }
    Ok(())
}

fn json(batch: &RecordBatch, columns: &[OutputColumn]) -> Result<Vec<proto::QueryResponse>, Error> {
    wire::JsonChunks::new(batch, columns)?.map(|rows| rows.map(wire::json_rows)).collect()
}

/// The batch in parts that fit a message.
fn arrow_ipc(batch: &RecordBatch, writer: &mut StreamWriter<Vec<u8>>) -> Result<Vec<proto::QueryResponse>, Error> {
    let parts = batch.get_array_memory_size().div_ceil(wire::CHUNK_BYTES).max(1);
    let rows = batch.num_rows().div_ceil(parts).max(1);
    let mut messages = Vec::new();
    for start in (0..batch.num_rows()).step_by(rows) {
        writer.write(&batch.slice(start, rows.min(batch.num_rows() - start)))?;
        messages.push(wire::arrow_ipc(std::mem::take(writer.get_mut())));
    }
    Ok(messages)
}

fn origin<T>(request: &Request<T>) -> Result<Origin, Status> {
    // The layer in front lets nobody pass without an identity.
    let identity =
        request.extensions().get::<Identity>().ok_or_else(|| Status::unauthenticated("who calls is unknown"))?;
    Ok(identity.origin())
}

fn status(error: Error) -> Status {
    rpc(error).into()
}
