//! Statements of the doors that read: what may run, and what is refused by name.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{self, BinaryOperator, Expr, Query, Set, ValueWithSpan, visit_expressions_mut, visit_relations},
    dialect::PostgreSqlDialect,
    parser::Parser,
};
use flaredb_core::SqlState;

use crate::{Error, ddl::RUNBOOK};

/// Deeper nesting than any person writes, shallower than the stack.
const RECURSION: usize = 64;

/// One statement that these doors run.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// A query, or the explanation of one.
    Read(Box<ast::Statement>),
    Session(Session),
}

/// Statements that clients send around queries. Every query reads its own snapshot, as PostgreSQL's READ COMMITTED
/// does, so that a transaction of queries needs no state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Session {
    Begin,
    Commit,
    Rollback,
    Set {
        name: String,
        value: String,
    },
    Show(String),
    Reset,
    /// `DEALLOCATE`, `DISCARD`: nothing is kept that they would drop, the word is the command tag.
    Forget(&'static str),
}

/// Takes `sql` apart; empty statements are left out.
pub fn parse(sql: &str) -> Result<Vec<Statement>, Error> {
    let statements = parse_any(sql)?.into_iter().map(classify).collect::<Result<Vec<_>, _>>()?;
    for statement in &statements {
        if let Statement::Read(read) = statement {
            check_names(read, sql)?;
        }
    }
    Ok(statements)
}

/// Words that PostgreSQL reserves, so that no table has one of them for its name without quotes. The parser takes them
/// for names where a name is missing.
const RESERVED: &str = "all and any as asc both check collate constraint create default desc distinct do else end \
    except false fetch for from grant group having in intersect into lateral leading limit not null offset on only or \
    order primary references returning select some table then to trailing true union unique using variadic when where \
    window with";

fn is_reserved(word: &str) -> bool {
    RESERVED.split(' ').any(|reserved| reserved.eq_ignore_ascii_case(word))
}

fn check_names(statement: &ast::Statement, sql: &str) -> Result<(), Error> {
    let misplaced = visit_relations(statement, |name| match name.0.first().and_then(ast::ObjectNamePart::as_ident) {
        Some(word) if word.quote_style.is_none() && is_reserved(&word.value) => {
            ControlFlow::Break(Error::misplaced(word, sql))
        }
        _ => ControlFlow::Continue(()),
    });
    misplaced.break_value().map_or(Ok(()), Err)
}

pub(crate) fn parse_any(sql: &str) -> Result<Vec<ast::Statement>, Error> {
    let dialect = PostgreSqlDialect {};
    Parser::new(&dialect)
        .with_recursion_limit(RECURSION)
        .try_with_sql(sql)
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| Error::syntax(&error, sql))
}

fn classify(mut statement: ast::Statement) -> Result<Statement, Error> {
    use ast::Statement as S;
    match &statement {
        S::Query(query) => check_query(query)?,
        S::Explain { statement: inner, .. } => match inner.as_ref() {
            S::Query(query) => check_query(query)?,
            _ => return Err(Error::unsupported("EXPLAIN of anything but a query")),
        },
        S::StartTransaction { modes, .. } => {
            check_modes(modes)?;
            return Ok(Statement::Session(Session::Begin));
        }
        S::Commit { .. } => return Ok(Statement::Session(Session::Commit)),
        S::Rollback { savepoint: None, .. } => return Ok(Statement::Session(Session::Rollback)),
        S::Set(set) => return session_set(set).map(Statement::Session),
        S::ShowVariable { variable } => {
            let name = variable.iter().map(|part| part.value.to_lowercase()).collect::<Vec<_>>().join(" ");
            return Ok(Statement::Session(Session::Show(name)));
        }
        S::Reset(_) => return Ok(Statement::Session(Session::Reset)),
        S::Deallocate { .. } => return Ok(Statement::Session(Session::Forget("DEALLOCATE"))),
        S::Discard { .. } => return Ok(Statement::Session(Session::Forget("DISCARD ALL"))),
        other => return Err(refusal(other)),
    }
    simplify(&mut statement);
    Ok(Statement::Read(Box::new(statement)))
}

fn check_query(query: &Query) -> Result<(), Error> {
    if !query.locks.is_empty() {
        return Err(Error::unsupported("FOR UPDATE or FOR SHARE"));
    }
    Ok(())
}

fn check_modes(modes: &[ast::TransactionMode]) -> Result<(), Error> {
    use ast::{TransactionIsolationLevel as Level, TransactionMode as Mode};
    for mode in modes {
        match mode {
            Mode::AccessMode(_) | Mode::IsolationLevel(Level::ReadUncommitted | Level::ReadCommitted) => {}
            Mode::IsolationLevel(level) => return Err(Error::unsupported(format!("ISOLATION LEVEL {level}"))),
        }
    }
    Ok(())
}

