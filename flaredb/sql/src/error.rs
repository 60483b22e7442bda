use arrow::error::ArrowError;
use datafusion::{
    common::SchemaError,
    error::DataFusionError,
    sql::sqlparser::{ast, parser::ParserError},
};
use flaredb_core::{Damage, Refusal, SqlState};

/// Why a statement failed, in PostgreSQL's terms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub state: SqlState,
    pub message: String,
    pub hint: Option<String>,
    /// Where in the statement, in characters from 1.
    pub position: Option<usize>,
}

impl Error {
    pub fn new(state: SqlState, message: impl Into<String>) -> Self {
        Self { state, message: message.into(), hint: None, position: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn unsupported(feature: impl std::fmt::Display) -> Self {
        Self::new(SqlState::FeatureNotSupported, format!("{feature} is not supported"))
    }

    /// A parser's error about `sql`.
    pub(crate) fn syntax(error: &ParserError, sql: &str) -> Self {
        let message = match error {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
            ParserError::RecursionLimitExceeded => {
                return Self::new(SqlState::StatementTooComplex, "the statement is nested too deeply");
            }
        };
        // The parser appends its location to the text.
        let (text, location) = match message.rsplit_once(" at Line: ") {
            Some((text, location)) => (text, Some(location)),
            None => (message.as_str(), None),
        };
        let mut error = Self::new(SqlState::SyntaxError, format!("syntax error: {text}"));
        error.position = match location {
            Some(location) => numbers(location).and_then(|(line, column)| position(line, column, sql)),
            // The end has no location of its own.
            None => text.ends_with("found: EOF").then(|| sql.chars().count() + 1),
        };
        error
    }

    /// A word that cannot stand where it is in `sql`.
    pub(crate) fn misplaced(word: &ast::Ident, sql: &str) -> Self {
        let mut error = Self::new(SqlState::SyntaxError, format!("syntax error at or near \"{}\"", word.value));
        let start = word.span.start;
        error.position = usize::try_from(start.line)
            .ok()
            .zip(usize::try_from(start.column).ok())
            .and_then(|(line, column)| position(line, column, sql));
        error
    }
}

/// Line and column of `3, Column: 7`.
fn numbers(location: &str) -> Option<(usize, usize)> {
    let (line, column) = location.split_once(", Column: ")?;
    Some((line.trim().parse().ok()?, column.trim().parse().ok()?))
}

/// Line and column, both from 1, as a count of characters.
fn position(line: usize, column: usize, sql: &str) -> Option<usize> {
    let before: usize = sql.split_inclusive('\n').take(line.checked_sub(1)?).map(|text| text.chars().count()).sum();
    Some(before + column)
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self { state: refusal.state, message: refusal.message, hint: refusal.hint, position: None }
    }
}

impl From<Damage> for Error {
    fn from(damage: Damage) -> Self {
        match &damage {
            Damage::Storage(_) => tracing::error!(error = %damage, "the state could not be read"),
            Damage::Format { .. } | Damage::Content { .. } => tracing::error!(error = %damage, "the state is damaged"),
        }
        Self::new(SqlState::DataCorrupted, "stored data could not be read; the server's log says more")
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        translate(&error)
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        arrow(&error)
    }
}

fn translate(error: &DataFusionError) -> Error {
    use SqlState as S;
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => translate(inner),
        DataFusionError::Shared(inner) => translate(inner),
        DataFusionError::Collection(all) => match all.first() {
            Some(first) => translate(first),
            None => Error::new(S::InternalError, "the query failed"),
        },
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(own) => own.clone(),
            None => match inner.downcast_ref::<DataFusionError>() {
                Some(nested) => translate(nested),
                None => Error::new(S::InternalError, inner.to_string()),
            },
        },
        DataFusionError::SQL(parser, _) => Error::syntax(parser, ""),
        DataFusionError::NotImplemented(text) => Error::new(S::FeatureNotSupported, clean(text)),
        DataFusionError::SchemaError(schema, _) => Error::new(schema_state(schema), schema.to_string()),
        DataFusionError::Plan(text) | DataFusionError::Configuration(text) => Error::new(plan_state(text), clean(text)),
        DataFusionError::Execution(text) => Error::new(S::InvalidParameterValue, clean(text)),
        DataFusionError::ResourcesExhausted(_) => {
            Error::new(S::OutOfMemory, "the query needs more memory than one query may have")
                .hint("Narrow it by key or time, or aggregate less at once.")
        }
        DataFusionError::ArrowError(inner, _) => arrow(inner),
        DataFusionError::IoError(inner) => Error::new(S::InternalError, inner.to_string()),
        other => {
            tracing::warn!(error = %other, "query failed inside the engine");
            Error::new(S::InternalError, clean(&other.strip_backtrace()))
        }
    }
}

