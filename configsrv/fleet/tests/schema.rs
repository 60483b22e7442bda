//! That the JSON Schema and the reader say the same.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod json_schema;
mod quay;

use std::collections::BTreeSet;

use configsrv_fleet::{
    ClusterName, NodeName, Rule, Span,
    address::HostPort,
    repo::Memory,
    schema::{Form, Part, json_schema},
};
use json_schema::{Check, matches};
use quay::{Quay, findings};
use serde_json::{Value, json};

const EVERYTHING: &str = include_str!("json_schema/everything.yaml");

fn everything() -> Value {
    serde_saphyr::from_str(EVERYTHING).unwrap()
}

/// With certificates for everybody.
fn fleet() -> Memory {
    Quay::from(Memory::default().with("cluster.yaml", EVERYTHING).with("motd", "welcome\n")).files
}

fn wrong(schema: &Value, value: &Value) -> Vec<String> {
    Check::new(schema, value).wrong
}

#[test]
fn the_examples_fit() {
    let all = json_schema(Part::All);
    assert_eq!(wrong(&all, &everything()), [""; 0]);
    for (path, bytes) in quay::example().files {
        let Some(name) = path.strip_suffix(".yaml") else { continue };
        let value: Value = serde_saphyr::from_str(std::str::from_utf8(&bytes).unwrap()).unwrap();
        assert_eq!(wrong(&all, &value), [""; 0], "{path}");
        let part = Part::EVERY.iter().find(|part| part.name() == name).unwrap();
        assert_eq!(wrong(&json_schema(*part), &value), [""; 0], "{path}");
        assert_ne!(wrong(&json_schema(*part), &json!({ "cluster": {}, "nodes": {} })), [""; 0], "{path}");
    }
}

/// So that changing it changes every field once.
#[test]
fn one_example_has_every_field() {
    let schema = json_schema(Part::All);
    let fields = |name: &str, schema: &Value| -> Vec<String> {
        schema["properties"].as_object().unwrap().keys().map(|field| format!("{name}.{field}")).collect()
    };
    let mut all: BTreeSet<String> = fields("", &schema).into_iter().collect();
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        all.extend(fields(name, definition));
    }
    assert_eq!(Check::new(&schema, &everything()).used, all);
}

/// Everything that can be wrong with a place, as new values for it. `None` takes it away.
fn changes(value: &Value) -> Vec<Option<Value>> {
    let mut changes: Vec<Option<Value>> =
        [json!(null), json!(true), json!(7), json!(1.5), json!("x y"), json!([]), json!({}), json!(["x y"])]
            .into_iter()
            .map(Some)
            .collect();
    changes.extend([None, Some(json!({ "zzz": 1 })), Some(json!([[]]))]);
    if let Value::Object(map) = value {
        let mut more = map.clone();
        more.insert("X Y".to_owned(), Value::Null);
        changes.push(Some(more.into()));
    }
    changes
}

/// Every place below `value`, as JSON pointers.
fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (format!("{at}/{key}"), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(key, value)| (format!("{at}/{key}"), value)).collect(),
        _ => Vec::new(),
    };
    for (place, value) in below {
        out.push(place.clone());
        places(value, &place, out);
    }
}

fn changed(document: &Value, place: &str, change: Option<Value>) -> Value {
    let mut document = document.clone();
    if let Some(value) = change {
        *document.pointer_mut(place).unwrap() = value;
        return document;
    }
    let (above, key) = place.rsplit_once('/').unwrap();
    match document.pointer_mut(above).unwrap() {
        Value::Object(map) => drop(map.remove(key)),
        Value::Array(items) => drop(items.remove(key.parse().unwrap())),
        _ => panic!("{place}"),
    }
    document
}

/// What the reader knows beyond the shape: there is a cluster somewhere, and globs find something.
fn beyond_shape(place: &str) -> bool {
    place == "/cluster" || place.starts_with("/source/include")
}

#[test]
fn the_reader_and_the_schema_refuse_the_same() {
    let files = fleet();
    let before = findings(&files);
    assert!(before.iter().all(|finding| !finding.is_error()), "{before:#?}");
    let (schema, document) = (json_schema(Part::All), everything());
    let mut all = Vec::new();
    places(&document, "", &mut all);
    let (mut refused, mut disagreements) = (0, Vec::new());
    for place in all {
        for change in changes(document.pointer(&place).unwrap()) {
            let document = changed(&document, &place, change.clone());
            let found = findings(&files.clone().with("cluster.yaml", document.to_string()));
            let errors: Vec<_> = found.iter().filter(|finding| finding.is_error()).collect();
            let shape = errors.iter().any(|error| [Rule::V1, Rule::V14, Rule::V16].contains(&error.rule));
            let wrong = wrong(&schema, &document);
            refused += usize::from(!wrong.is_empty());
            let too_strict = !wrong.is_empty() && errors.is_empty();
            let too_lax = wrong.is_empty() && shape && !beyond_shape(&place);
            if too_strict || too_lax {
                disagreements.push(format!("{place} as {change:?}: schema {wrong:?}, reader {errors:?}"));
            }
        }
    }
    assert!(disagreements.is_empty(), "{disagreements:#?}");
    assert!(refused > 500, "only {refused} changes were wrong");
}

