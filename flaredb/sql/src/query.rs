//! One query from text to rows.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, SchemaRef},
};
use datafusion::{
    common::ParamValues,
    execution::{SendableRecordBatchStream, SessionState, TaskContext},
    logical_expr::LogicalPlan,
    physical_plan::execute_stream,
    prelude::SQLOptions,
    scalar::ScalarValue,
    sql::{parser::Statement as EngineStatement, sqlparser::ast},
};
use flaredb_core::SqlState;
use futures::StreamExt as _;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::AbortHandle,
    time::{Instant, timeout_at},
};

use crate::{Budget, Engine, Error, OutputColumn, Snapshot, columns};

/// Batches that wait for a slow reader.
const WAITING: usize = 2;
/// As many as PostgreSQL's protocol can carry.
const MAX_PARAMETERS: usize = 65_535;

/// What a query takes and gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// The type of each parameter, where the query tells.
    pub parameters: Vec<Option<DataType>>,
    pub columns: Vec<OutputColumn>,
}

/// Makes the values of a query's parameters once their types are known; they are cast to them.
pub type MakeValues = Box<dyn FnOnce(&[Option<DataType>]) -> Result<Vec<ScalarValue>, Error> + Send>;

/// The rows of a running query. Dropping it ends the query.
pub struct Rows {
    pub columns: Arc<[OutputColumn]>,
    pub schema: SchemaRef,
    parts: mpsc::Receiver<Part>,
    task: AbortHandle,
    deadline: Instant,
    ended: bool,
}

/// What the query's task sends. An end is said: a task that dies without it must not look like fewer rows.
enum Part {
    Batch(RecordBatch),
    Failed(Error),
    End,
}

impl Engine {
    /// Plans `statement` without running it.
    pub async fn describe(&self, snapshot: Snapshot, statement: &ast::Statement) -> Result<Described, Error> {
        let state = self.session(&snapshot)?;
        let statement = statement.clone();
        let planned = self.threads()?.spawn(async move {
            let plan = plan(&state, statement).await?;
            // The optimizer knows types that the first plan leaves open.
            let columns = plan.schema().fields().iter().map(|field| OutputColumn::of(field)).collect();
            Ok(Described { parameters: parameters(&plan)?, columns })
        });
        match tokio::time::timeout(self.limits().budget.time, planned).await {
            Ok(Ok(described)) => described,
            Ok(Err(_)) => Err(died()),
            Err(_) => Err(too_slow()),
        }
    }

    /// Runs `statement` on `snapshot` with values for its parameters.
    pub async fn query(
        &self,
        snapshot: Snapshot,
        statement: &ast::Statement,
        values: MakeValues,
        budget: Budget,
    ) -> Result<Rows, Error> {
        let deadline = Instant::now() + budget.time;
        let state = self.session(&snapshot)?;
        let (head, planned) = oneshot::channel();
        let (sender, parts) = mpsc::channel(WAITING);
        let run = Run { state, statement: statement.clone(), values, budget, deadline, permits: self.permits() };
        let task = self.threads()?.spawn(run.run(head, sender)).abort_handle();
        let rows = |schema: SchemaRef| {
            let columns = schema.fields().iter().map(|field| OutputColumn::of(field)).collect();
            Rows { columns, schema, parts, task: task.clone(), deadline, ended: false }
        };
        match timeout_at(deadline, planned).await {
            Ok(Ok(planned)) => planned.map(rows),
            Ok(Err(_)) => Err(died()),
            Err(_) => {
                task.abort();
                Err(too_slow())
            }
        }
    }
}

