use serde_json::{Map, Value as Json, json};

use super::{Field, Form, REPOSITORY, Shape, Value};

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Which files a schema is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Every file of a repository, whatever is in it.
    All,
    /// Files that have only this in them.
    Cluster,
    Nodes,
    Services,
    Groups,
    Roles,
    Users,
}

impl Part {
    pub const EVERY: &'static [Self] =
        &[Self::All, Self::Cluster, Self::Nodes, Self::Services, Self::Groups, Self::Roles, Self::Users];

    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Cluster => "cluster",
            Self::Nodes => "nodes",
            Self::Services => "services",
            Self::Groups => "groups",
            Self::Roles => "roles",
            Self::Users => "users",
        }
    }

    fn has(self, field: &Field) -> bool {
        match self {
            Self::All => true,
            Self::Cluster => [self.name(), "source"].contains(&field.name),
            Self::Nodes | Self::Services | Self::Groups | Self::Roles | Self::Users => self.name() == field.name,
        }
    }
}

/// The JSON Schema (draft 2020-12) of a repository's files.
///
/// Only keywords that mean the same in the older drafts are used, apart from `prefixItems`, which those ignore: editors differ
/// in what they know.
pub fn json_schema(part: Part) -> Json {
    let mut definitions = Map::new();
    let fields = REPOSITORY.fields.iter().filter(|field| part.has(field));
    let (mut schema, alone) = (Map::new(), part != Part::All);
    schema.insert("$schema".into(), DRAFT.into());
    let title = if alone { format!("Fleet repository: {}", part.name()) } else { "Fleet repository".to_owned() };
    schema.insert("title".into(), title.into());
    describe(&mut schema, &REPOSITORY, fields, &mut definitions);
    schema.insert("type".into(), if alone { json!("object") } else { json!(["object", "null"]) });
    if alone {
        schema.insert("required".into(), json!([part.name()]));
    }
    schema.insert("$defs".into(), definitions.into());
    schema.into()
}

/// The keywords of a map with these fields.
fn describe<'s>(
    out: &mut Map<String, Json>,
    shape: &'static Shape,
    fields: impl Iterator<Item = &'s Field>,
    definitions: &mut Map<String, Json>,
) {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in fields {
        let mut property = value(&field.value, definitions);
        if !field.needed {
            property = or_nothing(property);
        }
        property.insert("description".into(), field.about.into());
        properties.insert(field.name.into(), property.into());
        if field.needed {
            required.push(field.name);
        }
    }
    out.insert("description".into(), shape.about.into());
    out.insert("type".into(), "object".into());
    out.insert("properties".into(), properties.into());
    out.insert("additionalProperties".into(), false.into());
    if !required.is_empty() {
        out.insert("required".into(), json!(required));
    }
    if !shape.choice.is_empty() {
        let ways = shape.choice.iter().map(|way| chosen(shape, way)).collect::<Vec<_>>();
        out.insert("oneOf".into(), ways.into());
    }
}

/// One way to fill in a map: these fields, and none of the other ways'.
fn chosen(shape: &Shape, way: &[&str]) -> Json {
    let mut properties = Map::new();
    for name in shape.choice.iter().copied().flatten() {
        let nothing = json!({ "type": "null" });
        let rule = if way.contains(name) { json!({ "not": nothing }) } else { nothing };
        properties.insert((*name).into(), rule);
    }
    json!({ "title": way.join(" and "), "required": way, "properties": properties })
}

fn value(value: &Value, definitions: &mut Map<String, Json>) -> Map<String, Json> {
    let schema = match value {
        Value::Ignored => json!({ "deprecated": true }),
        Value::Nothing => json!({ "type": "null" }),
        Value::Flag => json!({ "type": "boolean" }),
        Value::Whole { least, most } => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Value::Text(form) => text(*form),
        Value::Word(words) => json!({ "enum": words }),
        Value::List { of, least } => {
            json!({ "type": "array", "items": self::value(of, definitions), "minItems": least })
        }
        Value::Command { first } => json!({
            "type": "array",
            "items": { "type": "string" },
            "prefixItems": [text(*first)],
            "minItems": 1,
        }),
        Value::Map { keys, of } => {
            let mut schema = json!({ "type": "object", "additionalProperties": self::value(of, definitions) });
            if let (Some(pattern), Some(schema)) = (keys.pattern(), schema.as_object_mut()) {
                schema.insert("propertyNames".into(), json!({ "pattern": pattern }));
            }
            schema
        }
        Value::Block(shape) => {
            let link = json!({ "$ref": define(shape, definitions) });
            if shape.may_be_empty() { Json::Object(or_nothing(into_map(link))) } else { link }
        }
        Value::Either(values) => {
            let ways = values.iter().map(|way| self::value(way, definitions)).collect::<Vec<_>>();
            json!({ "anyOf": ways })
        }
    };
    into_map(schema)
}

fn text(form: Form) -> Json {
    match form.pattern() {
        Some(pattern) => json!({ "type": "string", "pattern": pattern }),
        None => json!({ "type": "string" }),
    }
}

/// Puts the map among the definitions, once, and says where it is.
fn define(shape: &'static Shape, definitions: &mut Map<String, Json>) -> String {
    if !definitions.contains_key(shape.name) {
        let mut schema = Map::new();
        describe(&mut schema, shape, shape.fields.iter(), definitions);
        definitions.insert(shape.name.into(), schema.into());
    }
    format!("#/$defs/{}", shape.name)
}

/// The same, or nothing at all: a field without a value counts as absent.
fn or_nothing(mut schema: Map<String, Json>) -> Map<String, Json> {
    let nothing = json!({ "type": "null" });
    if let Some(Json::Array(words)) = schema.get_mut("enum") {
        words.push(Json::Null);
    } else if let Some(Json::String(kind)) = schema.get("type") {
        let kinds = json!([kind, "null"]);
        schema.insert("type".into(), kinds);
    } else if let Some(Json::Array(ways)) = schema.get_mut("anyOf") {
        if !ways.contains(&nothing) {
            ways.push(nothing);
        }
    } else if schema.contains_key("$ref") {
        return into_map(json!({ "anyOf": [schema, nothing] }));
    }
    schema
}

fn into_map(schema: Json) -> Map<String, Json> {
    match schema {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}
