//! Data definition as typed, additive changes. Whatever would take something away, and whatever is not understood to
//! the last word, is refused.

use datafusion::sql::sqlparser::ast::{
    self, AlterTable, AlterTableOperation, ColumnDef, ColumnOption, DataType, Expr, ObjectName, SchemaName,
    TableConstraint, TimezoneInfo, UnaryOperator, ValueWithSpan, helpers::stmt_create_table::CreateTableBuilder,
};
use flaredb_core::{
    ColumnType, SqlState, TableName, Value,
    catalog::{AddColumn, Alteration, ColumnDefinition, CreateSchema, CreateTable, DATABASE, PUBLIC},
};

use crate::{Error, statement::parse_any};

/// Where the way to take something away is written down.
pub const RUNBOOK: &str = "deploy/runbooks/destructive-schema-change.md";

/// Parses the statements of a migration.
pub fn parse(sql: &str) -> Result<Vec<Alteration>, Error> {
    let mut alterations = Vec::new();
    for statement in parse_any(sql)? {
        alteration(&statement, &mut alterations)?;
    }
    if alterations.is_empty() {
        return Err(Error::new(SqlState::SyntaxError, "there is no statement in it"));
    }
    Ok(alterations)
}

fn alteration(statement: &ast::Statement, out: &mut Vec<Alteration>) -> Result<(), Error> {
    use ast::Statement as S;
    match statement {
        S::CreateSchema {
            schema_name: SchemaName::Simple(name),
            if_not_exists,
            with: None,
            options: None,
            default_collate_spec: None,
            clone: None,
        } => {
            let [name] = identifiers(name)?.try_into().map_err(|_| Error::unsupported("a schema inside a schema"))?;
            out.push(Alteration::CreateSchema(CreateSchema { name, if_not_exists: *if_not_exists }));
        }
        S::CreateTable(create) => out.push(Alteration::CreateTable(create_table(create)?)),
        S::AlterTable(alter) => alter_table(alter, out)?,
        S::Drop { object_type, .. } => return Err(destructive(&format!("DROP {object_type}"))),
        S::Truncate(_) => return Err(destructive("TRUNCATE")),
        S::Delete(_) => return Err(destructive("DELETE")),
        S::Update(_) => {
            return Err(Error::unsupported("UPDATE in a migration").hint("Backfill phases come with a later release."));
        }
        S::CreateIndex(_) => return Err(Error::unsupported("CREATE INDEX")),
        S::CreateView(_) => return Err(Error::unsupported("CREATE VIEW")),
        other => {
            let text = other.to_string();
            let verbs: Vec<&str> = text.split_whitespace().take(2).collect();
            return Err(Error::unsupported(format!("{} in a migration", verbs.join(" "))));
        }
    }
    Ok(())
}

fn destructive(what: &str) -> Error {
    Error::new(SqlState::FeatureNotSupported, format!("{what} is destructive and refused: schemas change by addition"))
        .hint(format!("What can be done instead is in {RUNBOOK}"))
}

fn create_table(create: &ast::CreateTable) -> Result<CreateTable, Error> {
    // Whatever else was written would be dropped silently: a table of only the known parts must be the same table.
    let known = CreateTableBuilder::new(create.name.clone())
        .if_not_exists(create.if_not_exists)
        .columns(create.columns.clone())
        .constraints(create.constraints.clone())
        .build();
    if known.to_string() != create.to_string() {
        return Err(Error::unsupported(format!("an option of CREATE TABLE {}", create.name)));
    }
    let name = table_name(&create.name)?;
    let mut primary_key = Vec::new();
    let mut columns = Vec::with_capacity(create.columns.len());
    for definition in &create.columns {
        let (column, is_key) = column(definition)?;
        if is_key {
            set_key(&mut primary_key, vec![column.name.clone()], &name)?;
        }
        columns.push(column);
    }
    for constraint in &create.constraints {
        match constraint {
            TableConstraint::PrimaryKey(key)
                if key.index_type.is_none() && key.index_options.is_empty() && key.characteristics.is_none() =>
            {
                let names: Result<Vec<String>, Error> = key.columns.iter().map(key_column).collect();
                set_key(&mut primary_key, names?, &name)?;
            }
            other => return Err(Error::unsupported(format!("the constraint {other}"))),
        }
    }
    Ok(CreateTable { name, columns, primary_key, if_not_exists: create.if_not_exists })
}

