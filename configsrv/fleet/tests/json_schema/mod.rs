//! JSON Schema as far as ours go. A keyword that is not known here ends the test: what is not checked is not used.

mod pattern;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

pub(crate) use pattern::matches;

/// A look at a value through a schema.
pub(crate) struct Check<'s> {
    root: &'s Value,
    /// Fields of the schema that the value has, as `definition.field`.
    pub(crate) used: BTreeSet<String>,
    /// Where the value does not fit, and why.
    pub(crate) wrong: Vec<String>,
}

impl<'s> Check<'s> {
    pub(crate) fn new(schema: &'s Value, value: &Value) -> Self {
        let mut check = Self { root: schema, used: BTreeSet::new(), wrong: Vec::new() };
        check.look(schema, "", value, "");
        check
    }

    fn look(&mut self, schema: &Value, name: &str, value: &Value, at: &str) {
        if let Value::Bool(fits) = schema {
            self.demand(*fits, at, "nothing may be here");
            return;
        }
        let keywords = schema.as_object().unwrap();
        for (keyword, rule) in keywords {
            match keyword.as_str() {
                "$schema" | "$defs" | "title" | "description" | "deprecated" => {}
                "$ref" => {
                    let name = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                    self.look(&self.root["$defs"][name], name, value, at);
                }
                "type" => self.demand(of_kind(rule, value), at, &format!("{rule}, not {value}")),
                "enum" => self.demand(rule.as_array().unwrap().contains(value), at, &format!("one of {rule}")),
                "minimum" => self.demand(value.as_i64().is_none_or(|it| Some(it) >= rule.as_i64()), at, "too small"),
                "maximum" => self.demand(value.as_i64().is_none_or(|it| Some(it) <= rule.as_i64()), at, "too large"),
                "pattern" => {
                    let fits = value.as_str().is_none_or(|text| matches(rule.as_str().unwrap(), text));
                    self.demand(fits, at, &format!("{rule}"));
                }
                "anyOf" => {
                    let fits = self.ways(rule, name, value, at);
                    self.demand(fits > 0, at, "no way fits");
                }
                "oneOf" => {
                    let fits = self.ways(rule, name, value, at);
                    self.demand(fits == 1, at, &format!("{fits} ways fit"));
                }
                "not" => {
                    let fits = Check::at(self.root, rule, value).wrong.is_empty();
                    self.demand(!fits, at, "must not be");
                }
                "required" => {
                    let Some(map) = value.as_object() else { continue };
                    for field in rule.as_array().unwrap() {
                        self.demand(map.contains_key(field.as_str().unwrap()), at, &format!("{field} is missing"));
                    }
                }
                "properties" => self.properties(rule, name, value, at),
                "additionalProperties" => {
                    let known = keywords.get("properties").and_then(Value::as_object);
                    self.rest(rule, known, value, at);
                }
                "propertyNames" => {
                    for key in value.as_object().into_iter().flat_map(Map::keys) {
                        self.look(rule, name, &Value::from(key.as_str()), at);
                    }
                }
                "minItems" => {
                    let fits = value.as_array().is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap());
                    self.demand(fits, at, "too few");
                }
                "prefixItems" => {
                    let items = value.as_array().into_iter().flatten();
                    for (place, (rule, item)) in rule.as_array().unwrap().iter().zip(items).enumerate() {
                        self.look(rule, name, item, &format!("{at}/{place}"));
                    }
                }
                // Our prefixes are narrower than what follows, so that skipping them changes nothing.
                "items" => {
                    for (place, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.look(rule, name, item, &format!("{at}/{place}"));
                    }
                }
                other => panic!("{other} is not known here"),
            }
        }
    }

    fn at(root: &'s Value, schema: &Value, value: &Value) -> Self {
        let mut check = Self { root, used: BTreeSet::new(), wrong: Vec::new() };
        check.look(schema, "", value, "");
        check
    }

    fn demand(&mut self, fits: bool, at: &str, why: &str) {
        if !fits {
            self.wrong.push(format!("{at}: {why}"));
        }
    }

    /// How many of the schemas in `rule` fit. What those that fit use is used.
    fn ways(&mut self, rule: &Value, name: &str, value: &Value, at: &str) -> usize {
        let mut fits = 0;
        for way in rule.as_array().unwrap() {
            let mut check = Self { root: self.root, used: BTreeSet::new(), wrong: Vec::new() };
            check.look(way, name, value, at);
            if check.wrong.is_empty() {
                fits += 1;
                self.used.append(&mut check.used);
            }
        }
        fits
    }

    fn properties(&mut self, rule: &Value, name: &str, value: &Value, at: &str) {
        for (field, rule) in rule.as_object().unwrap() {
            if let Some(value) = value.get(field) {
                self.used.insert(format!("{name}.{field}"));
                self.look(rule, name, value, &format!("{at}/{field}"));
            }
        }
    }

    fn rest(&mut self, rule: &Value, known: Option<&Map<String, Value>>, value: &Value, at: &str) {
        for (field, value) in value.as_object().into_iter().flatten() {
            if known.is_none_or(|known| !known.contains_key(field)) {
                self.look(rule, "", value, &format!("{at}/{field}"));
            }
        }
    }
}

fn of_kind(rule: &Value, value: &Value) -> bool {
    if let Value::Array(kinds) = rule {
        return kinds.iter().any(|kind| of_kind(kind, value));
    }
    match rule.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is not known here"),
    }
}
