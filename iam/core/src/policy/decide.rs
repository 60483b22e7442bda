use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    str::FromStr as _,
};

use cedar_policy::{
    Authorizer, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, Policy, PolicyId, PolicySet, Request,
    RestrictedExpression, Schema, ValidationMode, Validator,
};

use super::Role;

const SCHEMA: &str = include_str!("schema.cedarschema");
const BUILTIN: &str = include_str!("builtin.cedar");

/// All policies in force.
pub struct Policies {
    schema: Schema,
    /// Decided alone and first, so that no other policy, however broken, locks every admin out.
    admin: PolicySet,
    others: PolicySet,
    types: Types,
    authorizer: Authorizer,
}

/// A policy that somebody wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomPolicy {
    pub id: String,
    pub text: String,
}

/// Who asks, with everything that is known about them.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// `user`, `service`, `node`, `bootstrap` or `anonymous`.
    pub kind: &'a str,
    pub name: &'a str,
    pub roles: &'a [Role],
    pub groups: &'a [String],
}

/// Circumstances that conditions may look at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context {
    pub source: Option<IpAddr>,
    pub time_ms: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub allowed: bool,
    /// The policy that permitted or forbade; none if nothing permitted.
    pub policy: Option<String>,
    /// Policies that could not be evaluated. Any of them denies: a forbid that errs must not vanish.
    pub errors: Vec<String>,
}

/// Why policies cannot come into force.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("{id}: {message}")]
    Invalid { id: String, message: String },
    #[error("the schema does not parse: {0}")]
    Schema(String),
}

struct Types {
    action: EntityTypeName,
    group: EntityTypeName,
    resource: EntityTypeName,
    role: EntityTypeName,
}

impl Policies {
    /// The built-in roles and `custom` policies, each checked against the schema.
    pub fn new(custom: &[CustomPolicy]) -> Result<Self, PolicyError> {
        let (schema, _) =
            Schema::from_cedarschema_str(SCHEMA).map_err(|error| PolicyError::Schema(describe(&error)))?;
        let builtin = PolicySet::from_str(BUILTIN).map_err(|error| invalid("builtin", &error))?;
        let (mut admin, mut others) = (PolicySet::new(), PolicySet::new());
        for policy in builtin.policies() {
            let id = policy.annotation("id").unwrap_or_default().to_owned();
            let set = if id == "builtin-admin" { &mut admin } else { &mut others };
            set.add(policy.new_id(PolicyId::new(&id))).map_err(|error| invalid(&id, &error))?;
        }
        for CustomPolicy { id, text } in custom {
            let policy = Policy::parse(Some(PolicyId::new(id)), text).map_err(|error| invalid(id, &error))?;
            others.add(policy).map_err(|error| invalid(id, &error))?;
        }
        let validator = Validator::new(schema.clone());
        for set in [&admin, &others] {
            if let Some(error) = validator.validate(set, ValidationMode::Strict).validation_errors().next() {
                return Err(invalid(error.policy_id().as_ref(), error));
            }
        }
        Ok(Self { schema, admin, others, types: Types::new()?, authorizer: Authorizer::new() })
    }

    /// Decides. What nothing permits is denied, and so is everything that cannot be evaluated.
    pub fn decide(&self, caller: Caller<'_>, action: &str, resource: &str, context: Context) -> Verdict {
        match self.evaluate(caller, action, resource, context) {
            Ok(verdict) => verdict,
            Err(error) => Verdict { allowed: false, policy: None, errors: vec![error] },
        }
    }

    fn evaluate(&self, caller: Caller<'_>, action: &str, resource: &str, context: Context) -> Result<Verdict, String> {
        let types = &self.types;
        let principal = uid(&principal_type(caller.kind)?, caller.name);
        let action = uid(&types.action, action);
        let target = uid(&types.resource, resource);
        let (kind, name) = resource.split_once('/').unwrap_or((resource, ""));
        let mut parents: HashSet<_> = caller.roles.iter().map(|role| uid(&types.role, role.as_str())).collect();
        parents.extend(caller.groups.iter().map(|group| uid(&types.group, group)));
        let entities = [
            entity(&principal, [("name", caller.name)], parents)?,
            entity(&target, [("kind", kind), ("name", name)], HashSet::new())?,
        ];
        let entities = Entities::from_entities(entities, None).map_err(|error| describe(&error))?;
        let request =
            Request::new(principal, action, target, context.to_cedar()?, None).map_err(|error| describe(&error))?;

        // An action that the schema does not know stays possible for admins only.
        let admin = self.authorizer.is_authorized(&request, &self.admin, &entities);
        if admin.decision() == Decision::Allow {
            return Ok(Verdict::of(&admin));
        }
        Ok(Verdict::of(&self.authorizer.is_authorized(&request, &self.others, &entities)))
    }

    /// Whether the schema names `action`; an access table with another one would be open to admins only.
    pub fn knows(&self, action: &str) -> bool {
        let wanted = uid(&self.types.action, action);
        self.schema.actions().any(|known| *known == wanted)
    }
}

impl Verdict {
    fn of(response: &cedar_policy::Response) -> Self {
        let diagnostics = response.diagnostics();
        let errors: Vec<_> = diagnostics.errors().map(describe).collect();
        Self {
            allowed: response.decision() == Decision::Allow && errors.is_empty(),
            policy: diagnostics.reason().next().map(ToString::to_string),
            errors,
        }
    }
}

impl Context {
    fn to_cedar(self) -> Result<cedar_policy::Context, String> {
        let time = RestrictedExpression::new_long(i64::try_from(self.time_ms).unwrap_or(i64::MAX));
        let mut pairs = vec![("time".to_owned(), time)];
        if let Some(source) = self.source {
            pairs.push(("source".to_owned(), RestrictedExpression::new_ip(source.to_string())));
        }
        cedar_policy::Context::from_pairs(pairs).map_err(|error| describe(&error))
    }
}

impl Types {
    fn new() -> Result<Self, PolicyError> {
        let parse = |name| EntityTypeName::from_str(name).map_err(|error| PolicyError::Schema(describe(&error)));
        Ok(Self {
            action: parse("Action")?,
            group: parse("Group")?,
            resource: parse("Resource")?,
            role: parse("Role")?,
        })
    }
}

fn principal_type(kind: &str) -> Result<EntityTypeName, String> {
    let name = match kind {
        "user" => "User",
        "service" => "Service",
        "node" => "Node",
        "bootstrap" => "Bootstrap",
        "anonymous" => "Anonymous",
        other => return Err(format!("no policy speaks of {other:?}")),
    };
    EntityTypeName::from_str(name).map_err(|error| describe(&error))
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn entity<const N: usize>(
    id: &EntityUid,
    attributes: [(&str, &str); N],
    parents: HashSet<EntityUid>,
) -> Result<Entity, String> {
    let attributes: HashMap<_, _> = attributes
        .into_iter()
        .map(|(name, value)| (name.to_owned(), RestrictedExpression::new_string(value.to_owned())))
        .collect();
    Entity::new(id.clone(), attributes, parents).map_err(|error| describe(&error))
}

fn invalid(id: &str, error: &(impl std::error::Error + ?Sized)) -> PolicyError {
    PolicyError::Invalid { id: id.to_owned(), message: describe(error) }
}

/// Cedar keeps the useful half of its messages in the sources.
fn describe(error: &(impl std::error::Error + ?Sized)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
