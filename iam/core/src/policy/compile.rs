use std::str::FromStr as _;

use cedar_policy::{Policy, PolicyId, PolicySet, Schema, ValidationMode, ValidationWarning, Validator};

use super::{
    bounds::{self, TooDeep},
    error::{PolicyError, describe},
};

const SCHEMA: &str = include_str!("schema.cedarschema");
const BUILTIN: &str = include_str!("builtin.cedar");

/// Policies have an annotation for their name, and only one of the built-in ones has this.
const ADMIN: &str = "builtin-admin";

/// Names of policies that nobody else may give.
const BUILTIN_PREFIX: &str = "builtin-";

/// A longer policy is better told as several.
const MAX_TEXT: usize = 16 << 10;

/// A policy that parses and speaks of what there is.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub(super) id: String,
    pub(super) policy: Policy,
    /// What it says may change with time alone.
    pub(super) speaks_of_time: bool,
}

/// Turns texts into policies.
pub struct Compiler {
    schema: Schema,
    validator: Validator,
}

impl Compiled {
    pub(super) fn is_builtin(&self) -> bool {
        self.id.starts_with(BUILTIN_PREFIX)
    }
}

impl Compiler {
    pub fn new() -> Result<Self, PolicyError> {
        let (schema, _) =
            Schema::from_cedarschema_str(SCHEMA).map_err(|error| PolicyError::Schema(describe(&error)))?;
        Ok(Self { validator: Validator::new(schema.clone()), schema })
    }

    /// The schema in Cedar's own syntax.
    pub fn schema() -> &'static str {
        SCHEMA
    }

    /// The text of the built-in policies.
    pub fn builtin() -> &'static str {
        BUILTIN
    }

    /// One policy, checked against the schema.
    pub fn compile(&self, id: &str, text: &str) -> Result<Compiled, PolicyError> {
        let refuse = |message: String| PolicyError::Invalid { id: id.to_owned(), line: 0, column: 0, message };
        if id.starts_with(BUILTIN_PREFIX) {
            return Err(refuse(format!("names that begin with {BUILTIN_PREFIX} are taken")));
        }
        if text.len() > MAX_TEXT {
            return Err(refuse(format!("a policy has at most {MAX_TEXT} bytes")));
        }
        bounds::check(text).map_err(|TooDeep { line, column }| PolicyError::Invalid {
            id: id.to_owned(),
            line,
            column,
            message: "brackets or conditions are nested too deep".to_owned(),
        })?;
        bounds::deep(|| {
            let policy = Policy::parse(Some(PolicyId::new(id)), text);
            let policy = policy.map_err(|error| PolicyError::of(id, text, &error))?;
            self.check(id, text, &policy)?;
            // Of the policy, not of its text, where names may be written in other ways.
            let speaks_of_time = policy.to_json().map_or(true, |json| json.to_string().contains("time"));
            Ok(Compiled { id: id.to_owned(), policy, speaks_of_time })
        })
    }

    fn check(&self, id: &str, text: &str, policy: &Policy) -> Result<(), PolicyError> {
        let alone = PolicySet::from_policies([policy.clone()]).map_err(|error| PolicyError::of(id, text, &error))?;
        let result = self.validator.validate(&alone, ValidationMode::Strict);
        if let Some(error) = result.validation_errors().next() {
            return Err(PolicyError::of(id, text, error));
        }
        // Nobody writes a policy so that it never applies.
        let impossible = |warning: &&ValidationWarning| matches!(warning, ValidationWarning::ImpossiblePolicy(_));
        match result.validation_warnings().find(impossible) {
            Some(warning) => Err(PolicyError::of(id, text, warning)),
            None => Ok(()),
        }
    }

    /// What admins may, and the other built-in policies.
    pub(super) fn built_in(&self) -> Result<(Compiled, Vec<Compiled>), PolicyError> {
        let all = PolicySet::from_str(BUILTIN).map_err(|error| PolicyError::of("builtin", BUILTIN, &error))?;
        let mut others = Vec::new();
        for policy in all.policies() {
            let id = policy.annotation("id").unwrap_or_default().to_owned();
            self.check(&id, BUILTIN, policy)?;
            others.push(Compiled { policy: policy.new_id(PolicyId::new(&id)), id, speaks_of_time: false });
        }
        others.sort_by(|one, other| one.id.cmp(&other.id));
        let admin = others.iter().position(|compiled| compiled.id == ADMIN);
        let admin = admin.ok_or_else(|| PolicyError::Schema(format!("there is no {ADMIN}")))?;
        Ok((others.remove(admin), others))
    }

    /// Whether the schema names `action`; an access table with another one would be open to admins only.
    pub(super) fn knows(&self, action: &cedar_policy::EntityUid) -> bool {
        self.schema.actions().any(|known| known == action)
    }
}
