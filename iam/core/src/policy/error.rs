use miette::Diagnostic;

/// Why a policy cannot come into force.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Line and column count from 1; both are 0 where Cedar does not say where.
    #[error("policy {id}, line {line}, column {column}: {message}")]
    Invalid { id: String, line: usize, column: usize, message: String },
    #[error("the schema does not parse: {0}")]
    Schema(String),
}

impl PolicyError {
    /// What Cedar says of the policy `id`, whose text is `text`.
    pub(super) fn of(id: &str, text: &str, error: &(impl Diagnostic + ?Sized)) -> Self {
        let offset = error.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
        let (line, column) = offset.map_or((0, 0), |offset| position(text, offset));
        let said = describe(error);
        // The name is told once.
        let mut message = said.strip_prefix(&format!("for policy `{id}`, ")).unwrap_or(&said).to_owned();
        if let Some(help) = error.help() {
            message = format!("{message} ({help})");
        }
        Self::Invalid { id: id.to_owned(), line, column, message }
    }
}

/// Line and column of the byte at `offset`, from 1; columns are characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// Cedar keeps the useful half of its messages in the sources.
pub(super) fn describe(error: &(impl std::error::Error + ?Sized)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let text = "permit (\n  påncipal,\n";
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, 9), (2, 1));
        assert_eq!(position(text, 14), (2, 5));
        assert_eq!(position(text, 999), (3, 1));
    }
}