/// Every word that the schema offers is one that the reader takes.
#[test]
fn words_are_taken() {
    let files = fleet();
    for (place, definition, field) in [
        ("/services/stock/scope", "service", "scope"),
        ("/nodes/hub/drift", "node", "drift"),
        ("/cluster/config_server/via", "config-server", "via"),
        ("/cluster/crypto/signature_algorithm", "crypto", "signature_algorithm"),
    ] {
        let schema = json_schema(Part::All);
        let words = schema["$defs"][definition]["properties"][field]["enum"].as_array().unwrap();
        assert!(words.iter().any(Value::is_string));
        for word in words {
            let document = changed(&everything(), place, Some(word.clone()));
            let found = findings(&files.clone().with("cluster.yaml", document.to_string()));
            assert!(found.iter().all(|finding| finding.rule != Rule::V1), "{place} {word}: {found:#?}");
        }
    }
}

/// Texts of a form, texts that are not, and the reader's opinion.
type Samples = (&'static [&'static str], &'static [&'static str], fn(&str) -> bool);

#[test]
fn patterns_let_through_what_the_reader_takes() {
    for form in Form::ALL {
        let (right, wrong, takes): Samples = match form {
            Form::Any => {
                assert_eq!(form.pattern(), None);
                continue;
            }
            Form::Name => (&["a", "pier2", "mira-pad", "0"], &["", "-a", "a-", "A", "a.b", "a b"], |text| {
                text.parse::<NodeName>().is_ok()
            }),
            Form::Cluster => (&["quay", "quay.test", "a-b.c"], &["", ".a", "a.", "A.b", "a b"], |text| {
                text.parse::<ClusterName>().is_ok()
            }),
            Form::Address => (
                &["127.0.0.1:9000", "[::1]:80", "[2001:db8::1]:65535", "db_1.quay.test:5432", "Localhost:1"],
                &["127.0.0.1", "::1:80", ":80", "a b:1", "[::1:80", "a:+1"],
                |text| text.parse::<HostPort>().is_ok(),
            ),
            Form::Span => (&["0", "90s", "5m", "1h", "2d", "0s"], &["", "5", "m", "-5m", "5 m", "1.5h"], |text| {
                text.parse::<Span>().is_ok()
            }),
            Form::Lasting => (&["90s", "10d", "07h"], &["0", "0s", "00d", ""], |text| {
                text.parse::<Span>().is_ok_and(|span| !span.is_zero())
            }),
            Form::Url => (&["http://a", "https://a:1/b"], &["ftp://a", "a"], |text| {
                fits("/cluster/config_server/publish_url", text)
            }),
            Form::PlainUrl => {
                (&["http://127.0.0.1:1/x"], &["https://a", "a"], |text| fits("/nodes/hub/probes/1/url", text))
            }
            Form::Path => {
                (&["/etc/x.conf", "/a b"], &["etc/x", "/", "//x", ""], |text| fits("/nodes/hub/files/0/path", text))
            }
            Form::Mode => {
                (&["0644", "0000"], &["644", "4755", "0888", "00644"], |text| fits("/nodes/hub/files/0/mode", text))
            }
            Form::Owner => {
                let wrong = &["", "a:b:c", "-x", "a b", "a:", ":b"];
                (&["root", "www-data:www-data", "$x.y_z"], wrong, |text| fits("/nodes/hub/files/0/owner", text))
            }
        };
        let pattern = form.pattern().unwrap();
        for text in right {
            assert!(takes(text) && matches(pattern, text), "{form:?} {text:?}");
        }
        for text in wrong {
            assert!(!takes(text) && !matches(pattern, text), "{form:?} {text:?}");
        }
    }
}

/// Whether the reader takes `text` at `place`.
fn fits(place: &str, text: &str) -> bool {
    let document = changed(&everything(), place, Some(text.into()));
    let files = Memory::default().with("cluster.yaml", document.to_string()).with("motd", "welcome\n");
    quay::repo(&files).findings.iter().all(|finding| finding.rule != Rule::V1)
}

#[test]
fn what_narrows_the_files_belongs_into_one_file() {
    let quay = Quay::new();
    let files = quay.files.clone().with("more.yaml", "source: { exclude: [\"x.yaml\"] }\n");
    let found = findings(&files);
    let error = found.iter().find(|finding| finding.file == "more.yaml").unwrap();
    assert!(error.message.contains("cluster.yaml alone"), "{error}");
}
