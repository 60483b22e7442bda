use serde_json::{Map, Value};

use crate::{
    cli::Audit,
    failure::{Code, Failure},
    output::{Format, Table},
    remote::Http,
    settings::Settings,
};

/// Of the columns of `audit.events`, those that people look for.
const COLUMNS: [&str; 6] = ["time", "actor", "action", "resource", "outcome", "reason"];

pub(super) async fn run(options: &Audit, settings: &Settings, output: Format) -> Result<Code, Failure> {
    let Audit { action, since, limit, local } = options;
    let since = since.as_ref().map(|since| format!("&since={since}")).unwrap_or_default();
    let page = Http::new(settings)?.audit(&format!("action={action}&limit={limit}&local={local}{since}")).await?;
    output.print(&page, || {
        let headings = COLUMNS.map(str::to_uppercase);
        let mut table = Table::new(&headings.each_ref().map(String::as_str));
        for event in &page.events {
            table.row(COLUMNS.map(|column| cell(event, column)));
        }
        let rest = if page.more { "there are more: --since the last of these, or --limit\n" } else { "" };
        format!("{table}{rest}")
    })?;
    Ok(Code::Done)
}

fn cell(event: &Map<String, Value>, column: &str) -> String {
    match event.get(column) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
