use std::path::Path;

use glob::{MatchOptions, Pattern};

use crate::{
    finding::{Findings, Located, Place, Rule},
    schema,
    yaml::{Items, Kind, Node, parse},
};

use super::{Source, SourceError, source::is_yaml};

/// The file that every repository has at its root.
pub(super) const CLUSTER: &str = "cluster.yaml";

const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Which YAML files make the model.
#[derive(Clone, Debug, Default)]
pub enum Selection {
    /// Every `*.yaml` and `*.yml`, outside of `certs/` and dot folders, as `source:` in cluster.yaml narrows it.
    #[default]
    Discover,
    /// These files and globs, and no others.
    Only(Vec<String>),
}

/// The YAML files of the model, sorted, and links to folders that have some, with a `/` at the end; `findings` gets globs
/// that are broken or match nothing.
pub(super) fn select(
    source: &dyn Source,
    selection: &Selection,
    findings: &mut Findings,
) -> Result<Vec<String>, SourceError> {
    let mut files = source.list()?;
    files.retain(|path| path.ends_with('/') || is_yaml(Path::new(path)));
    match selection {
        Selection::Only(globs) => {
            let globs: Vec<_> = globs
                .iter()
                .map(|text| Located { value: text.trim_start_matches("./").to_owned(), at: Place::file(text) })
                .collect();
            Ok(matching(&files, &globs, findings, true))
        }
        Selection::Discover => {
            let Narrowing { include, exclude } = narrowing(source, findings)?;
            let mut chosen = if include.is_empty() {
                files.iter().filter(|path| !path.starts_with("certs/")).cloned().collect()
            } else {
                matching(&files, &include, findings, true)
            };
            let unwanted = matching(&files, &exclude, findings, false);
            chosen.retain(|path| !unwanted.contains(path) && path != CLUSTER);
            chosen.insert(0, CLUSTER.to_owned());
            Ok(chosen)
        }
    }
}

/// `source:` of cluster.yaml.
#[derive(Default)]
struct Narrowing {
    include: Vec<Located<String>>,
    exclude: Vec<Located<String>>,
}

/// Mistakes of the file itself are reported when it is decoded.
fn narrowing(source: &dyn Source, findings: &mut Findings) -> Result<Narrowing, SourceError> {
    let text = source.read(CLUSTER)?.and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(Node { kind: Kind::Map(entries), .. }) = text.and_then(|text| parse(&text).ok()) else {
        return Ok(Narrowing::default());
    };
    let block = entries.iter().find(|(key, _)| matches!(&key.kind, Kind::Text(text) if text == "source"));
    let mut items = Items::new(CLUSTER, findings);
    let Some(fields) = block.and_then(|(_, block)| items.fields(block, &schema::SOURCE, Rule::V1)) else {
        return Ok(Narrowing::default());
    };
    let include = items.texts(fields.get("include"), "globs");
    Ok(Narrowing { include, exclude: items.texts(fields.get("exclude"), "globs") })
}

fn matching(files: &[String], globs: &[Located<String>], findings: &mut Findings, must_match: bool) -> Vec<String> {
    let mut chosen = Vec::new();
    for glob in globs {
        let pattern = match Pattern::new(&glob.value) {
            Ok(pattern) => pattern,
            Err(error) => {
                findings.error(Rule::V1, &glob.at, format!("\"{}\" is not a glob: {error}", glob.value));
                continue;
            }
        };
        let before = chosen.len();
        let fits = |path: &&String| pattern.matches_with(path.trim_end_matches('/'), OPTIONS);
        chosen.extend(files.iter().filter(fits).cloned());
        if must_match && chosen.len() == before {
            findings.error(Rule::V1, &glob.at, format!("\"{}\" matches no YAML file of the repository", glob.value));
        }
    }
    chosen.sort();
    chosen.dedup();
    chosen
}
