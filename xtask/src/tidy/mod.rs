//! Rules about this tree that the compiler does not know, as tests that fail with a place and a reason.

mod graph;
mod manifests;
mod rules;
mod sources;
mod word;

use std::{fmt, fs, path::Path};

use anyhow::{Context as _, Result, bail};

use crate::{cargo::Cargo, layout::Layout};

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// A path, with a line where that helps, or a crate.
    place: String,
    what: String,
}

impl Finding {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.what)
    }
}

/// Checks everything and reports all findings at once.
pub(crate) fn run(layout: &Layout) -> Result<()> {
    let metadata = Cargo::new(layout, "metadata").arguments(["--format-version", "1", "--locked"]).output()?;
    let graph = graph::Graph::parse(&metadata)?;
    let files = read_tree(layout.root())?;

    let mut findings = rules::check(&graph);
    findings.extend(sources::check(&files, layout.root()));
    findings.extend(manifests::check(&files));
    findings.sort();
    for advice in sources::long_files(&files) {
        println!("note: {advice}");
    }
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} broken rules", findings.len());
    }
    println!("{} files and {} packages follow the rules", files.len(), graph.len());
    Ok(())
}

/// A text file of the tree: its path from the top, with `/`, and its content.
#[derive(Debug)]
pub(crate) struct File {
    path: String,
    text: String,
}

const KINDS: &[&str] = &["rs", "toml", "proto", "md", "yaml", "yml", "json", "service", "sh", "sql"];

/// Reads every file of a kind that we write by hand. Hidden folders and what is built are not looked into.
fn read_tree(root: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            let relative = path.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if entry.file_type()?.is_dir() {
                if !hidden && relative != "target" && relative != "work" {
                    folders.push(path);
                }
            } else if path.extension().and_then(|kind| kind.to_str()).is_some_and(|kind| KINDS.contains(&kind)) {
                let text = fs::read_to_string(&path).with_context(|| format!("cannot read {relative}"))?;
                files.push(File { path: relative, text });
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}
