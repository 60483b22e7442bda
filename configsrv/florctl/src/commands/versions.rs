use configsrv_fleet::{TreeDiff, Version, plan::listed};

use super::{diff, publish::DIRTY};
use crate::{
    cli::{Versions, VersionsCommand},
    failure::{Code, Failure},
    output::{Format, Table, moment, or_dash},
    remote::{Changes, Http},
    settings::Settings,
};

pub(super) async fn run(options: &Versions, settings: &Settings, output: Format) -> Result<Code, Failure> {
    match options.command {
        Some(VersionsCommand::Diff { from, to }) => compare(from, to, settings, output).await,
        None => list(options.limit, settings, output).await,
    }
}

async fn compare(from: Version, to: Version, settings: &Settings, output: Format) -> Result<Code, Failure> {
    let changes = Http::new(settings)?.changes(from, to).await?;
    output.print(&changes, || to_text(&changes))?;
    Ok(Code::Done)
}

pub(super) fn to_text(changes: &Changes) -> String {
    let Changes { from, to, access, changed, added, removed, unreadable, .. } = changes.clone();
    let mut text = diff::to_text(&TreeDiff { access, changed, added, removed });
    if !unreadable.is_empty() {
        text += &format!("? {}: not readable for the servers, so nothing is said of them\n", listed(&unreadable));
    }
    format!("from version {from} to {to}:\n{text}")
}

/// As much of a commit as people compare.
fn short(commit: &str) -> String {
    let (hash, mark) = match commit.strip_suffix(DIRTY) {
        Some(hash) => (hash, DIRTY),
        None => (commit, ""),
    };
    hash.chars().take(12).chain(mark.chars()).collect()
}

async fn list(limit: u32, settings: &Settings, output: Format) -> Result<Code, Failure> {
    let page = Http::new(settings)?.versions(limit.min(200)).await?;
    output.print(&page, || {
        if page.versions.is_empty() {
            return "nothing is published yet".to_owned();
        }
        let mut table = Table::new(&["VERSION", "PUBLISHED", "BY", "NODES", "COMMIT", "NOTE"]);
        for version in &page.versions {
            let current = if version.version == page.current { "*" } else { "" };
            let commit = version.git_commit.as_deref().map(short);
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
