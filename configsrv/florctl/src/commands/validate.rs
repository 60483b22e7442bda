use serde_json::json;

use crate::{
    cli::Repository,
    failure::{Code, Failure},
    output::Format,
    workspace::Workspace,
};

/// All findings are the result, so they go to the standard output.
pub(super) fn run(repository: &Repository, output: Format) -> Result<Code, Failure> {
    let findings = Workspace::open(repository)?.findings();
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    let warnings = findings.len() - errors;
    let value = json!({ "findings": findings, "errors": errors, "warnings": warnings });
    output.print(&value, || {
        let mut text: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
        text += &match (errors, warnings) {
            (0, 0) => "no findings\n".to_owned(),
            (errors, warnings) => format!("{}, {}\n", count(errors, "error"), count(warnings, "warning")),
        };
        text
    })?;
    Ok(if errors == 0 { Code::Done } else { Code::Findings })
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
