use configsrv_fleet::{NodeName, Version};
use serde_json::json;

use crate::{
    cli::Fleet,
    failure::{Code, Failure},
    output::{Format, Table, moment, or_dash},
    remote::{Carried, Http, Node},
    settings::Settings,
};

/// Characters of a reason in the table; `florctl node` and `florctl why` have all of it.
const REASON: usize = 60;

pub(super) async fn run(options: &Fleet, settings: &Settings, output: Format) -> Result<Code, Failure> {
    let (version, mut nodes) = Http::new(settings)?.nodes(options.version).await?;
    let (all, stale) = (nodes.len(), nodes.iter().filter(|node| node.stale).count());
    if options.stale {
        nodes.retain(|node| node.stale);
    }
    let value = json!({ "version": version, "nodes": nodes, "stale": stale, "total": all });
    output.print(&value, || format!("{}{}", table(&nodes), summary(version, all, stale)))?;
    Ok(Code::Done)
}

pub(super) fn table<'n>(nodes: impl IntoIterator<Item = &'n Node>) -> Table {
    let mut table = Table::new(&["NODE", "PHASE", "FETCHED", "ACTIVE", "PENDING", "CONFIRMED", "REPORTED", "REASON"]);
    for node in nodes {
        let reported = node.reported.as_ref();
        table.row([
            node.name.clone(),
            phase(node),
            or_dash(node.fetched.as_ref().map(|fetch| fetch.version)),
            or_dash(reported.and_then(|status| status.active)),
            or_dash(reported.and_then(|status| status.pending)),
            or_dash(reported.and_then(|status| status.confirmed)),
            moment(reported.map(|status| status.reported_ms)),
            short(&node.reason),
        ]);
    }
    table
}

fn short(reason: &str) -> String {
    if reason.chars().count() <= REASON {
        return reason.to_owned();
    }
    let begin: String = reason.chars().take(REASON - 1).collect();
    format!("{}…", begin.trim_end())
}

pub(super) fn summary(version: Version, all: usize, stale: usize) -> String {
    format!("{} of {all} nodes have version {version}", all - stale)
}

/// The words for a person who looks down the column.
pub(super) fn phase(node: &Node) -> String {
    let mut words = node.phase.replace('_', " ");
    if let Some(was) = &node.was {
        words += &format!(" ({})", was.replace('_', " "));
    }
    if node.reported.as_ref().is_some_and(|status| status.drift.is_some()) {
        words += ", drifted";
    }
    words
}

/// What somebody brought to a node, past the servers.
fn by_hand(carried: &Carried) -> String {
    let kept = if carried.unproven { ", kept without the servers" } else { "" };
    format!("version {} at {}{kept}", carried.version, moment(Some(carried.at_ms)))
}

pub(super) async fn one(name: &NodeName, settings: &Settings, output: Format) -> Result<Code, Failure> {
    let node = Http::new(settings)?.node(name).await?;
    output.print(&node, || {
        let mut lines = vec![("node", node.name.clone()), ("phase", phase(&node)), ("because", node.reason.clone())];
        if let Some(fetch) = &node.fetched {
            lines.push(("fetched", format!("version {} at {}", fetch.version, moment(Some(fetch.at_ms)))));
        }
        if let Some(fetch) = &node.looked_at {
            lines.push(("looked at", format!("version {} at {}", fetch.version, moment(Some(fetch.at_ms)))));
        }
        if let Some(status) = &node.reported {
            lines.extend([
                ("reported", moment(Some(status.reported_ms))),
                ("offered", or_dash(status.offered)),
                ("active", or_dash(status.active)),
                ("pending", or_dash(status.pending)),
                ("confirmed", or_dash(status.confirmed)),
            ]);
            for (what, value) in [
                ("confirm until", status.deadline_ms.map(|deadline| moment(Some(deadline)))),
                ("rolled back", status.rolled_back.map(|version| version.to_string())),
                ("refused", status.rejected.map(|version| version.to_string())),
                ("let in again", status.released.as_ref().map(|release| release.version.to_string())),
                ("result", status.result.clone()),
                ("reason", status.reason.clone()),
                ("digest", status.digest.map(|digest| digest.to_string())),
            ] {
                lines.extend(value.map(|value| (what, value)));
            }
            if let Some(drift) = &status.drift {
                lines.push(("drifted", format!("{} files, policy {}", drift.files, drift.policy)));
                lines.extend(drift.first.iter().map(|file| ("", file.clone())));
            }
            lines.extend(status.carried.iter().map(|carried| ("by hand", by_hand(carried))));
        }
        let mut table = Table::new(&[]);
        for (what, value) in lines {
            table.row([what.to_owned(), value]);
        }
        table.to_string().trim_start_matches('\n').to_owned()
    })?;
    Ok(Code::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(phase: &str, reason: &str) -> Node {
        serde_json::from_value(json!({
            "name": "pier2", "published": true, "stale": true, "phase": phase, "version": 8, "reason": reason,
        }))
        .unwrap()
    }

    #[test]
    fn the_reason_stands_beside_the_phase() {
        let nodes =
            [node("refused", "the certificate of service/stock is missing"), node("a_newer_one", &"é ".repeat(99))];
        let table = table(&nodes).to_string();
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[0].starts_with("NODE") && lines[0].ends_with("REASON"), "{table}");
        assert!(
            lines[1].contains("refused") && lines[1].ends_with("the certificate of service/stock is missing"),
            "{table}"
        );
        // Words of newer servers are shown as they are.
        assert!(lines[2].contains("a newer one") && lines[2].ends_with("é…"), "{table}");
    }

    #[test]
    fn a_reason_takes_no_more_than_its_room() {
        assert_eq!(short(&"x".repeat(REASON)), "x".repeat(REASON));
        assert_eq!(short(&"x".repeat(REASON + 1)), format!("{}…", "x".repeat(REASON - 1)));
    }
}