fn arrow(error: &ArrowError) -> Error {
    use SqlState as S;
    match error {
        ArrowError::DivideByZero => Error::new(S::DivisionByZero, "division by zero"),
        ArrowError::ArithmeticOverflow(text) => Error::new(S::NumericValueOutOfRange, text),
        // Told apart by text only: a number that the type has no room for, and text that is no number.
        ArrowError::CastError(text) if text.starts_with("Can't cast value") => {
            Error::new(S::NumericValueOutOfRange, text)
        }
        ArrowError::CastError(text) | ArrowError::ParseError(text) => Error::new(S::InvalidTextRepresentation, text),
        ArrowError::NotYetImplemented(text) => Error::new(S::FeatureNotSupported, text),
        ArrowError::ExternalError(inner) => match inner.downcast_ref::<DataFusionError>() {
            Some(nested) => translate(nested),
            None => Error::new(S::InternalError, inner.to_string()),
        },
        ArrowError::InvalidArgumentError(text) | ArrowError::ComputeError(text) => {
            Error::new(S::InvalidParameterValue, text)
        }
        other => Error::new(S::InternalError, other.to_string()),
    }
}

fn schema_state(error: &SchemaError) -> SqlState {
    match error {
        SchemaError::AmbiguousReference { .. } => SqlState::AmbiguousColumn,
        SchemaError::FieldNotFound { .. } => SqlState::UndefinedColumn,
        SchemaError::DuplicateQualifiedField { .. } | SchemaError::DuplicateUnqualifiedField { .. } => {
            SqlState::DuplicateColumn
        }
    }
}

/// The planner tells its errors apart by text only.
fn plan_state(text: &str) -> SqlState {
    let known = [
        ("not found", SqlState::UndefinedTable),
        ("failed to resolve", SqlState::UndefinedTable),
        ("Invalid function", SqlState::UndefinedFunction),
        ("No function matches", SqlState::UndefinedFunction),
        ("does not support", SqlState::DatatypeMismatch),
        ("coerce", SqlState::DatatypeMismatch),
        ("Cannot infer common argument type", SqlState::DatatypeMismatch),
        ("placeholder", SqlState::UndefinedParameter),
    ];
    known.iter().find(|(part, _)| text.contains(part)).map_or(SqlState::SyntaxError, |(_, state)| *state)
}

/// Without the engine's backtraces and its advice to report bugs to others.
fn clean(text: &str) -> String {
    let text = text.split("\n\nbacktrace:").next().unwrap_or(text);
    text.split("\nThis issue was likely caused by").next().unwrap_or(text).trim_end().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters() {
        let sql = "SELECT 'é',\nFROM x";
        let error = ParserError::ParserError("Expected: an expression, found: FROM at Line: 2, Column: 1".to_owned());
        let error = Error::syntax(&error, sql);
        assert_eq!((error.state, error.position), (SqlState::SyntaxError, Some(13)));
        assert_eq!(error.message, "syntax error: Expected: an expression, found: FROM");
        let error = ParserError::ParserError("Expected: ), found: EOF".to_owned());
        assert_eq!(Error::syntax(&error, "SELECT ('é'").position, Some(12));
    }

    #[test]
    fn own_errors_survive_the_engine() {
        let own = Error::new(SqlState::QueryCanceled, "too slow");
        let through = DataFusionError::from(own.clone()).context("while scanning");
        assert_eq!(Error::from(through), own);
    }
}
