use std::{str::FromStr, sync::Arc};

use crate::{
    finding::{Findings, Located, Place, Rule},
    nearest::distance,
    schema::{Shape, Value},
};

use super::{Kind, Node};

/// Reads values out of a tree and reports every one that does not fit; readers get `None` and go on.
pub(crate) struct Items<'a> {
    file: Arc<str>,
    findings: &'a mut Findings,
}

/// The fields of one map, checked against the names that it may have.
pub(crate) struct Fields<'n> {
    pub(crate) at: Place,
    /// Whether there was nothing else.
    pub(crate) whole: bool,
    shape: &'static Shape,
    entries: Vec<(&'n str, &'n Node)>,
}

impl<'n> Fields<'n> {
    pub(crate) fn get(&self, name: &str) -> Option<&'n Node> {
        debug_assert!(self.shape.field(name).is_some(), "{} has no {name}", self.shape.name);
        self.entries.iter().find(|(key, _)| *key == name).map(|(_, node)| *node).filter(|node| !node.is_null())
    }
}

impl Node {
    fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }
}

impl<'a> Items<'a> {
    pub(crate) fn new(file: &str, findings: &'a mut Findings) -> Self {
        Self { file: file.into(), findings }
    }

    pub(crate) fn place(&self, node: &Node) -> Place {
        Place { file: self.file.clone(), mark: node.at }
    }

    pub(crate) fn error(&mut self, rule: Rule, at: &Place, message: impl Into<String>) {
        self.findings.error(rule, at, message);
    }

    fn expected(&mut self, node: &Node, what: &str) {
        let at = self.place(node);
        let hint = match node.kind {
            Kind::Bool(_) | Kind::Integer(_) | Kind::Number if what == "a text" => "; put it in quotes",
            _ => "",
        };
        self.error(Rule::V1, &at, format!("expected {what}, found {}{hint}", node.describe()));
    }

