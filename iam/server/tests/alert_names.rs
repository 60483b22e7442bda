//! The runbook of alarms names what there is: metrics that a server shows, actions that the code writes, columns of the
//! history.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use prometheus_client::{encoding::text::encode, registry::Registry};
use support::Plane;

const RUNBOOK: &str = include_str!("../../../deploy/runbooks/alerts.md");

/// The words of a text that `is_one` knows.
fn words(text: &str, is_one: impl Fn(&str) -> bool) -> BTreeSet<&str> {
    let parts = text.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_' && sign != '.');
    parts.map(|word| word.trim_end_matches('.')).filter(|word| is_one(word)).collect()
}

/// Every source file that is no test.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn code() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for folder in ["iam", "flaredb", "chainfire", "configsrv"] {
        sources(&root.join(folder), &mut files);
    }
    files.iter().map(|file| fs::read_to_string(file).unwrap()).collect()
}

#[tokio::test]
async fn the_metrics_of_the_alarms_are_shown() {
    let plane = Plane::start().await;
    let (mut registry, mut page) = (Registry::default(), String::new());
    plane.iam.register_metrics(&mut registry);
    encode(&mut page, &registry).unwrap();
    let code = code();
    let metrics = words(RUNBOOK, |word| word.starts_with("holdfast_") || word.starts_with("etcd_"));
    assert!(metrics.len() >= 14, "{metrics:?}");
    for metric in metrics {
        let shown = page.lines().any(|line| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(' ')));
        // Those of other services have their names in full, except for what every counter ends with.
        let named = |name: &str| code.contains(&format!("\"{name}\""));
        let counter = metric.strip_suffix("_total").is_some_and(named);
        assert!(shown || counter || named(metric), "no server shows {metric}");
    }
}

#[test]
fn the_actions_of_the_alarms_are_written() {
    let code = code();
    let actions = words(RUNBOOK, |word| {
        let action = ["iam.", "audit.", "config."].iter().find_map(|service| word.strip_prefix(service));
        action.is_some_and(|action| action.starts_with(|first: char| first.is_ascii_uppercase()))
    });
    assert!(actions.len() >= 15, "{actions:?}");
    for action in actions {
        assert!(code.contains(&format!("\"{action}\"")), "nothing writes {action}");
    }
}

#[test]
fn the_queries_of_the_alarms_ask_for_columns_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let table = fs::read_to_string(root.join("flaredb/core/src/audit.rs")).unwrap();
    let queries: Vec<_> = RUNBOOK.lines().filter_map(|line| line.strip_prefix("florctl history \"SELECT ")).collect();
    assert_eq!(queries.len(), 4);
    for query in queries {
        let (columns, rest) = query.split_once(" FROM audit.events ").unwrap();
        let columns = columns.replace("sum(count) AS times", "count");
        let filtered = rest.strip_prefix("WHERE ").unwrap().split(' ').next().unwrap();
        for column in columns.split(", ").chain([filtered]) {
            assert!(table.contains(&format!("\"{column}\",")), "no column {column}");
        }
    }
}
