use super::Form;

/// A map with known fields.
#[derive(Debug)]
pub(crate) struct Shape {
    /// What it is called among the definitions of the JSON Schema.
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) fields: &'static [Field],
    /// Sets of fields: exactly one of them is given, as a whole. Empty where there is nothing to choose.
    pub(crate) choice: &'static [&'static [&'static str]],
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) needed: bool,
    pub(crate) value: Value,
    pub(crate) about: &'static str,
}

#[derive(Debug)]
pub(crate) enum Value {
    /// Accepted and not looked at.
    Ignored,
    /// A key without a value: only its name counts.
    Nothing,
    Flag,
    Whole {
        least: i64,
        most: i64,
    },
    Text(Form),
    Word(&'static [&'static str]),
    List {
        of: &'static Value,
        least: u32,
    },
    /// A list of texts of which the first is of a form of its own.
    Command {
        first: Form,
    },
    /// Names of the writer's choice, and what belongs to each.
    Map {
        keys: Form,
        of: &'static Value,
    },
    Block(&'static Shape),
    Either(&'static [Value]),
}

impl Shape {
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.fields.iter().map(|field| field.name)
    }

    /// Whether nothing at all is as good as an empty map.
    pub(crate) fn may_be_empty(&self) -> bool {
        self.choice.is_empty() && self.fields.iter().all(|field| !field.needed)
    }
}

pub(super) const fn needed(name: &'static str, value: Value, about: &'static str) -> Field {
    Field { name, needed: true, value, about }
}

pub(super) const fn optional(name: &'static str, value: Value, about: &'static str) -> Field {
    Field { name, needed: false, value, about }
}