fn set_key(key: &mut Vec<String>, names: Vec<String>, table: &TableName) -> Result<(), Error> {
    if !key.is_empty() {
        let message = format!("table {table} has more than one primary key");
        return Err(Error::new(SqlState::InvalidTableDefinition, message));
    }
    *key = names;
    Ok(())
}

fn key_column(column: &ast::IndexColumn) -> Result<String, Error> {
    let plain = column.operator_class.is_none()
        && column.column.options == ast::OrderByOptions::default()
        && column.column.with_fill.is_none();
    match &column.column.expr {
        Expr::Identifier(name) if plain => Ok(identifier(name)),
        _ => Err(Error::unsupported(format!("the key column {column}"))),
    }
}

fn alter_table(alter: &AlterTable, out: &mut Vec<Alteration>) -> Result<(), Error> {
    use AlterTableOperation as O;
    if alter.if_exists
        || alter.only
        || alter.location.is_some()
        || alter.on_cluster.is_some()
        || alter.table_type.is_some()
    {
        return Err(Error::unsupported("an option of ALTER TABLE"));
    }
    let table = table_name(&alter.name)?;
    for operation in &alter.operations {
        match operation {
            O::AddColumn { if_not_exists, column_def, column_position: None, .. } => {
                let (column, is_key) = column(column_def)?;
                if is_key {
                    return Err(Error::unsupported("a primary key on an added column"));
                }
                out.push(Alteration::AddColumn(AddColumn {
                    table: table.clone(),
                    column,
                    if_not_exists: *if_not_exists,
                }));
            }
            O::DropColumn { .. } => return Err(destructive("DROP COLUMN")),
            O::RenameColumn { .. } | O::RenameTable { .. } | O::RenameConstraint { .. } => {
                return Err(destructive("RENAME"));
            }
            O::DropConstraint { .. } | O::DropPrimaryKey { .. } => return Err(destructive("DROP CONSTRAINT")),
            O::AlterColumn { .. } => {
                return Err(Error::unsupported("ALTER COLUMN").hint(format!("See {RUNBOOK}")));
            }
            other => return Err(Error::unsupported(format!("ALTER TABLE … {other}"))),
        }
    }
    Ok(())
}

/// The column, and whether it says PRIMARY KEY.
fn column(definition: &ColumnDef) -> Result<(ColumnDefinition, bool), Error> {
    let name = identifier(&definition.name);
    let kind = column_type(&definition.data_type)?;
    let mut column = ColumnDefinition { name, kind, nullable: true, default: None };
    let mut is_key = false;
    for option in &definition.options {
        match &option.option {
            ColumnOption::Null => {}
            ColumnOption::NotNull => column.nullable = false,
            ColumnOption::PrimaryKey(key) if key.characteristics.is_none() => is_key = true,
            ColumnOption::Default(value) => column.default = Some(constant(value, kind, &column.name)?),
            other => return Err(Error::unsupported(format!("{other} of column \"{}\"", column.name))),
        }
    }
    Ok((column, is_key))
}

