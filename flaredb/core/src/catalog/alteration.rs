use serde::{Deserialize, Serialize};

use super::{Column, ColumnType, SchemaVersion, Table, TableId, TableName, name::check_name};
use crate::{Refusal, SqlState, Value, value::Misfit};

/// More columns than any of PostgreSQL's tables can have.
const MAX_COLUMNS: usize = 1_600;
const MAX_KEY_COLUMNS: usize = 32;

/// One additive change of the catalog. There are no others: what would take something away cannot be said. Order is
/// part of the stored format: new variants are appended and gated by the feature level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Alteration {
    CreateSchema(CreateSchema),
    CreateTable(CreateTable),
    AddColumn(AddColumn),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreateSchema {
    pub name: String,
    pub if_not_exists: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreateTable {
    pub name: TableName,
    pub columns: Vec<ColumnDefinition>,
    /// Names of columns, in key order.
    pub primary_key: Vec<String>,
    pub if_not_exists: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AddColumn {
    pub table: TableName,
    pub column: ColumnDefinition,
    pub if_not_exists: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnDefinition {
    pub name: String,
    pub kind: ColumnType,
    pub nullable: bool,
    pub default: Option<Value>,
}

impl Alteration {
    /// The schema that the change is made in.
    pub fn schema(&self) -> &str {
        match self {
            Self::CreateSchema(create) => &create.name,
            Self::CreateTable(create) => &create.name.schema,
            Self::AddColumn(add) => &add.table.schema,
        }
    }

    /// One line for plans.
    pub fn describe(&self) -> String {
        match self {
            Self::CreateSchema(create) => format!("additive: create schema {}", create.name),
            Self::CreateTable(create) => {
                format!("additive: create table {} with {} columns", create.name, create.columns.len())
            }
            Self::AddColumn(add) => {
                format!("additive: add column {} {} to {}", add.column.name, add.column.kind, add.table)
            }
        }
    }
}

impl CreateSchema {
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        check_name(&self.name)
    }
}

impl CreateTable {
    /// The definition as it will be stored, if it makes sense.
    pub(crate) fn table(&self, id: TableId) -> Result<Table, Refusal> {
        self.name.check()?;
        let version = SchemaVersion(1);
        if self.columns.len() > MAX_COLUMNS {
            let message = format!("table {} has more than {MAX_COLUMNS} columns", self.name);
            return Err(Refusal::new(SqlState::ProgramLimitExceeded, message));
        }
        let mut table = Table { id, name: self.name.clone(), version, columns: Vec::new(), primary_key: Vec::new() };
        for definition in &self.columns {
            if table.place(&definition.name).is_some() {
                return Err(duplicate_column(&definition.name));
            }
            table.columns.push(definition.column(version)?);
        }
        self.set_key(&mut table)?;
        Ok(table)
    }

    fn set_key(&self, table: &mut Table) -> Result<(), Refusal> {
        let refuse = |message: String| Err(Refusal::new(SqlState::InvalidTableDefinition, message));
        if self.primary_key.is_empty() {
            return refuse(format!("table {} needs a primary key", self.name));
        }
        if self.primary_key.len() > MAX_KEY_COLUMNS {
            return refuse(format!("the primary key of {} has more than {MAX_KEY_COLUMNS} columns", self.name));
        }
        for name in &self.primary_key {
            let Some((place, column)) = table.columns.iter_mut().enumerate().find(|(_, column)| column.name == *name)
            else {
                let message = format!("the primary key of {} names the column \"{name}\", which it has not", self.name);
                return Err(Refusal::new(SqlState::UndefinedColumn, message));
            };
            if !column.kind.in_key() {
                return refuse(format!("column \"{name}\" of type {} cannot be in a primary key", column.kind));
            }
            // `MAX_COLUMNS` is far below `u16::MAX`.
            let place = u16::try_from(place).unwrap_or(u16::MAX);
            if table.primary_key.contains(&place) {
                return refuse(format!("the primary key of {} names the column \"{name}\" twice", self.name));
            }
            column.nullable = false;
            table.primary_key.push(place);
        }
        Ok(())
    }
}

impl AddColumn {
    /// `table` with the column, under its next schema version.
    pub(crate) fn table(&self, mut table: Table) -> Result<Table, Refusal> {
        if table.columns.len() >= MAX_COLUMNS {
            let message = format!("table {} already has {MAX_COLUMNS} columns", table.name);
            return Err(Refusal::new(SqlState::ProgramLimitExceeded, message));
        }
        table.version = SchemaVersion(table.version.0.saturating_add(1));
        let column = self.column.column(table.version)?;
        if !column.nullable && column.default.is_none() {
            let message =
                format!("column \"{}\" is NOT NULL without a default: existing rows have no value", column.name);
            return Err(Refusal::new(SqlState::FeatureNotSupported, message)
                .hint("Add it nullable or with a constant DEFAULT."));
        }
        table.columns.push(column);
        Ok(table)
    }
}

impl ColumnDefinition {
    fn column(&self, since: SchemaVersion) -> Result<Column, Refusal> {
        check_name(&self.name)?;
        let default = self.default.clone().filter(|value| !value.is_null());
        if let Some(Err(misfit)) = default.as_ref().map(|value| value.fits(self.kind)) {
            return Err(misfit_refusal(misfit, &self.name, self.kind));
        }
        // The catalog is stored as JSON, which has no words for them.
        if let Some(Value::Double(value)) = default
            && !value.is_finite()
        {
            let message = format!("the default of column \"{}\" is not a finite number", self.name);
            return Err(Refusal::new(SqlState::FeatureNotSupported, message));
        }
        Ok(Column { name: self.name.clone(), kind: self.kind, nullable: self.nullable, default, since })
    }
}

pub(crate) fn duplicate_column(name: &str) -> Refusal {
    Refusal::new(SqlState::DuplicateColumn, format!("column \"{name}\" is there already"))
}

pub(crate) fn misfit_refusal(misfit: Misfit, column: &str, kind: ColumnType) -> Refusal {
    match misfit {
        Misfit::Type => {
            Refusal::new(SqlState::DatatypeMismatch, format!("column \"{column}\" takes values of type {kind}"))
        }
        Misfit::Nul => Refusal::new(
            SqlState::InvalidTextRepresentation,
            format!("column \"{column}\" cannot hold the character NUL"),
        ),
        Misfit::Json => {
            Refusal::new(SqlState::InvalidTextRepresentation, format!("column \"{column}\" takes valid JSON only"))
        }
    }
}