    /// The entries of a map with free keys: names, labels. Repeated keys break `V16`.
    pub(crate) fn entries<'n>(&mut self, node: &'n Node, what: &str) -> Vec<(Located<String>, &'n Node)> {
        let Kind::Map(entries) = &node.kind else {
            if !node.is_null() {
                self.expected(node, &format!("a map of {what}"));
            }
            return Vec::new();
        };
        let mut out: Vec<(Located<String>, &Node)> = Vec::with_capacity(entries.len());
        let mut seen = std::collections::HashMap::with_capacity(entries.len());
        for (key, value) in entries {
            let Some(name) = self.text(key) else { continue };
            if let Some(first) = seen.insert(name.value.clone(), name.at.mark) {
                let message = format!("\"{}\" is already defined in line {}", name.value, first.line);
                self.error(Rule::V16, &name.at, message);
                continue;
            }
            out.push((name, value));
        }
        out
    }

    /// The fields of a map that may have only those of `shape`. `None` if the node is no map.
    pub(crate) fn fields<'n>(&mut self, node: &'n Node, shape: &'static Shape, unknown: Rule) -> Option<Fields<'n>> {
        let at = self.place(node);
        let Kind::Map(entries) = &node.kind else {
            if node.is_null() {
                return Some(Fields { at, whole: true, shape, entries: Vec::new() });
            }
            self.expected(node, "a map");
            return None;
        };
        let mut found: Vec<(&str, &Node)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let place = self.place(key);
            let Kind::Text(name) = &key.kind else {
                self.expected(key, "a text");
                continue;
            };
            if found.iter().any(|(other, _)| other == name) {
                self.error(Rule::V16, &place, format!("\"{name}\" is given twice"));
            } else if shape.field(name).is_some() {
                found.push((name, value));
            } else {
                self.error(unknown, &place, unknown_field(name, shape));
            }
        }
        Some(Fields { at, whole: found.len() == entries.len(), shape, entries: found })
    }

    pub(crate) fn required<'n>(&mut self, fields: &Fields<'n>, name: &str) -> Option<&'n Node> {
        debug_assert!(fields.shape.field(name).is_some_and(|field| field.needed), "{name} is optional");
        let found = fields.get(name);
        if found.is_none() {
            self.error(Rule::V1, &fields.at, format!("\"{name}\" is missing"));
        }
        found
    }

    pub(crate) fn text(&mut self, node: &Node) -> Option<Located<String>> {
        let at = self.place(node);
        if let Kind::Text(value) = &node.kind {
            Some(Located { value: value.clone(), at })
        } else {
            self.expected(node, "a text");
            None
        }
    }

    /// One of the words that the field may have.
    pub(crate) fn word(&mut self, fields: &Fields<'_>, name: &str) -> Option<&'static str> {
        let node = fields.get(name)?;
        let text = self.text(node)?;
        let words = match fields.shape.field(name).map(|field| &field.value) {
            Some(Value::Word(words)) => *words,
            _ => &[],
        };
        let known = words.iter().copied().find(|word| *word == text.value);
        if known.is_none() {
            let message = format!("\"{}\" is not known here; \"{name}\" is {}", text.value, words.join(" or "));
            self.error(Rule::V1, &text.at, message);
        }
        known
    }

    pub(crate) fn flag(&mut self, node: &Node) -> Option<bool> {
        if let Kind::Bool(value) = node.kind {
            Some(value)
        } else {
            self.expected(node, "true or false");
            None
        }
    }

    pub(crate) fn integer(&mut self, node: &Node) -> Option<Located<i64>> {
        let at = self.place(node);
        if let Kind::Integer(value) = node.kind {
            Some(Located { value, at })
        } else {
            self.expected(node, "a whole number");
            None
        }
    }

    /// A text in the spelling of `T`.
    pub(crate) fn parsed<T: FromStr<Err: std::fmt::Display>>(&mut self, node: &Node) -> Option<Located<T>> {
        let text = self.text(node)?;
        match text.value.parse() {
            Ok(value) => Some(Located { value, at: text.at }),
            Err(error) => {
                self.error(Rule::V1, &text.at, format!("{error}"));
                None
            }
        }
    }

    pub(crate) fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        match &node.kind {
            Kind::List(items) => items,
            Kind::Null => &[],
            _ => {
                self.expected(node, &format!("a list of {what}"));
                &[]
            }
        }
    }

    pub(crate) fn texts(&mut self, node: Option<&Node>, what: &str) -> Vec<Located<String>> {
        let Some(node) = node else { return Vec::new() };
        let items = self.list(node, what);
        items.iter().filter_map(|item| self.text(item)).collect()
    }
}

/// Says what the writer may have meant.
fn unknown_field(name: &str, shape: &Shape) -> String {
    if let Some(field) = shape.field(&format!("{name}s"))
        && let Some(collection) = collection(&field.value)
    {
        return format!("unknown field \"{name}\"; it is written \"{}\" and takes {collection}", field.name);
    }
    let nearest = shape.names().map(|field| (distance(name, field), field)).min();
    match nearest {
        Some((1 | 2, field)) => format!("unknown field \"{name}\"; did you mean \"{field}\"?"),
        _ => format!("unknown field \"{name}\"; known are {}", shape.names().collect::<Vec<_>>().join(", ")),
    }
}

/// What a field with several of something takes.
fn collection(value: &Value) -> Option<&'static str> {
    match value {
        Value::List { .. } => Some("a list"),
        Value::Map { .. } | Value::Block(_) => Some("a map"),
        Value::Ignored
        | Value::Nothing
        | Value::Flag
        | Value::Whole { .. }
        | Value::Text(_)
        | Value::Word(_)
        | Value::Command { .. }
        | Value::Either(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_come_with_advice() {
        let (top, service) = (&crate::schema::REPOSITORY, &crate::schema::SERVICE);
        assert!(unknown_field("role", service).contains("\"roles\" and takes a list"));
        assert!(unknown_field("node", top).contains("\"nodes\" and takes a map"));
        assert!(unknown_field("servies", top).contains("did you mean \"services\""));
        assert!(unknown_field("zzz", top).contains("known are cluster, nodes, services"));
    }
}