fn column_type(kind: &DataType) -> Result<ColumnType, Error> {
    Ok(match kind {
        DataType::Boolean | DataType::Bool => ColumnType::Boolean,
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => ColumnType::Int,
        DataType::BigInt(None) | DataType::Int8(None) => ColumnType::Bigint,
        DataType::DoublePrecision | DataType::Float8 | DataType::Double(ast::ExactNumberInfo::None) => {
            ColumnType::Double
        }
        DataType::Text | DataType::Varchar(None) | DataType::CharacterVarying(None) => ColumnType::Text,
        DataType::Bytea => ColumnType::Bytea,
        DataType::Timestamp(None, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => ColumnType::Timestamptz,
        DataType::Uuid => ColumnType::Uuid,
        DataType::JSONB => ColumnType::Jsonb,
        other => {
            return Err(Error::unsupported(format!("the type {other}"))
                .hint("Types are BOOLEAN, INT, BIGINT, DOUBLE PRECISION, TEXT, BYTEA, TIMESTAMPTZ, UUID and JSONB."));
        }
    })
}

/// A DEFAULT: a constant of the column's type.
fn constant(expr: &Expr, kind: ColumnType, column: &str) -> Result<Value, Error> {
    let wrong = || {
        Error::new(SqlState::DatatypeMismatch, format!("the default of column \"{column}\" is not a constant {kind}"))
    };
    let (expr, negative) = match expr {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => (expr.as_ref(), true),
        Expr::Cast { expr, data_type, .. } if column_type(data_type)? == kind => (expr.as_ref(), false),
        other => (other, false),
    };
    let Expr::Value(ValueWithSpan { value, .. }) = expr else { return Err(wrong()) };
    let number = |digits: &str| if negative { format!("-{digits}") } else { digits.to_owned() };
    match (kind, value) {
        (_, ast::Value::Null) => Ok(Value::Null),
        (ColumnType::Boolean, ast::Value::Boolean(value)) => Ok(Value::Boolean(*value)),
        (ColumnType::Int, ast::Value::Number(digits, _)) => number(digits).parse().map(Value::Int).map_err(|_| wrong()),
        (ColumnType::Bigint, ast::Value::Number(digits, _)) => {
            number(digits).parse().map(Value::Bigint).map_err(|_| wrong())
        }
        (ColumnType::Double, ast::Value::Number(digits, _)) => {
            number(digits).parse().ok().filter(|value: &f64| value.is_finite()).map(Value::Double).ok_or_else(wrong)
        }
        (ColumnType::Text | ColumnType::Jsonb, ast::Value::SingleQuotedString(text)) if !negative => {
            Ok(Value::Text(text.clone()))
        }
        (ColumnType::Uuid, ast::Value::SingleQuotedString(text)) if !negative => {
            uuid::Uuid::try_parse(text).map(Value::Uuid).map_err(|_| wrong())
        }
        (ColumnType::Bytea, ast::Value::SingleQuotedString(text)) if !negative => {
            let bytes = text.strip_prefix("\\x").and_then(|digits| hex::decode(digits).ok());
            bytes.map(Value::Bytea).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

fn table_name(name: &ObjectName) -> Result<TableName, Error> {
    match identifiers(name)?.as_slice() {
        [table] => Ok(TableName::new(PUBLIC, table)),
        [schema, table] => Ok(TableName::new(schema, table)),
        [database, schema, table] if database == DATABASE => Ok(TableName::new(schema, table)),
        _ => Err(Error::unsupported(format!("the name {name}"))),
    }
}

fn identifiers(name: &ObjectName) -> Result<Vec<String>, Error> {
    let part = |part: &ast::ObjectNamePart| match part {
        ast::ObjectNamePart::Identifier(ident) => Ok(identifier(ident)),
        ast::ObjectNamePart::Function(_) => Err(Error::unsupported(format!("the name {name}"))),
    };
    name.0.iter().map(part).collect()
}

/// Unquoted names are lower case, as in PostgreSQL.
fn identifier(ident: &ast::Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(sql: &str) -> SqlState {
        parse(sql).unwrap_err().state
    }

    #[test]
    fn a_table_with_everything() {
        let sql = "CREATE SCHEMA IF NOT EXISTS audit;
            CREATE TABLE Audit.\"Events\" (
                id UUID, at TIMESTAMPTZ NOT NULL, n BIGINT NOT NULL DEFAULT -5, label TEXT DEFAULT 'x',
                flag BOOLEAN DEFAULT false, d DOUBLE PRECISION, raw BYTEA DEFAULT '\\x00ff', doc JSONB, small INT,
                PRIMARY KEY (id, at)
            );
            ALTER TABLE audit.\"Events\" ADD COLUMN IF NOT EXISTS rack TEXT, ADD COLUMN slot INT NOT NULL DEFAULT 0;";
        let parsed = parse(sql).unwrap();
        let [Alteration::CreateSchema(schema), Alteration::CreateTable(table), Alteration::AddColumn(rack), _] =
            parsed.as_slice()
        else {
            panic!("{parsed:?}")
        };
        assert_eq!((schema.name.as_str(), schema.if_not_exists), ("audit", true));
        assert_eq!(table.name, TableName::new("audit", "Events"));
        assert_eq!(table.primary_key, ["id", "at"]);
        assert_eq!(table.columns.len(), 9);
        assert_eq!(table.columns[2].default, Some(Value::Bigint(-5)));
        assert_eq!(table.columns[6].default, Some(Value::Bytea(vec![0, 255])));
        assert_eq!((rack.column.name.as_str(), rack.if_not_exists), ("rack", true));
    }

    #[test]
    fn destruction_is_refused_with_its_runbook() {
        for sql in [
            "DROP TABLE audit.events",
            "DROP SCHEMA audit",
            "ALTER TABLE t DROP COLUMN a",
            "ALTER TABLE t RENAME COLUMN a TO b",
            "ALTER TABLE t RENAME TO u",
            "ALTER TABLE t DROP CONSTRAINT c",
            "TRUNCATE t",
            "DELETE FROM t",
        ] {
            let error = parse(sql).unwrap_err();
            assert_eq!(error.state, SqlState::FeatureNotSupported, "{sql}");
            assert!(error.hint.unwrap().contains(RUNBOOK), "{sql}");
        }
    }

    #[test]
    fn what_is_not_understood_is_not_dropped() {
        for sql in [
            "CREATE TABLE t (a INT PRIMARY KEY) PARTITION BY RANGE (a)",
            "CREATE TEMPORARY TABLE t (a INT PRIMARY KEY)",
            "CREATE TABLE t AS SELECT 1",
            "CREATE TABLE t (a INT PRIMARY KEY, b INT REFERENCES u (b))",
            "CREATE TABLE t (a INT PRIMARY KEY, b INT UNIQUE)",
            "CREATE TABLE t (a INT PRIMARY KEY, CHECK (a > 0))",
            "CREATE TABLE t (a NUMERIC(10, 2) PRIMARY KEY)",
            "CREATE TABLE t (a VARCHAR(10) PRIMARY KEY)",
            "CREATE TABLE t (a INT GENERATED ALWAYS AS IDENTITY PRIMARY KEY)",
            "CREATE TABLE t (a TIMESTAMP PRIMARY KEY)",
            "CREATE INDEX i ON t (a)",
            "INSERT INTO t VALUES (1)",
            "SELECT 1",
        ] {
            assert_eq!(state(sql), SqlState::FeatureNotSupported, "{sql}");
        }
        assert_eq!(state("CREATE TABLE t (a INT PRIMARY KEY, b INT DEFAULT 'x')"), SqlState::DatatypeMismatch);
        assert_eq!(
            state("CREATE TABLE t (a INT PRIMARY KEY, b TIMESTAMPTZ DEFAULT now())"),
            SqlState::DatatypeMismatch
        );
        assert_eq!(
            state("CREATE TABLE t (a INT PRIMARY KEY, b INT, PRIMARY KEY (b))"),
            SqlState::InvalidTableDefinition
        );
        assert_eq!(state("-- phase: expand\n"), SqlState::SyntaxError);
    }
}
