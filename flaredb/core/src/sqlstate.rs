use serde::{Deserialize, Serialize};

/// The SQLSTATE codes that flaredb answers with; the words are PostgreSQL's. Order is part of the stored format of
/// replicated answers: new codes are appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SqlState {
    FeatureNotSupported,
    SyntaxError,
    UndefinedTable,
    UndefinedColumn,
    UndefinedFunction,
    UndefinedParameter,
    AmbiguousColumn,
    DuplicateTable,
    DuplicateColumn,
    DuplicateSchema,
    InvalidSchemaName,
    InvalidTableDefinition,
    InvalidName,
    DatatypeMismatch,
    InvalidTextRepresentation,
    NumericValueOutOfRange,
    DivisionByZero,
    InvalidParameterValue,
    InvalidDatetime,
    UniqueViolation,
    NotNullViolation,
    ObjectNotInPrerequisiteState,
    InsufficientPrivilege,
    InvalidAuthorization,
    InvalidPassword,
    ReadOnlySqlTransaction,
    InFailedSqlTransaction,
    QueryCanceled,
    OutOfMemory,
    TooManyConnections,
    ProgramLimitExceeded,
    StatementTooComplex,
    CannotConnectNow,
    TransactionResolutionUnknown,
    ProtocolViolation,
    DataCorrupted,
    InternalError,
}

impl SqlState {
    /// The five characters on the wire.
    pub fn code(self) -> &'static str {
        match self {
            Self::FeatureNotSupported => "0A000",
            Self::SyntaxError => "42601",
            Self::UndefinedTable => "42P01",
            Self::UndefinedColumn => "42703",
            Self::UndefinedFunction => "42883",
            Self::UndefinedParameter => "42P02",
            Self::AmbiguousColumn => "42702",
            Self::DuplicateTable => "42P07",
            Self::DuplicateColumn => "42701",
            Self::DuplicateSchema => "42P06",
            Self::InvalidSchemaName => "3F000",
            Self::InvalidTableDefinition => "42P16",
            Self::InvalidName => "42602",
            Self::DatatypeMismatch => "42804",
            Self::InvalidTextRepresentation => "22P02",
            Self::NumericValueOutOfRange => "22003",
            Self::DivisionByZero => "22012",
            Self::InvalidParameterValue => "22023",
            Self::InvalidDatetime => "22007",
            Self::UniqueViolation => "23505",
            Self::NotNullViolation => "23502",
            Self::ObjectNotInPrerequisiteState => "55000",
            Self::InsufficientPrivilege => "42501",
            Self::InvalidAuthorization => "28000",
            Self::InvalidPassword => "28P01",
            Self::ReadOnlySqlTransaction => "25006",
            Self::InFailedSqlTransaction => "25P02",
            Self::QueryCanceled => "57014",
            Self::OutOfMemory => "53200",
            Self::TooManyConnections => "53300",
            Self::ProgramLimitExceeded => "54000",
            Self::StatementTooComplex => "54001",
            Self::CannotConnectNow => "57P03",
            Self::TransactionResolutionUnknown => "08007",
            Self::ProtocolViolation => "08P01",
            Self::DataCorrupted => "XX001",
            Self::InternalError => "XX000",
        }
    }
}

impl std::fmt::Display for SqlState {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.code())
    }
}