/// The words for what these doors do not do.
fn refusal(statement: &ast::Statement) -> Error {
    use ast::Statement as S;
    let text = statement.to_string();
    let verb: String = text.split_whitespace().next().unwrap_or_default().chars().take(32).collect();
    match statement {
        S::Insert(_) | S::Update(_) | S::Delete(_) | S::Merge { .. } | S::Copy { .. } | S::Truncate(_) => {
            Error::new(SqlState::FeatureNotSupported, format!("{verb} is not supported: history is read-only here"))
                .hint("Rows come from the audit streams only.")
        }
        S::CreateTable(_)
        | S::CreateSchema { .. }
        | S::CreateIndex(_)
        | S::CreateView(_)
        | S::AlterTable(_)
        | S::Drop { .. } => Error::new(
            SqlState::FeatureNotSupported,
            format!("{verb} is not supported here: schemas change by migration"),
        )
        .hint(format!("Apply a numbered migration with flaredb.v1.Flaredb/Migrate; see {RUNBOOK}.")),
        _ => Error::unsupported(verb),
    }
}

fn session_set(set: &Set) -> Result<Session, Error> {
    match set {
        Set::SingleAssignment { variable, values, .. } => {
            let value = values.iter().map(setting).collect::<Vec<_>>().join(", ");
            Ok(Session::Set { name: variable.to_string().to_lowercase(), value })
        }
        Set::SetTimeZone { value, .. } => Ok(Session::Set { name: "timezone".to_owned(), value: setting(value) }),
        Set::SetNames { charset_name, .. } => {
            Ok(Session::Set { name: "client_encoding".to_owned(), value: charset_name.value.clone() })
        }
        Set::SetTransaction { modes, .. } => {
            check_modes(modes)?;
            Ok(Session::Set { name: "transaction_isolation".to_owned(), value: "read committed".to_owned() })
        }
        other => Err(Error::unsupported(other.to_string().chars().take(80).collect::<String>())),
    }
}

/// A setting's value without its quotes.
fn setting(value: &Expr) -> String {
    match value {
        Expr::Value(ValueWithSpan { value, .. }) => value.clone().into_string().unwrap_or_else(|| value.to_string()),
        other => other.to_string(),
    }
}

/// Spells out what `psql` writes and the planner does not know: `OPERATOR(pg_catalog.~)` and the default collation.
fn simplify(statement: &mut ast::Statement) {
    let _ = visit_expressions_mut(statement, |expr| {
        match expr {
            Expr::BinaryOp { op, .. } => {
                if let BinaryOperator::PGCustomBinaryOperator(parts) = op {
                    let known = match parts.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                        ["pg_catalog", "~"] => Some(BinaryOperator::PGRegexMatch),
                        ["pg_catalog", "!~"] => Some(BinaryOperator::PGRegexNotMatch),
                        ["pg_catalog", "="] => Some(BinaryOperator::Eq),
                        _ => None,
                    };
                    if let Some(known) = known {
                        *op = known;
                    }
                }
            }
            Expr::Collate { expr: inner, collation }
                if collation.to_string().to_lowercase() == "pg_catalog.default" =>
            {
                *expr = inner.as_ref().clone();
            }
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_told_from_the_rest() {
        for sql in ["SELECT 1", "VALUES (1)", "WITH a AS (SELECT 1) SELECT * FROM a", "EXPLAIN SELECT 1"] {
            assert!(matches!(parse(sql).unwrap().as_slice(), [Statement::Read(_)]), "{sql}");
        }
        assert_eq!(parse("BEGIN; COMMIT;").unwrap(), [Session::Begin, Session::Commit].map(Statement::Session));
        assert_eq!(parse("SHOW server_version").unwrap(), [Statement::Session(Session::Show("server_version".into()))]);
        assert_eq!(
            parse("SET application_name = 'x'").unwrap(),
            [Statement::Session(Session::Set { name: "application_name".into(), value: "x".into() })]
        );
        assert_eq!(parse(" ; ").unwrap(), []);
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        for (sql, verb) in [
            ("INSERT INTO audit.events VALUES (1)", "INSERT"),
            ("DELETE FROM audit.events", "DELETE"),
            ("UPDATE audit.events SET actor = 'x'", "UPDATE"),
            ("TRUNCATE audit.events", "TRUNCATE"),
            ("DROP TABLE audit.events", "DROP"),
            ("COPY audit.events TO '/etc/passwd'", "COPY"),
            ("CREATE TABLE t (a INT)", "CREATE"),
            ("GRANT ALL ON t TO u", "GRANT"),
            ("SELECT * FROM t FOR UPDATE", "FOR UPDATE"),
            ("BEGIN ISOLATION LEVEL SERIALIZABLE", "SERIALIZABLE"),
        ] {
            let error = parse(sql).unwrap_err();
            assert_eq!(error.state, SqlState::FeatureNotSupported, "{sql}");
            assert!(error.message.contains(verb), "{sql}: {}", error.message);
        }
        for (sql, position) in [
            ("SELEC 1", 1),
            ("SELECT (1", 10),
            ("SELECT * FROM WHERE", 15),
            ("SELECT *\nFROM audit.events, where LIMIT 3", 29),
            ("SELECT * FROM (SELECT 1 FROM group) a", 30),
        ] {
            let error = parse(sql).unwrap_err();
            assert_eq!((error.state, error.position), (SqlState::SyntaxError, Some(position)), "{sql}: {error}");
        }
        for sql in ["SELECT * FROM \"where\"", "SELECT * FROM audit.where", "SELECT * FROM events AS only"] {
            parse(sql).unwrap();
        }
        let deep = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
        assert_eq!(parse(&deep).unwrap_err().state, SqlState::StatementTooComplex);
    }
}
