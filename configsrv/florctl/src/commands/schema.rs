use configsrv_fleet::schema::json_schema;

use crate::{
    cli::Schema,
    failure::{Code, Failure},
    output::Format,
};

/// A schema is JSON, whoever asks.
pub(super) fn run(options: &Schema) -> Result<Code, Failure> {
    Format::Json.print(&json_schema(options.part.0), String::new)?;
    Ok(Code::Done)
}
