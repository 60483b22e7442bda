use holdfast_keyspace::Overlay;

use super::{
    At,
    ingest::{insert, require_table},
};
use crate::{
    Answer, Migrate, MigrationRecord, MigrationSet, Phase, Refusal, SqlState, audit,
    catalog::{AddColumn, Alteration, CreateSchema, CreateTable, PUBLIC, TableId, duplicate_column},
    error::Failure,
    row,
    store::{self, Head},
};

/// What only the release itself may change.
const OWNED_SCHEMAS: [&str; 4] = [audit::SCHEMA, "flaredb", "information_schema", "pg_catalog"];

pub(super) fn apply(state: &mut Overlay<'_>, at: &At, migrate: &Migrate) -> Result<Answer, Failure> {
    let checksum = hex::encode(migrate.checksum);
    let label = format!("{:04}_{}", migrate.number, migrate.name);
    if let Some(applied) = store::migration(state, migrate.set, migrate.number)? {
        if applied.checksum == checksum && applied.name == migrate.name {
            return Ok(Answer::Migrated { number: migrate.number, already: true });
        }
        let message = format!(
            "migration {label} is not the file that was applied as {:04}_{} with checksum {}",
            applied.number, applied.name, applied.checksum
        );
        return Err(Refusal::new(SqlState::ObjectNotInPrerequisiteState, message)
            .hint("An applied migration never changes: restore the file and write a new one.")
            .into());
    }
    let next = store::last_migration(state, migrate.set)?.saturating_add(1);
    if migrate.number != next {
        let message = format!("migration {label} does not follow: the next number is {next:04}");
        return Err(Refusal::new(SqlState::ObjectNotInPrerequisiteState, message).into());
    }
    if migrate.phase != Phase::Expand {
        let message = format!("migration {label}: this release applies only the phase `expand`");
        return Err(Refusal::new(SqlState::FeatureNotSupported, message).into());
    }
    for statement in &migrate.statements {
        if migrate.set == MigrationSet::Operator && OWNED_SCHEMAS.contains(&statement.schema()) {
            let message = format!("schema {} belongs to the release", statement.schema());
            return Err(Refusal::new(SqlState::InsufficientPrivilege, message).into());
        }
        match statement {
            Alteration::CreateSchema(create) => create_schema(state, create)?,
            Alteration::CreateTable(create) => create_table(state, create)?,
            Alteration::AddColumn(add) => add_column(state, add)?,
        }
    }
    store::put_migration(
        state,
        &MigrationRecord {
            set: migrate.set,
            number: migrate.number,
            name: migrate.name.clone(),
            phase: migrate.phase,
            checksum,
            applied_at_ms: at.time_ms,
            applied_by: at.author.principal.clone(),
            index: at.index,
        },
    )?;
    record(state, at, format!("migration/{}/{label}", migrate.set.as_str()), migrate.checksum)?;
    Ok(Answer::Migrated { number: migrate.number, already: false })
}

/// A migration is itself an event; the first one creates the table that it is recorded in.
fn record(state: &mut Overlay<'_>, at: &At, resource: String, checksum: [u8; 32]) -> Result<(), Failure> {
    let Some(table) = store::table(state, &audit::events())? else { return Ok(()) };
    let event = audit::Event {
        after_digest: Some(checksum),
        log_index: Some(at.index),
        ..audit::Event::new(audit::FLAREDB_STREAM, at.index, &at.author, at.time_ms, "history.Migrate", resource)
    };
    // A table that an older release created has fewer columns; what it lacks is left out.
    let (places, values) = audit::COLUMNS
        .iter()
        .zip(event.into_row())
        .filter_map(|(name, value)| Some((table.place(name)?, value)))
        .unzip::<usize, _, Vec<_>, Vec<_>>();
    let complete = row::complete(&table, &places, values)?;
    insert(state, &table, &complete)
}

fn create_schema(state: &mut Overlay<'_>, create: &CreateSchema) -> Result<(), Failure> {
    create.check()?;
    if create.name == PUBLIC || store::has_schema(state, &create.name)? {
        if create.if_not_exists {
            return Ok(());
        }
        let message = format!("schema {} is there already", create.name);
        return Err(Refusal::new(SqlState::DuplicateSchema, message).into());
    }
    Ok(store::put_schema(state, &create.name)?)
}

fn create_table(state: &mut Overlay<'_>, create: &CreateTable) -> Result<(), Failure> {
    let head = store::head(state)?;
    let table = create.table(head.next_table)?;
    if table.name.schema != PUBLIC && !store::has_schema(state, &table.name.schema)? {
        let message = format!("schema {} does not exist", table.name.schema);
        return Err(Refusal::new(SqlState::InvalidSchemaName, message).into());
    }
    if store::table(state, &table.name)?.is_some() {
        if create.if_not_exists {
            return Ok(());
        }
        let message = format!("table {} is there already", table.name);
        return Err(Refusal::new(SqlState::DuplicateTable, message).into());
    }
    store::put_head(state, Head { next_table: TableId(head.next_table.0.saturating_add(1)) })?;
    Ok(store::put_table(state, &table)?)
}

fn add_column(state: &mut Overlay<'_>, add: &AddColumn) -> Result<(), Failure> {
    let table = require_table(state, &add.table)?;
    if table.place(&add.column.name).is_some() {
        if add.if_not_exists {
            return Ok(());
        }
        return Err(duplicate_column(&add.column.name).into());
    }
    Ok(store::put_table(state, &add.table(table)?)?)
}
