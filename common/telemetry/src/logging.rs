use std::path::PathBuf;

use tracing_subscriber::{EnvFilter, fmt};

use crate::{
    outputs::{Output, Outputs},
    zap::Zap,
};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for machines.
    Json,
    /// The same with the keys that etcd's lines have.
    Zap,
}

#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("log filter {filter:?} is not valid: {reason}")]
    Filter { filter: String, reason: String },
    #[error("the log file {}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error("logging was set up twice")]
    Twice,
}

/// Sends log lines to all of `outputs`. `filter` is a tracing filter (`info`, `info,chainfire_raft=debug`).
pub fn init(filter: &str, format: Format, outputs: &[Output]) -> Result<(), LoggingError> {
    let parsed = EnvFilter::try_new(filter)
        .map_err(|error| LoggingError::Filter { filter: filter.to_owned(), reason: error.to_string() })?;
    let outputs = Outputs::open(outputs)?;
    let colours = outputs.are_terminals();
    let lines = fmt().with_env_filter(parsed).with_ansi(colours).with_writer(outputs);
    match format {
        Format::Text => lines.try_init(),
        Format::Json => lines.json().try_init(),
        Format::Zap => lines.event_format(Zap).try_init(),
    }
    .map_err(|_| LoggingError::Twice)
}
