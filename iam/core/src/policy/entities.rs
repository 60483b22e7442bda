use std::collections::{HashMap, HashSet};

use cedar_policy::{Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression};

use super::{Caller, Circumstances, Role, Target, error::describe, types::Types};
use crate::Scope;

/// A question as Cedar takes it.
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) entities: Entities,
    /// The caller and everything it is in; so for what is acted upon.
    pub(super) principals: Vec<EntityUid>,
    pub(super) action: EntityUid,
    pub(super) resources: Vec<EntityUid>,
    /// The caller is an admin everywhere, and above what policies forbid.
    pub(super) above: bool,
}

impl Asked {
    pub(super) fn new(
        types: &Types,
        caller: Caller<'_>,
        action: &str,
        target: Target<'_>,
        circumstances: Circumstances,
    ) -> Result<Self, String> {
        let principal = uid(types.principal(caller.kind)?, caller.name);
        let action = uid(&types.action, action);
        let resource = uid(types.resource(target.kind), target.name);
        let parents = |roles: &[Role], groups: &[String]| -> Vec<_> {
            let roles = roles.iter().map(|role| uid(&types.role, role.as_str()));
            roles.chain(groups.iter().map(|group| uid(&types.group, group))).collect()
        };
        let targets = parents(target.roles, target.groups);
        let roles = [caller.roles, caller.scoped].concat();
        let parents = parents(&roles, caller.groups);
        let mut entities = vec![entity(&principal, caller.name, caller.scope, &parents)?];
        let mut resources = vec![resource.clone()];
        if resource == principal {
            resources.extend(parents.iter().cloned());
        } else {
            entities.push(entity(&resource, target.name, target.scope, &targets)?);
            resources.extend(targets);
        }
        let entities = Entities::from_entities(entities, None).map_err(|error| describe(&error))?;
        let context = circumstances.to_cedar()?;
        let request = Request::new(principal.clone(), action.clone(), resource, context, None);
        let request = request.map_err(|error| describe(&error))?;
        let principals = std::iter::once(principal).chain(parents).collect();
        let above = caller.roles.contains(&Role::Admin);
        Ok(Self { request, entities, principals, action, resources, above })
    }
}

impl Circumstances {
    fn to_cedar(self) -> Result<cedar_policy::Context, String> {
        let time = RestrictedExpression::new_long(i64::try_from(self.time_ms).unwrap_or(i64::MAX));
        let mut pairs = vec![("time".to_owned(), time)];
        if let Some(source) = self.source {
            pairs.push(("source".to_owned(), RestrictedExpression::new_ip(source.to_canonical().to_string())));
        }
        cedar_policy::Context::from_pairs(pairs).map_err(|error| describe(&error))
    }
}

pub(super) fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn entity(id: &EntityUid, name: &str, scope: Option<&Scope>, parents: &[EntityUid]) -> Result<Entity, String> {
    let (org, project) = (scope.and_then(Scope::org), scope.and_then(Scope::project));
    let attributes = [("name", Some(name)), ("org", org), ("project", project)].into_iter();
    let attributes = attributes.filter_map(|(attribute, value)| {
        Some((attribute.to_owned(), RestrictedExpression::new_string(value?.to_owned())))
    });
    let attributes: HashMap<_, _> = attributes.collect();
    let parents: HashSet<_> = parents.iter().cloned().collect();
    Entity::new(id.clone(), attributes, parents).map_err(|error| describe(&error))
}
