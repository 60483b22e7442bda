//! What people see of a command. Nobody has to see it: a line that was cut ends nothing.

use std::io::{self, Write as _};

use crate::Error;

pub(crate) fn print(text: &[u8]) -> Result<(), Error> {
    match io::stdout().write_all(text) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(|error| Error::Unexpected(error.to_string())),
    }
}

/// Why a command ends, for whoever still reads it.
pub(crate) fn complain(error: &impl ToString) {
    let _ = writeln!(io::stderr(), "flor: {}", plain(&error.to_string()));
}

/// Without what a terminal would obey: part of it may be somebody else's words.
pub(crate) fn plain(text: &str) -> String {
    let harmless = |character: char| !character.is_control() || matches!(character, '\n' | '\t');
    text.chars().map(|character| if harmless(character) { character } else { char::REPLACEMENT_CHARACTER }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_obey_nobody_else_s_words() {
        assert_eq!(plain("no\u{1b}]0;root\u{7} \u{9b}2J\r"), "no\u{fffd}]0;root\u{fffd} \u{fffd}2J\u{fffd}");
        assert_eq!(plain("two lines:\n\tcafé"), "two lines:\n\tcafé");
    }
}
