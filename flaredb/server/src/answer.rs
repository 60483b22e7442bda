//! Errors of the parts below in SQL's terms, and SQL's terms in those of the other doors: one place each.

use chainfire_raft::{ProposeError, ReadError};
use flaredb_core::SqlState;
use flaredb_sql::Error;
use holdfast_rpc::Kind;

pub(crate) fn not_proposed(error: ProposeError) -> Error {
    match error {
        ProposeError::NoLeader(reason) => unavailable(&reason),
        ProposeError::Stopped => Error::new(SqlState::CannotConnectNow, "this server is stopping"),
        ProposeError::Unknown(reason) => {
            Error::new(SqlState::TransactionResolutionUnknown, format!("the outcome is unknown: {reason}"))
        }
        ProposeError::TooLarge { size, limit } => {
            Error::new(SqlState::ProgramLimitExceeded, format!("the command has {size} bytes, {limit} are allowed"))
        }
    }
}

pub(crate) fn not_readable(error: ReadError) -> Error {
    match error {
        ReadError::NoLeader(reason) => unavailable(&reason).hint(LOCAL),
        error @ (ReadError::Timeout | ReadError::LeaderChanged | ReadError::Behind) => {
            unavailable(&error.to_string()).hint(LOCAL)
        }
        ReadError::Stopped => Error::new(SqlState::CannotConnectNow, "this server is stopping"),
    }
}

const LOCAL: &str = "Local reads still work: they show what this server has applied.";

fn unavailable(reason: &str) -> Error {
    Error::new(SqlState::CannotConnectNow, format!("the control plane has no quorum: {reason}"))
}

/// For gRPC and HTTP.
pub(crate) fn rpc(error: Error) -> holdfast_rpc::Error {
    let mut message = format!("SQLSTATE {}: {}", error.state, error.message);
    if let Some(position) = error.position {
        message.push_str(&format!(" (at character {position})"));
    }
    if let Some(hint) = error.hint {
        message.push_str(". ");
        message.push_str(&hint);
    }
    holdfast_rpc::Error::new(kind(error.state), error.state.code(), message)
}

fn kind(state: SqlState) -> Kind {
    use SqlState as S;
    match state {
        S::SyntaxError
        | S::UndefinedTable
        | S::UndefinedColumn
        | S::UndefinedFunction
        | S::UndefinedParameter
        | S::AmbiguousColumn
        | S::InvalidSchemaName
        | S::InvalidTableDefinition
        | S::InvalidName
        | S::DatatypeMismatch
        | S::InvalidTextRepresentation
        | S::NumericValueOutOfRange
        | S::DivisionByZero
        | S::InvalidParameterValue
        | S::InvalidDatetime
        | S::NotNullViolation
        | S::ProtocolViolation => Kind::Invalid,
        S::DuplicateTable | S::DuplicateColumn | S::DuplicateSchema | S::UniqueViolation => Kind::Conflict,
        S::ObjectNotInPrerequisiteState | S::ReadOnlySqlTransaction | S::InFailedSqlTransaction => Kind::Precondition,
        S::FeatureNotSupported => Kind::Unimplemented,
        S::InsufficientPrivilege => Kind::Denied,
        S::InvalidAuthorization | S::InvalidPassword => Kind::Unauthenticated,
        S::QueryCanceled | S::OutOfMemory | S::TooManyConnections => Kind::Exhausted,
        S::ProgramLimitExceeded | S::StatementTooComplex => Kind::TooLarge,
        S::CannotConnectNow | S::TransactionResolutionUnknown => Kind::Unavailable,
        S::DataCorrupted => Kind::Corrupt,
        S::InternalError => Kind::Internal,
    }
}
