//! `--config-file`: YAML whose keys are the flags' names. As in etcd it stands for all other flags and variables.

use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsString,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

/// Why a file says nothing that can be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot read {}: {error}", path.display())]
    Read { path: PathBuf, error: std::io::Error },
    #[error("{}: {message}", path.display())]
    Content { path: PathBuf, message: String },
}

/// What the file says as arguments, and warnings about keys that are no flag in `known`.
pub(super) fn arguments(path: &Path, known: &HashSet<String>) -> Result<(Vec<OsString>, Vec<String>), FileError> {
    let text = std::fs::read_to_string(path).map_err(|error| FileError::Read { path: path.to_owned(), error })?;
    let said: Result<BTreeMap<String, Value>, _> = serde_saphyr::from_str(&text);
    let said = said.map_err(|error| FileError::Content { path: path.to_owned(), message: error.to_string() })?;
    let (mut arguments, mut warnings) = (Vec::new(), Vec::new());
    let (given, unknown): (Vec<_>, Vec<_>) = flags(said).into_iter().partition(|(flag, _)| known.contains(flag));
    for (flag, value) in given {
        match text_of(&value) {
            Ok(None) => {}
            Ok(Some(text)) => arguments.push(format!("--{flag}={text}").into()),
            Err(message) => {
                let message = format!("{flag}: {message}");
                return Err(FileError::Content { path: path.to_owned(), message });
            }
        }
    }
    warnings.extend(unknown.into_iter().map(|(flag, _)| format!("{}: {flag} is not known", path.display())));
    Ok((arguments, warnings))
}

/// Keys and values with the two blocks about certificates taken apart.
fn flags(said: BTreeMap<String, Value>) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (key, value) in said {
        match (key.as_str(), value) {
            ("client-transport-security", Value::Object(block)) => found.extend(renamed(block, client_flag)),
            ("peer-transport-security", Value::Object(block)) => found.extend(renamed(block, peer_flag)),
            (_, value) => found.push((key, value)),
        }
    }
    found
}

fn renamed(block: Map<String, Value>, flag: fn(&str) -> String) -> impl Iterator<Item = (String, Value)> {
    block.into_iter().map(move |(key, value)| (flag(&key), value))
}

fn client_flag(key: &str) -> String {
    match key {
        "crl-file" | "allowed-hostname" => format!("client-{}", in_flags(key)),
        _ => key.to_owned(),
    }
}

fn peer_flag(key: &str) -> String {
    format!("peer-{}", in_flags(key))
}

fn in_flags(key: &str) -> String {
    if key.starts_with("allowed-") { format!("cert-{key}") } else { key.to_owned() }
}

/// A value as a flag has it; none if nothing is said.
fn text_of(value: &Value) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Value::Bool(_) | Value::Number(_) => Ok(Some(value.to_string())),
        Value::Array(values) => {
            let texts: Result<Vec<_>, _> = values.iter().map(text_of).collect();
            let texts: Vec<_> = texts?.into_iter().flatten().collect();
            Ok(Some(texts.join(",")).filter(|text| !text.is_empty()))
        }
        Value::Object(_) => Err("a block was not expected here".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, known: &[&str]) -> Result<(Vec<OsString>, Vec<String>), FileError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("etcd.yml");
        std::fs::write(&path, text).unwrap();
        arguments(&path, &known.iter().map(|flag| (*flag).to_owned()).collect())
    }

    #[test]
    fn keys_are_flags() {
        let text = "name: 'a'\nwal-dir:\nsnapshot-count: 10000\nenable-v2: false\nlog-outputs: [stderr, x]\ncors: []\n";
        let known = ["name", "wal-dir", "snapshot-count", "enable-v2", "log-outputs", "cors"];
        let (arguments, warnings) = read(text, &known).unwrap();
        assert_eq!(arguments, ["--enable-v2=false", "--log-outputs=stderr,x", "--name=a", "--snapshot-count=10000"]);
        assert!(warnings.is_empty());
    }

    #[test]
    fn certificates_are_in_two_blocks() {
        let text = "client-transport-security:\n  cert-file: c\n  crl-file: l\n\
                    peer-transport-security:\n  auto-tls: true\n  allowed-cn: a\n";
        let known = ["cert-file", "client-crl-file", "peer-auto-tls", "peer-cert-allowed-cn"];
        let (mut arguments, _) = read(text, &known).unwrap();
        arguments.sort();
        let expected = ["--cert-file=c", "--client-crl-file=l", "--peer-auto-tls=true", "--peer-cert-allowed-cn=a"];
        assert_eq!(arguments, expected);
    }

    #[test]
    fn what_is_not_known_is_a_warning_and_what_is_no_yaml_an_error() {
        let (arguments, warnings) = read("proxy-failure-wait: 5000\n", &[]).unwrap();
        assert!(arguments.is_empty() && warnings[0].contains("proxy-failure-wait"), "{warnings:?}");
        assert!(read("name: {a: b}\n", &["name"]).is_err());
        assert!(read("[", &[]).is_err());
    }
}
