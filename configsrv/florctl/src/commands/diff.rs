use std::collections::BTreeMap;

use configsrv_fleet::{Payload, TreeDiff, compile::payloads, plan::listed};
use serde_json::{Value, json};

use crate::{
    cli::Diff,
    failure::{Code, Failure},
    output::Format,
    settings::Settings,
    workspace::Workspace,
};

pub(super) async fn run(options: &Diff, settings: Option<&Settings>, output: Format) -> Result<Code, Failure> {
    let workspace = Workspace::open(&options.repository)?;
    let new: Vec<Payload> = payloads(&workspace.fleet()?)?.into_values().collect();
    let (before, old) = match settings {
        Some(settings) => {
            let http = workspace.servers(settings, None)?;
            workspace.check_cluster(&http).await?;
            let published = http.published(&new, &workspace.trusted()?).await?;
            (format!("published version {}", published.version), published.payloads)
        }
        None => match workspace.compiled()? {
            Some(tree) => (format!("compiled version {}", tree.version()), tree.payloads()?),
            None => ("nothing compiled".to_owned(), Vec::new()),
        },
    };
    let diff = TreeDiff::between(&old, &new);
    output.print(&to_json(&before, &diff), || format!("compared with {before}:\n{}", to_text(&diff)))?;
    Ok(if options.exit_code && !diff.is_empty() { Code::Differs } else { Code::Done })
}

pub(super) fn to_json(before: &str, diff: &TreeDiff) -> Value {
    let changed: BTreeMap<_, _> = diff
        .changed
        .iter()
        .map(|(node, change)| (node, json!({ "class": change.class.as_str(), "reasons": change.reasons })))
        .collect();
    json!({
        "compared_with": before,
        "access": diff.access,
        "changed": changed,
        "added": diff.added,
        "removed": diff.removed,
        "restarts": diff.restarts().collect::<Vec<_>>(),
    })
}

/// Access first: it is what a reviewer looks for. Then nodes, those with the same change together.
pub(super) fn to_text(diff: &TreeDiff) -> String {
    if diff.is_empty() {
        return "no difference\n".to_owned();
    }
    let mut text = diff.access.to_string();
    let mut same: BTreeMap<(&str, String), Vec<&str>> = BTreeMap::new();
    for (node, change) in &diff.changed {
        same.entry((change.class.as_str(), change.reasons.join("; "))).or_default().push(node.as_str());
    }
    for ((class, reasons), nodes) in same {
        text += &format!("~ {} ({class}): {reasons}\n", listed(&nodes));
    }
    for (sign, nodes) in [("new", &diff.added), ("gone", &diff.removed)] {
        if !nodes.is_empty() {
            text += &format!("~ {}: {sign}\n", listed(nodes));
        }
    }
    text + &restarts(diff)
}

/// How many data planes restart.
pub(super) fn restarts(diff: &TreeDiff) -> String {
    match diff.restarts().count() {
        0 => "no data plane restarts\n".to_owned(),
        1 => "1 node restarts its data plane\n".to_owned(),
        count => format!("{count} nodes restart their data planes\n"),
    }
}
