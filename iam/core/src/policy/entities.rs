use std::collections::{HashMap, HashSet};

use cedar_policy::{Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression};

use super::{Caller, Circumstances, Target, error::describe, types::Types};

/// A question as Cedar takes it.
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) entities: Entities,
    /// The caller and everything it is in; so for what is acted upon.
    pub(super) principals: Vec<EntityUid>,
    pub(super) action: EntityUid,
    pub(super) resources: Vec<EntityUid>,
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
        let roles = caller.roles.iter().map(|role| uid(&types.role, role.as_str()));
        let parents: Vec<_> = roles.chain(caller.groups.iter().map(|group| uid(&types.group, group))).collect();
        let mut entities = vec![entity(&principal, caller.name, &parents)?];
        let mut resources = vec![resource.clone()];
        if resource == principal {
            resources.extend(parents.iter().cloned());
        } else {
            let groups: Vec<_> = target.groups.iter().map(|group| uid(&types.group, group)).collect();
            entities.push(entity(&resource, target.name, &groups)?);
            resources.extend(groups);
        }
        let entities = Entities::from_entities(entities, None).map_err(|error| describe(&error))?;
        let context = circumstances.to_cedar()?;
        let request = Request::new(principal.clone(), action.clone(), resource, context, None);
        let request = request.map_err(|error| describe(&error))?;
        let principals = std::iter::once(principal).chain(parents).collect();
        Ok(Self { request, entities, principals, action, resources })
    }
}

impl Circumstances {
    fn to_cedar(self) -> Result<cedar_policy::Context, String> {
        let time = RestrictedExpression::new_long(i64::try_from(self.time_ms).unwrap_or(i64::MAX));
        let mut pairs = vec![("time".to_owned(), time)];
        if let Some(source) = self.source {
            pairs.push(("source".to_owned(), RestrictedExpression::new_ip(source.to_string())));
        }
        cedar_policy::Context::from_pairs(pairs).map_err(|error| describe(&error))
    }
}

pub(super) fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn entity(id: &EntityUid, name: &str, parents: &[EntityUid]) -> Result<Entity, String> {
    let name = RestrictedExpression::new_string(name.to_owned());
    let attributes = HashMap::from([("name".to_owned(), name)]);
    let parents: HashSet<_> = parents.iter().cloned().collect();
    Entity::new(id.clone(), attributes, parents).map_err(|error| describe(&error))
}
