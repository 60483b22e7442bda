use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{
    Budget, Error, Options, Spanned,
    budget::BudgetBreach,
    options::{DuplicateKeyPolicy, MergeKeyPolicy},
};

/// How deep a file may be nested. The schema needs eight levels; reading takes a good part of the stack for each.
const MAX_DEPTH: usize = 24;

/// The largest YAML file, in bytes.
const MAX_FILE: usize = 16 * 1024 * 1024;

/// A place in a file, counted from 1; line 0 means the file as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark {
    pub line: u32,
    pub column: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) at: Mark,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Integer(i64),
    /// A fraction, or an integer beyond 64 bits: no field takes one.
    Number,
    Text(String),
    List(Vec<Node>),
    /// In the order of the file, repeated keys included.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// What the value is, in the words of an error.
    pub(crate) fn describe(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "true or false",
            Kind::Integer(_) | Kind::Number => "a number",
            Kind::Text(_) => "a text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }
}

/// Reads one document. An error means that the file is not YAML of the kind that this module accepts.
pub(crate) fn parse(text: &str) -> Result<Node, (Mark, String)> {
    if text.len() > MAX_FILE {
        return Err((Mark::default(), format!("the file has {} bytes, {MAX_FILE} are allowed", text.len())));
    }
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| {
        let at = error.location().map_or(Mark::default(), mark);
        (at, advice(error.without_snippet()))
    })
}

/// What is wrong, in the words of whoever writes the file.
fn advice(error: &Error) -> String {
    match error {
        Error::Budget { breach: BudgetBreach::Anchors { .. } | BudgetBreach::Aliases { .. }, .. } => {
            "anchors and aliases (&name, *name) are not allowed: write the value in each place".to_owned()
        }
        Error::Budget { breach: BudgetBreach::MergeKeys { .. }, .. } | Error::MergeKeyNotAllowed { .. } => {
            "merge keys (<<) are not allowed: write the fields in each place".to_owned()
        }
        Error::Budget { breach: BudgetBreach::Documents { .. }, .. } | Error::MultipleDocuments { .. } => {
            "a file is one document: what follows --- belongs into a file of its own".to_owned()
        }
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => {
            format!("the file is nested deeper than {MAX_DEPTH} levels")
        }
        Error::Budget { .. } => "the file is larger or more intricate than any that is meant to be read".to_owned(),
        other => tidy(&other.to_string()),
    }
}

fn options() -> Options {
    let mut options = Options::default();
    let mut budget = Budget::default();
    budget.max_anchors = 0;
    budget.max_aliases = 0;
    budget.max_merge_keys = 0;
    budget.max_depth = MAX_DEPTH;
    budget.max_documents = 1;
    options.budget = Some(budget);
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    options.merge_keys = MergeKeyPolicy::Error;
    options.strict_booleans = true;
    options.reject_unsupported_tags = true;
    options.leading_zero_numbers_as_strings = true;
    options
}

/// The first line of the parser's message, without the position, which findings carry themselves.
fn tidy(message: &str) -> String {
    let line = message.lines().next().unwrap_or("the file is not YAML");
    let line = line.split(" at line ").next().unwrap_or(line);
    line.trim_start_matches("error: ").to_owned()
}

fn mark(location: serde_saphyr::Location) -> Mark {
    let clamp = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    Mark { line: clamp(location.line()), column: clamp(location.column()) }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Kind>::deserialize(deserializer)?;
        Ok(Self { at: mark(spanned.referenced), kind: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_none<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
        Ok(i64::try_from(value).map_or(Kind::Number, Kind::Integer))
    }

    fn visit_i128<E>(self, _: i128) -> Result<Kind, E> {
        Ok(Kind::Number)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Kind, E> {
        Ok(Kind::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Kind, E> {
        Ok(Kind::Number)
    }

    fn visit_str<E>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Kind, E> {
        Ok(Kind::Text(value))
    }

    fn visit_bytes<E: serde::de::Error>(self, _: &[u8]) -> Result<Kind, E> {
        Err(E::custom("binary values are not allowed"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Kind::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Kind, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Node>()? {
            if matches!(key.kind, Kind::List(_) | Kind::Map(_)) {
                return Err(A::Error::custom("a key must be a text"));
            }
            map.push((key, entries.next_value()?));
        }
        Ok(Kind::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<(Node, Node)> {
        match parse(text).unwrap().kind {
            Kind::Map(entries) => entries,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_and_values_know_their_places() {
        let entries = entries("a:\n  b: [x, 7]\n  b: true\n");
        let (key, value) = &entries[0];
        assert_eq!(key.at, Mark { line: 1, column: 1 });
        let Kind::Map(inner) = &value.kind else { panic!("{value:?}") };
        assert_eq!(inner.len(), 2, "repeated keys are kept");
        assert_eq!(inner[0].0.at, Mark { line: 2, column: 3 });
        assert_eq!(inner[1].0.at, Mark { line: 3, column: 3 });
        let Kind::List(items) = &inner[0].1.kind else { panic!() };
        assert_eq!(items[1].at, Mark { line: 2, column: 10 });
        assert!(matches!(items[1].kind, Kind::Integer(7)));
    }

    #[test]
    fn norway_is_a_text_and_so_is_a_time_of_day() {
        let entries = entries("a: no\nb: 12:30\nc: on\nd: null\ne:\nf: 0755\ntrue: x\n1: y\n");
        assert!(matches!(&entries[0].1.kind, Kind::Text(text) if text == "no"));
        assert!(matches!(&entries[1].1.kind, Kind::Text(text) if text == "12:30"));
        assert!(matches!(&entries[2].1.kind, Kind::Text(text) if text == "on"));
        assert!(matches!(entries[3].1.kind, Kind::Null));
        assert!(matches!(entries[4].1.kind, Kind::Null));
        assert!(matches!(&entries[5].1.kind, Kind::Text(text) if text == "0755"), "{:?}", entries[5].1);
        assert!(matches!(entries[6].0.kind, Kind::Bool(true)), "{:?}", entries[6].0);
        assert!(matches!(entries[7].0.kind, Kind::Integer(1)), "{:?}", entries[7].0);
    }

    #[test]
    fn what_hides_meaning_is_refused_at_its_place() {
        for (text, line, said) in [
            ("a: &x 1\nb: *x\n", 1, "anchors and aliases"),
            ("a: {b: 1}\nc:\n  <<: {d: 1}\n", 3, "merge keys"),
            ("a: 1\n---\nb: 2\n", 2, "one document"),
            ("a: [1\nb: 2\n", 2, ""),
            ("a: !secret x\n", 1, ""),
        ] {
            let (at, message) = parse(text).unwrap_err();
            assert!(at.line >= line, "{text:?}: {at:?} {message}");
            assert!(!message.is_empty() && !message.contains('\n'), "{message}");
            assert!(message.contains(said) && !message.contains('{'), "{message}");
        }
        let nested = |depth| format!("a: {}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&nested(MAX_DEPTH - 2)).is_ok());
        for depth in [MAX_DEPTH + 1, 1000, 100_000] {
            assert!(parse(&nested(depth)).is_err_and(|(_, message)| !message.contains("budget")), "{depth}");
        }
    }
}
