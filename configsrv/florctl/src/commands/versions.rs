use crate::{
    failure::{Code, Failure},
    output::{Format, Table, moment, or_dash},
    remote::Http,
    settings::Settings,
};

pub(super) async fn run(limit: u32, settings: &Settings, output: Format) -> Result<Code, Failure> {
    let page = Http::new(settings)?.versions(limit.clamp(1, 200)).await?;
    output.print(&page, || {
        if page.versions.is_empty() {
            return "nothing is published yet".to_owned();
        }
        let mut table = Table::new(&["VERSION", "PUBLISHED", "BY", "NODES", "COMMIT", "NOTE"]);
        for version in &page.versions {
            let current = if version.version == page.current { "*" } else { "" };
            let commit = version.git_commit.as_ref().map(|commit| commit.chars().take(12).collect::<String>());
            table.row([
                format!("{}{current}", version.version),
                moment(Some(version.published_ms)),
                version.published_by.clone(),
                version.nodes.to_string(),
                or_dash(commit),
                version.note.clone().unwrap_or_default(),
            ]);
        }
        table.to_string()
    })?;
    Ok(Code::Done)
}
