use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use clap::ValueEnum;
use serde::Serialize;

use crate::failure::Failure;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Rows under headings, in columns as wide as they need.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Format {
    /// Prints a result: `value` for programs, `text` for people.
    pub(crate) fn print(self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        let mut text = match self {
            Self::Json => serde_json::to_string_pretty(value)?,
            Self::Table => text(),
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        write(text.as_bytes())
    }
}

/// Writes to the standard output. A reader that went away, as `head` does, is no failure.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    write_if_read(bytes).map(|_| ())
}

/// The same, and whether there is still a reader.
pub(crate) fn write_if_read(bytes: &[u8]) -> Result<bool, Failure> {
    match io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::unexpected(error)),
    }
}

impl Table {
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()] }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.push(cells.into());
    }

    pub(crate) fn push(&mut self, cells: Vec<String>) {
        // What servers answer must not steer the terminal.
        self.rows.push(cells.into_iter().map(|cell| cell.replace(char::is_control, " ")).collect());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let mut widths = vec![0; columns];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                write!(line, "{cell:<width$}  ")?;
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A moment as people read it, in UTC; `-` for none.
pub(crate) fn moment(unix_ms: Option<u64>) -> String {
    let at = unix_ms
        .filter(|ms| *ms > 0)
        .and_then(|ms| i64::try_from(ms / 1000).ok())
        .and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok());
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    at.and_then(|at| at.format(format).ok()).unwrap_or_else(|| "-".to_owned())
}

/// `-` for nothing.
pub(crate) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_control_characters_do_not_get_through() {
        let mut table = Table::new(&["NODE", "STATE"]);
        table.row(["pier2".into(), "ok\u{1b}[2J".into()]);
        table.row(["mira-pad".into(), "stale".into()]);
        assert_eq!(table.to_string(), "NODE      STATE\npier2     ok [2J\nmira-pad  stale\n");
    }

    #[test]
    fn moments() {
        assert_eq!(moment(Some(1_767_600_000_000)), "2026-01-05 08:00:00Z");
        assert_eq!(moment(Some(0)), "-");
        assert_eq!(moment(None), "-");
    }
}