impl Rows {
    /// The next batch; none after the last one.
    pub async fn next(&mut self) -> Option<Result<RecordBatch, Error>> {
        if self.ended {
            return None;
        }
        // The task watches the time too, but an operator that computes for long does not let it look.
        let error = match timeout_at(self.deadline, self.parts.recv()).await {
            Ok(Some(Part::Batch(batch))) => return Some(Ok(batch)),
            Ok(Some(Part::End)) => None,
            Ok(Some(Part::Failed(error))) => Some(error),
            Ok(None) => Some(died()),
            Err(_) => Some(too_slow()),
        };
        self.ended = true;
        self.task.abort();
        error.map(Err)
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A query in its task.
struct Run {
    state: SessionState,
    statement: ast::Statement,
    values: MakeValues,
    budget: Budget,
    deadline: Instant,
    permits: Arc<Semaphore>,
}

impl Run {
    async fn run(self, head: oneshot::Sender<Result<SchemaRef, Error>>, parts: mpsc::Sender<Part>) {
        let (deadline, budget) = (self.deadline, self.budget);
        // The permit is held until the last row is taken.
        let Ok(Ok(_permit)) = timeout_at(deadline, self.permits.clone().acquire_owned()).await else {
            let _ = head.send(Err(too_slow().hint("The server is busy with other queries.")));
            return;
        };
        let started = match timeout_at(deadline, self.start()).await {
            Ok(started) => started,
            Err(_) => Err(too_slow()),
        };
        let stream = match started {
            Ok(stream) => stream,
            Err(error) => {
                let _ = head.send(Err(error));
                return;
            }
        };
        if head.send(Ok(stream.schema())).is_err() {
            return;
        }
        let last = match timeout_at(deadline, send_all(stream, budget, &parts)).await {
            Ok(Ok(())) => Part::End,
            Ok(Err(error)) => Part::Failed(error),
            Err(_) => Part::Failed(too_slow()),
        };
        // A reader that is gone needs no end.
        let _ = parts.send(last).await;
    }

    async fn start(self) -> Result<SendableRecordBatchStream, Error> {
        let mut logical = plan(&self.state, self.statement).await?;
        let wanted = parameters(&logical)?;
        let values = (self.values)(&wanted)?;
        if wanted.len() != values.len() {
            let message = format!("the statement takes {} parameters, {} were given", wanted.len(), values.len());
            return Err(Error::new(SqlState::ProtocolViolation, message));
        }
        if !wanted.is_empty() {
            let values: Result<Vec<_>, Error> = values.into_iter().zip(wanted).map(cast).collect();
            logical = logical.with_param_values(ParamValues::from(values?))?;
        }
        let physical = self.state.create_physical_plan(&logical).await?;
        Ok(execute_stream(physical, Arc::new(TaskContext::from(&self.state)))?)
    }
}

async fn plan(state: &SessionState, statement: ast::Statement) -> Result<LogicalPlan, Error> {
    let plan = state.statement_to_plan(EngineStatement::Statement(Box::new(statement))).await?;
    // The classification of statements allows only queries; this holds even where it should be wrong.
    let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    read_only.verify_plan(&plan).map_err(|error| Error::unsupported(Error::from(error).message))?;
    Ok(plan)
}

/// The types of `$1`, `$2`, … as far as the query tells.
fn parameters(plan: &LogicalPlan) -> Result<Vec<Option<DataType>>, Error> {
    let found: HashMap<String, Option<DataType>> = plan.get_parameter_types()?;
    let mut types = Vec::new();
    for (name, kind) in found {
        let number = name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok()).unwrap_or(0);
        if !(1..=MAX_PARAMETERS).contains(&number) {
            return Err(Error::new(SqlState::UndefinedParameter, format!("there is no parameter {name}")));
        }
        if types.len() < number {
            types.resize(number, None);
        }
        if let Some(slot) = types.get_mut(number - 1) {
            *slot = kind;
        }
    }
    Ok(types)
}

fn cast((value, kind): (ScalarValue, Option<DataType>)) -> Result<ScalarValue, Error> {
    match kind {
        Some(kind) if value.data_type() != kind => Ok(value.cast_to(&kind)?),
        _ => Ok(value),
    }
}

async fn send_all(
    mut stream: SendableRecordBatchStream,
    budget: Budget,
    parts: &mpsc::Sender<Part>,
) -> Result<(), Error> {
    let (mut rows, mut bytes) = (0_u64, 0_u64);
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        rows = rows.saturating_add(batch.num_rows() as u64);
        bytes = bytes.saturating_add(batch.get_array_memory_size() as u64);
        if rows > budget.rows {
            let message = format!("the result has more than {} rows", budget.rows);
            return Err(Error::new(SqlState::ProgramLimitExceeded, message).hint("Add a LIMIT or narrow the query."));
        }
        if bytes > budget.bytes {
            let message = format!("the result has more than {} bytes", budget.bytes);
            return Err(Error::new(SqlState::ProgramLimitExceeded, message).hint("Select fewer columns or rows."));
        }
        if batch.num_rows() > 0 && parts.send(Part::Batch(batch)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn too_slow() -> Error {
    Error::new(SqlState::QueryCanceled, "canceling statement due to statement timeout")
}

fn died() -> Error {
    Error::new(SqlState::InternalError, "the query ended without a result")
}

/// A parameter given as text, for a parameter of type `kind`; unknown types take the text as it is.
pub fn parameter_from_text(text: Option<String>, kind: Option<&DataType>) -> Result<ScalarValue, Error> {
    let Some(text) = text else { return Ok(ScalarValue::Null) };
    let bad = |what: &str| {
        let shown: String = text.chars().take(64).collect();
        Error::new(SqlState::InvalidTextRepresentation, format!("invalid input for type {what}: \"{shown}\""))
    };
    match kind {
        None => Ok(ScalarValue::Utf8(Some(text))),
        Some(DataType::Boolean) => match text.to_ascii_lowercase().as_str() {
            "t" | "true" | "on" | "yes" | "y" | "1" => Ok(ScalarValue::Boolean(Some(true))),
            "f" | "false" | "off" | "no" | "n" | "0" => Ok(ScalarValue::Boolean(Some(false))),
            _ => Err(bad("BOOLEAN")),
        },
        Some(DataType::Binary | DataType::LargeBinary | DataType::BinaryView) => {
            let bytes = text.strip_prefix("\\x").and_then(|digits| hex::decode(digits).ok());
            Ok(ScalarValue::Binary(Some(bytes.ok_or_else(|| bad("BYTEA"))?)))
        }
        Some(kind) => {
            let name = columns::sql_type(kind).map_or_else(|| kind.to_string(), |known| known.sql().to_owned());
            ScalarValue::try_from_string(text.clone(), kind).map_err(|_| bad(&name))
        }
    }
}
