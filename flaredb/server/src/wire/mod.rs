//! Protobuf messages of `flaredb.v1` from and to domain types.

mod json;
mod status;

pub(crate) use json::JsonChunks;
pub(crate) use status::{members, status};

use flaredb_core::Phase;
use flaredb_sql::OutputColumn;
use holdfast_proto::flaredb as proto;

use crate::{Consistency, Migration, Outcome};

/// Rows of one message stay below this, so that any client's default limit takes them.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;

/// An unknown value of an enum comes from a newer client: it asks for something that this server cannot do.
pub(crate) fn consistency(value: i32) -> Option<Consistency> {
    match proto::Consistency::try_from(value).ok()? {
        proto::Consistency::Strong => Some(Consistency::Strong),
        proto::Consistency::Local => Some(Consistency::Local),
    }
}

pub(crate) fn columns(columns: &[OutputColumn], applied_index: u64) -> proto::QueryResponse {
    let column = |column: &OutputColumn| proto::Column { name: column.name.clone(), r#type: column.type_name() };
    let columns = columns.iter().map(column).collect();
    let part = proto::query_response::Part::Columns(proto::Columns { columns, applied_index });
    proto::QueryResponse { part: Some(part) }
}

pub(crate) fn json_rows(rows: Vec<String>) -> proto::QueryResponse {
    proto::QueryResponse { part: Some(proto::query_response::Part::Json(proto::JsonRows { rows })) }
}

pub(crate) fn arrow_ipc(bytes: Vec<u8>) -> proto::QueryResponse {
    proto::QueryResponse { part: Some(proto::query_response::Part::ArrowIpc(bytes.into())) }
}

pub(crate) fn migration(migration: Migration) -> proto::MigrateResponse {
    let outcome = match migration.outcome {
        Outcome::Planned => proto::MigrationOutcome::Planned,
        Outcome::Applied => proto::MigrationOutcome::Applied,
        Outcome::AlreadyApplied => proto::MigrationOutcome::AlreadyApplied,
    };
    proto::MigrateResponse {
        number: migration.file.number,
        checksum: migration.file.checksum_hex(),
        phase: Phase::as_str(migration.file.phase).to_owned(),
        name: migration.file.name,
        outcome: outcome.into(),
        steps: migration.steps,
    }
}
