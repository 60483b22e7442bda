//! Rules about `Cargo.toml`: lints and versions come from the workspace, and what is declared is used.

use super::{File, Finding, word};

/// Dependencies whose name does not occur in the crate's sources, each with its reason.
const NOT_NAMED: &[(&str, &str, &str)] = &[
    ("proto", "prost-types", "used by generated code"),
    ("proto", "tonic-prost", "used by generated code"),
    ("configsrv/flor", "chainfire-core", "named by the support module that its tests share with the server's"),
    ("configsrv/florctl", "async-trait", "named by the same module"),
    ("configsrv/florctl", "chainfire-client", "named by the same module"),
    ("configsrv/florctl", "chainfire-core", "named by the same module"),
];

pub(crate) fn check(files: &[File]) -> Vec<Finding> {
    let manifests = files.iter().filter(|file| file.path.ends_with("/Cargo.toml"));
    manifests.flat_map(|manifest| check_one(manifest, files)).collect()
}

fn check_one(manifest: &File, files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let folder = manifest.path.trim_end_matches("/Cargo.toml");
    let lines: Vec<_> = sections(&manifest.text).collect();
    if !lines.contains(&("lints", "workspace = true")) {
        findings.push(Finding::new(&manifest.path, "does not inherit the workspace's lints"));
    }
    let own_code = format!("{folder}/");
    let sources: Vec<_> =
        files.iter().filter(|file| file.path.starts_with(&own_code) && file.path.ends_with(".rs")).collect();
    for (section, line) in lines.iter().filter(|(section, _)| section.ends_with("dependencies")) {
        let Some((name, _)) = line.split_once(['.', ' ', '=']) else { continue };
        if !line.replace(' ', "").contains("workspace=true") {
            findings.push(Finding::new(&manifest.path, format!("{name} in [{section}] is not the workspace's")));
        }
        let identifier = name.replace('-', "_");
        let excused =
            NOT_NAMED.iter().any(|(crate_folder, dependency, _)| *crate_folder == folder && *dependency == name);
        let named = sources.iter().any(|source| word::occurs(&source.text, &identifier));
        if !excused && !named {
            findings.push(Finding::new(&manifest.path, format!("{name} in [{section}] is not used")));
        }
    }
    findings
}

/// Every line that says something, with the section it stands in.
fn sections(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut section = "";
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).filter_map(move |line| {
        match line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(name) => {
                section = name;
                None
            }
            None => Some((section, line)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(manifest: &str, source: &str) -> Vec<String> {
        let files = [
            File { path: "a/Cargo.toml".into(), text: manifest.into() },
            File { path: "a/src/lib.rs".into(), text: source.into() },
        ];
        check(&files).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_crate_that_inherits_and_uses_everything_is_fine() {
        let manifest = "[lints]\nworkspace = true\n[dependencies]\n# why\nserde-saphyr.workspace = true\n\
                        tokio = { workspace = true, features = [\"net\"] }\n";
        assert!(found(manifest, "use serde_saphyr::from_str;\nuse tokio::net;").is_empty());
    }

    #[test]
    fn own_lints_own_versions_and_unused_dependencies_are_found() {
        let found =
            found("[dependencies]\nserde = \"1\"\ntime.workspace = true\n", "use serde::Serialize; let timer = 1;");
        assert_eq!(
            found,
            [
                "does not inherit the workspace's lints",
                "serde in [dependencies] is not the workspace's",
                "time in [dependencies] is not used",
            ]
        );
    }
}
